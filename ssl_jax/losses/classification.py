"""Cross-entropy of classes that a pretext task makes itself, such as the angle of a rotated image."""

import jax
import jax.numpy as jnp

from ssl_jax.losses.embeddings import check_mean, mean, widen


def cross_entropy(logits, labels, *, weights=None, axis_name=None, reduction="mean"):
    """Softmax cross-entropy, `-log softmax(logits)[label]`, averaged over all but the first axis of each example.

    Args:
      logits: `[b, ..., K]`; the loss is computed in float32 or wider.
      labels: integers `[b, ...]` in 0 ... K - 1.
      weights: non-negative `[b]` of the examples, or None for ones.
      axis_name: mapped axis over which the global batch is spread; None for a single device.
      reduction: "mean": the local value whose mean over the axis is that of the global batch; "none": `[b]`.

    Returns:
      A scalar, or `[b]` for "none".

    Raises:
      ValueError: shapes that do not belong together.

    >>> round(float(cross_entropy(jnp.zeros((2, 4)), jnp.array([0, 3]))), 4)  # log 4
    1.3863
    """
    if jnp.ndim(logits) < 2 or jnp.shape(labels) != jnp.shape(logits)[:-1] or not len(logits):
        raise ValueError(
            f"logits has shape {jnp.shape(logits)} and labels has shape {jnp.shape(labels)}, but they must be "
            "[b, ..., K] and [b, ...] with b > 0: pass one label for each row of logits."
        )
    check_mean(len(logits), weights, reduction)
    log_shares = jax.nn.log_softmax(widen(logits))
    losses = -jnp.take_along_axis(log_shares, labels[..., None], axis=-1)[..., 0]
    return mean(losses.reshape(len(losses), -1).mean(axis=1), weights, reduction, axis_name)
