"""The linear classifier behind a batch norm without scale and offset, MAE's; its rate and decay are chosen as usual."""

from ssl_jax.evaluation.linear_probe import BATCH_NORM
from ssl_jax.evaluation.protocols import linear

TITLE, NEEDS = "linear (norm)", frozenset({"label"})


def run(context) -> list[dict]:
    """Top-1 of every kind of features."""
    return linear.run(context, "linear_norm", **BATCH_NORM)
