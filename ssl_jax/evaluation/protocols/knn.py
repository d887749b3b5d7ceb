"""k nearest neighbours among the training features."""

import numpy as np

from ssl_jax.evaluation.knn import knn_predict, sensible_k

TITLE, NEEDS = "kNN", frozenset({"label"})


def run(context) -> list[dict]:
    """Top-1 of every kind of features."""

    def score(train, test):
        x, y, classes = train["features"], train["label"], context.num_classes
        predicted = knn_predict(x, y, test["features"], k=sensible_k(len(y), classes), num_classes=classes)
        return float(np.mean(predicted == test["label"]))

    return context.probe("knn", score)
