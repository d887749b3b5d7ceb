"""k nearest neighbours among the training features."""

import numpy as np

from ssl_jax.evaluation.knn import knn_predict, sensible_k

TITLE, NEEDS = "kNN", frozenset({"label"})


def run(context) -> list[dict]:
    """Top-1 of every kind of features."""

    def score(train, test, num_classes):
        x, y = train["features"], train["label"]
        predicted = knn_predict(x, y, test["features"], k=sensible_k(len(y), num_classes), num_classes=num_classes)
        return float(np.mean(predicted == test["label"]))

    return context.probe("knn", score)
