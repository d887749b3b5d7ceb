"""Cross-entropy of classes that a pretext task makes itself: the angle of a rotated image, the colour of a place."""

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


def soft_cross_entropy(logits, targets, *, place_weights=None, weights=None, axis_name=None, reduction="mean"):
    """Cross-entropy with distributions as targets, `-v sum_k q_k log softmax(logits)_k`, averaged over places.

    Args:
      logits: `[b, ..., K]`; the loss is computed in float32 or wider.
      targets: distributions q `[b, ..., K]`, taken as constant.
      place_weights: v, non-negative `[b, ...]`, such as those of rare classes, or None for ones. The sum over the
        places of an example is divided by their number, not by that of the weights: examples stay independent.
      weights: non-negative `[b]` of the examples, or None for ones.
      axis_name: mapped axis over which the global batch is spread; None for a single device.
      reduction: "mean": the local value whose mean over the axis is that of the global batch; "none": `[b]`.

    Returns:
      A scalar, or `[b]` for "none".

    Raises:
      ValueError: shapes that do not belong together.

    >>> round(float(soft_cross_entropy(jnp.zeros((2, 4)), jnp.full((2, 4), 0.25))), 4)  # log 4
    1.3863

    Source: Zhang et al., https://arxiv.org/abs/1603.08511, equation 2.
    """
    shape = jnp.shape(logits)
    if len(shape) < 2 or jnp.shape(targets) != shape or not len(logits):
        raise ValueError(
            f"logits has shape {shape} and targets has shape {jnp.shape(targets)}, but both must be [b, ..., K] with "
            "b > 0: pass one distribution for each row of logits."
        )
    if place_weights is not None and jnp.shape(place_weights) != shape[:-1]:
        raise ValueError(
            f"place_weights has shape {jnp.shape(place_weights)}, but must be {shape[:-1]}: pass one for each row."
        )
    check_mean(len(logits), weights, reduction)
    losses = -jnp.sum(jax.lax.stop_gradient(targets) * jax.nn.log_softmax(widen(logits)), axis=-1)
    if place_weights is not None:
        losses = losses * jax.lax.stop_gradient(place_weights)
    return mean(losses.reshape(len(losses), -1).mean(axis=1), weights, reduction, axis_name)
