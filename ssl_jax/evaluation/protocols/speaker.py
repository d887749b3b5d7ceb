"""A linear classifier of who speaks, chosen as that of labels is; for sound."""

from ssl_jax.evaluation.linear_probe import linear_probe

TITLE, NEEDS = "speaker", frozenset({"speaker"})


def run(context) -> list[dict]:
    """Top-1 of every kind of features."""

    def score(train, test, num_classes):
        return linear_probe(
            train["features"], train["speaker"], test["features"], test["speaker"],
            num_classes=num_classes, seed=context.seed,
        ).top1  # fmt: skip

    return context.probe("speaker", score, "speaker")
