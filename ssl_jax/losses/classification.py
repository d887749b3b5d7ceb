"""Cross-entropy of classes that a pretext task makes itself: the angle of a rotated image, the colour of a place."""

import jax
import jax.numpy as jnp

from ssl_jax.losses import arguments
from ssl_jax.losses.embeddings import mean, widen


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
      ValueError: shapes that do not belong together, labels that are not of the K classes.

    >>> round(float(cross_entropy(jnp.zeros((2, 4)), jnp.array([0, 3]))), 4)  # log 4
    1.3863
    """
    logits, _ = arguments.arrays(
        "pass one label for each row of logits", logits=(logits, "b ... K"), labels=(labels, "b ...")
    )
    labels = arguments.integers("labels", labels, below=logits.shape[-1])
    weights = arguments.reduced(len(logits), weights, reduction, axis_name)
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
      ValueError: shapes that do not belong together, targets that are no distributions.

    >>> round(float(soft_cross_entropy(jnp.zeros((2, 4)), jnp.full((2, 4), 0.25))), 4)  # log 4
    1.3863

    Source: Zhang et al., https://arxiv.org/abs/1603.08511, equation 2.
    """
    shapes = {"logits": (logits, "b ... K"), "targets": (targets, "b ... K")}
    if place_weights is not None:
        shapes["place_weights"] = arguments.weights("place_weights", place_weights), "b ..."
    logits, targets, *place_weights = arguments.arrays("pass one distribution for each row of logits", **shapes)
    arguments.distributions("targets", targets)
    weights = arguments.reduced(len(logits), weights, reduction, axis_name)
    losses = -jnp.sum(jax.lax.stop_gradient(targets) * jax.nn.log_softmax(widen(logits)), axis=-1)
    for of_places in place_weights:
        losses = losses * jax.lax.stop_gradient(of_places)
    return mean(losses.reshape(len(losses), -1).mean(axis=1), weights, reduction, axis_name)
