"""Losses that pull a prediction to a target and push nothing apart: those of BYOL and SimSiam.

They are per example, so devices share nothing but the sum of the weights. Neither stops a gradient: the methods stop
that of the target, without which all embeddings become one; pass `jax.lax.stop_gradient(target)`. The returned value is
LOCAL: its mean over the axis is the global loss.
"""

import jax.numpy as jnp

from ssl_jax.losses import arguments, embeddings


def byol(prediction, target, *, axis_name=None, weights=None, reduction="mean"):
    """The loss of BYOL in one direction: the squared distance of prediction and target as unit vectors.

    `l_i = |p_i / |p_i| - t_i / |t_i||^2 = 2 - 2 cos(p_i, t_i)`; the loss is the mean over the B examples, from 0 where
    they agree over 2 where they have nothing in common to 4. BYOL adds the two directions.

    Args:
      prediction: float `[b, D]`, this device's rows; L2-normalised inside. A zero row has the value 1.
      target: float `[b, D]`; row i belongs to the same example. Stop its gradient outside, as BYOL does.
      axis_name: mapped axis over which the global batch is spread, for `weights`; None for a single device.
      weights: non-negative `[b]`, taken as constants: an example's weight multiplies its term in the mean.
      reduction: "mean", or "none" for the values of the examples.

    Returns:
      At least float32: a scalar whose mean over the axis is the loss of the global batch, or `[b]` for "none", whose
      values are not multiplied by the weights.

    Raises:
      ValueError: on wrong shapes, weights or an unknown reduction.

    Example:
      >>> p = jnp.array([[2.0, 0.0], [1.0, 0.0]])  # the first agrees with its target, the second is orthogonal to it
      >>> byol(p, jnp.array([[3.0, 0.0], [0.0, 5.0]]), reduction="none").tolist()
      [0.0, 2.0]

    Grill et al. 2020, "Bootstrap Your Own Latent", eq. 2, arXiv 2006.07733; google-deepmind/deepmind-research at
    f5de0ed, byol/utils/helpers.py, `regression_loss`.
    """
    prediction, target, weights = _unit_rows(prediction, target, weights, reduction, axis_name)
    # Not 2 - 2 cos, which rounding makes negative.
    return embeddings.mean(jnp.sum(jnp.square(prediction - target), axis=-1), weights, reduction, axis_name)


def simsiam(prediction, target, *, axis_name=None, weights=None, reduction="mean"):
    """The loss of SimSiam in one direction: the negative cosine of prediction and target.

    `l_i = -cos(p_i, t_i)`; the loss is the mean over the B examples. SimSiam averages the two directions.

    Args:
      prediction: float `[b, D]`, this device's rows; L2-normalised inside. A zero row has the value 0.
      target: float `[b, D]`; row i belongs to the same example. Stop its gradient outside, as SimSiam does.
      axis_name: mapped axis over which the global batch is spread, for `weights`; None for a single device.
      weights: non-negative `[b]`, taken as constants: an example's weight multiplies its term in the mean.
      reduction: "mean", or "none" for the values of the examples.

    Returns:
      At least float32: a scalar whose mean over the axis is the loss of the global batch, or `[b]` for "none", whose
      values are not multiplied by the weights.

    Raises:
      ValueError: on wrong shapes, weights or an unknown reduction.

    Example:
      >>> p = jnp.array([[2.0, 0.0], [1.0, 0.0]])  # the first agrees with its target, the second is opposed to it
      >>> simsiam(p, jnp.array([[3.0, 0.0], [-5.0, 0.0]]), reduction="none").tolist()
      [-1.0, 1.0]

    Chen and He 2021, "Exploring Simple Siamese Representation Learning", eq. 1, arXiv 2011.10566;
    facebookresearch/simsiam at a7bc177, main_simsiam.py.
    """
    prediction, target, weights = _unit_rows(prediction, target, weights, reduction, axis_name)
    return embeddings.mean(-jnp.sum(prediction * target, axis=-1), weights, reduction, axis_name)


def _unit_rows(prediction, target, weights, reduction, axis_name):
    rows = arguments.arrays(arguments.ROWS, prediction=(prediction, "b D"), target=(target, "b D"))
    return *map(embeddings.normalise, rows), arguments.reduced(len(rows[0]), weights, reduction, axis_name)
