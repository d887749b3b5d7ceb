"""Logistic regression on `config.eval.labels_per_class` labels a class, the mean over twenty draws of them."""

from ssl_jax.evaluation.few_label import few_label

TITLE, NEEDS = "{} labels a class", frozenset({"label"})


def run(context) -> list[dict]:
    """Top-1 and its standard deviation over the draws, of every kind of features."""

    def score(train, test, num_classes):
        result = few_label(
            train["features"], train["label"], test["features"], test["label"],
            num_classes=num_classes, labels_per_class=context.labels_per_class, seed=context.seed,
        )  # fmt: skip
        return {"value": result.mean, "std": result.std, "labels_per_class": context.labels_per_class}

    return context.probe("few_label", score)
