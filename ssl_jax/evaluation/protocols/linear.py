"""A linear classifier; its learning rate and weight decay are chosen on rows held out of the training set."""

from ssl_jax.evaluation.linear_probe import SPARSE, linear_probe

TITLE, NEEDS = "linear", frozenset({"label"})


def run(context, name: str = "linear", **settings) -> list[dict]:
    """Top-1 of every kind of features."""

    def score(train, test, num_classes):
        return linear_probe(
            train["features"], train["label"], test["features"], test["label"],
            num_classes=num_classes, seed=context.seed, **(settings or (SPARSE if train.get("sparse") else {})),
        ).top1  # fmt: skip

    return context.probe(name, score)
