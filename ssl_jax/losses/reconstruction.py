"""Losses of hidden parts that a network fills in: masked autoencoders, inpainting."""

import jax
import jax.numpy as jnp

from ssl_jax.collectives import pmean
from ssl_jax.losses import arguments
from ssl_jax.losses.embeddings import mean, widen

ERRORS = {"squared": jnp.square, "absolute": jnp.abs}


def masked_reconstruction(
    prediction, target, masked, *, error="squared", weights=None, axis_name=None, reduction="mean"
):
    """The mean error over the values of masked patches, `sum_mp e(prediction - target) / (P sum_m 1)`.

    Args:
      prediction: `[b, N, P]`, N patches of P values; the loss is computed in float32 or wider.
      target: `[b, N, P]`, taken as constant.
      masked: bool `[b, N]`, the patches that count.
      error: "squared" (MAE) or "absolute" (SimMIM).
      weights: non-negative `[b]` of the examples, or None for ones.
      axis_name: mapped axis over which the global batch is spread; None for a single device.
      reduction: "mean": the local value whose mean over the axis is that of the global batch; "none": `[b]`, the mean
        over the masked patches of each example, 0 where it has none.

    Returns:
      A scalar, or `[b]` for "none".

    Raises:
      ValueError: shapes that do not belong together, an unknown error.

    >>> prediction, target = jnp.zeros((1, 2, 3)), jnp.array([[[2.0, 2.0, 2.0], [9.0, 9.0, 9.0]]])
    >>> float(masked_reconstruction(prediction, target, jnp.array([[True, False]])))
    4.0

    Source: He et al., https://arxiv.org/abs/2111.06377, section 3; Xie et al., https://arxiv.org/abs/2111.09886,
    equation 1.
    """
    prediction, target, masked = arguments.arrays(
        "cut both images into the same patches",
        prediction=(prediction, "b N P"), target=(target, "b N P"), masked=(masked, "b N"),
    )  # fmt: skip
    arguments.one_of("error", error, tuple(ERRORS))
    weights = arguments.reduced(len(prediction), weights, reduction, axis_name)
    errors = ERRORS[error](widen(prediction) - jax.lax.stop_gradient(widen(target))).mean(axis=-1)
    # Where the error is multiplied by 0 instead, one that is not finite would spoil the sum.
    sums, counts = jnp.where(masked, errors, 0).sum(axis=1), masked.sum(axis=1).astype(errors.dtype)
    if reduction == "none":
        return sums / jnp.maximum(counts, 1)
    weights = 1 if weights is None else jax.lax.stop_gradient(jnp.asarray(weights, errors.dtype))
    return jnp.sum(weights * sums) / jnp.maximum(pmean(jnp.sum(weights * counts), axis_name), 1e-6)


def weighted_reconstruction(prediction, target, importance, *, weights=None, axis_name=None, reduction="mean"):
    """The mean squared error of an image's pixels that count, each multiplied by its importance.

    `sum_p m_p |prediction_p - target_p|^2 / (C sum_p [m_p > 0])`, then the mean over images.

    Args:
      prediction: `[b, H, W, C]`; the loss is computed in float32 or wider.
      target: `[b, H, W, C]`, taken as constant.
      importance: non-negative `[b, H, W]`: 0 for pixels that do not count, 1 for hidden ones, more for the ring where
        an inpainted patch overlaps what surrounds it.
      weights: non-negative `[b]` of the examples, or None for ones.
      axis_name: mapped axis over which the global batch is spread; None for a single device.
      reduction: "mean": the local value whose mean over the axis is that of the global batch; "none": `[b]`.

    Returns:
      A scalar, or `[b]` for "none".

    Raises:
      ValueError: shapes that do not belong together.

    >>> prediction, target = jnp.zeros((1, 1, 3, 1)), jnp.ones((1, 1, 3, 1))
    >>> float(weighted_reconstruction(prediction, target, jnp.array([[[0.0, 1.0, 10.0]]])))
    5.5

    Source: Pathak et al., https://arxiv.org/abs/1604.07379, equation 1; pathak22/context-encoder, train.lua.
    """
    prediction, target, importance = arguments.arrays(
        "give one importance a pixel", prediction=(prediction, "b H W C"), target=(target, "b H W C"),
        importance=(arguments.weights("importance", importance), "b H W"),
    )  # fmt: skip
    weights = arguments.reduced(len(prediction), weights, reduction, axis_name)
    errors = jnp.square(widen(prediction) - jax.lax.stop_gradient(widen(target))).mean(axis=-1)
    importance = jax.lax.stop_gradient(jnp.asarray(importance, errors.dtype))
    counts = jnp.maximum(jnp.sum(importance > 0, axis=(1, 2)), 1).astype(errors.dtype)
    return mean(jnp.sum(importance * errors, axis=(1, 2)) / counts, weights, reduction, axis_name)
