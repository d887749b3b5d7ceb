"""The method's own loss and metrics on held-out data, beside those of the untrained network; needs no labels.

Views are drawn with fixed keys, norms use running statistics, nothing else is random. The loss of contrastive methods
depends on the size of the batch, which is that of the training. Where the method classifies copies of an image
(rotation), the accuracy is also given for the images of each class; beside a metric `..._log_perplexity`, in nats,
stands the perplexity, `exp` of its mean over all batches. What trivial predictions reach at the same task
stands in rows of "input".
"""

import math

TITLE, NEEDS = "held-out", frozenset()
LOG = "log_perplexity"


def run(context) -> list[dict]:
    """A row for each metric of the method."""
    rows, trivial = [], {}
    for kind in ("random", "encoder"):
        metrics, by_class, trivial, n = context.held_out(kind)
        perplexity = {name.replace(LOG, "perplexity"): math.exp(v) for name, v in metrics.items() if name.endswith(LOG)}
        metrics = metrics | perplexity | {f"top1 of class {label}": value for label, value in sorted(by_class.items())}
        rows += [context.row("pretext", kind, value, n, metric=name) for name, value in metrics.items()]
    return rows + [context.row("pretext", "input", value, n, metric=name) for name, value in trivial.items()]
