"""The linear classifier of labels, on speakers that it was not trained on: each is left out in turn; for sound."""

import numpy as np

from ssl_jax.evaluation.labels import classes
from ssl_jax.evaluation.linear_probe import linear_probe

TITLE, NEEDS = "unseen speaker", frozenset({"label", "speaker"})


def run(context) -> list[dict]:
    """Top-1 of every kind of features, the mean over speakers left out; `std` is their deviation."""

    def score(train, test, num_classes):
        found = []
        for speaker in classes(test["speaker"]):
            known, asked = train["speaker"] != speaker, test["speaker"] == speaker
            found.append(
                linear_probe(
                    train["features"][known], train["label"][known], test["features"][asked], test["label"][asked],
                    num_classes=num_classes, seed=context.seed,
                ).top1
            )  # fmt: skip
        return {"value": float(np.mean(found)), "std": float(np.std(found))}

    return context.probe("unseen_speaker", score)
