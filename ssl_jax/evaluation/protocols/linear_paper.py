"""The linear classifier by SimCLR's protocol: one learning rate, raw features."""

from ssl_jax.evaluation.linear_probe import PAPER
from ssl_jax.evaluation.protocols import linear

TITLE, NEEDS = "linear (paper)", frozenset({"label"})


def run(context) -> list[dict]:
    """Top-1 of every kind of features."""
    return linear.run(context, "linear_paper", **PAPER)
