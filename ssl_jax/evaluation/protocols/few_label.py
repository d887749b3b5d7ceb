"""Logistic regression on ten labels a class, the mean over twenty draws of them."""

from ssl_jax.evaluation.few_label import few_label

LABELS_PER_CLASS = 10
TITLE, NEEDS = f"{LABELS_PER_CLASS} labels a class", frozenset({"label"})


def run(context) -> list[dict]:
    """Top-1 and its standard deviation over the draws, of every kind of features."""

    def score(train, test, num_classes):
        result = few_label(
            train["features"], train["label"], test["features"], test["label"],
            num_classes=num_classes, labels_per_class=LABELS_PER_CLASS, seed=context.seed,
        )  # fmt: skip
        return {"value": result.mean, "std": result.std, "labels_per_class": LABELS_PER_CLASS}

    return context.probe("few_label", score)
