"""A classifier with two hidden layers of 200 units; its learning rate and weight decay are chosen on held-out rows."""

from ssl_jax.evaluation.linear_probe import MLP
from ssl_jax.evaluation.protocols import linear

TITLE, NEEDS = "non-linear", frozenset({"label"})


def run(context) -> list[dict]:
    """Top-1 of every kind of features."""
    return linear.run(context, "mlp", **MLP)
