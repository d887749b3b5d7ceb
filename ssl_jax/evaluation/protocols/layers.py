"""A linear classifier on every inner layer, whose maps are averaged over grids of about 9,000 values; a row a layer."""

from ssl_jax.evaluation.features import grid_pooled
from ssl_jax.evaluation.labels import numbered
from ssl_jax.evaluation.linear_probe import linear_probe

TITLE, NEEDS = "layer", frozenset({"label", "layers"})
# Features are many: smaller rates than those of a pooled output, and fewer epochs.
SWEEP = dict(learning_rates=(0.001, 0.003, 0.01, 0.03), weight_decays=(0.0, 1e-3), epochs=30)


def run(context) -> list[dict]:
    """Top-1 of every layer of `context.layers`, of every kind of encoder."""
    rows = []
    for layer in context.layers:
        for kind, (train, test) in context.inner(layer, grid_pooled):
            train, test, num_classes = numbered(train, test)
            found = linear_probe(
                train["features"], train["label"], test["features"], test["label"], num_classes=num_classes,
                seed=context.seed, **SWEEP,
            )  # fmt: skip
            rows.append(context.row("layers", kind, found.top1, len(test["label"]), layer=layer))
    return rows
