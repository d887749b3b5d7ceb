"""Decoupled contrastive losses: NT-Xent without the positive pair in the denominator, exact across devices."""

import jax.numpy as jnp
from jax import lax

from ssl_jax.collectives import all_gather, pmean
from ssl_jax.losses import arguments, embeddings
from ssl_jax.losses.contrastive import among_views
from ssl_jax.losses.tiled import ring
from ssl_jax.losses.tiled.pairs import cosines, directions


def dcl(z_a, z_b, *, temperature=0.1, axis_name=None, block_size=None, weights=None, reduction="mean"):
    """Decoupled contrastive loss: the anchor's partner is left out of the sum that it is compared with.

    `l_i = -s_ij + log sum_k exp(s_ik)` over the 2B - 2 views k of other examples, `s_ik = cos(z_i, z_k) / temperature`,
    j the other view of i; the loss is the mean of `l_i` over the 2B anchors. May be negative. An example without
    negatives has `l_i = -s_ij`.

    Args:
      z_a: embeddings of the first views, float `[b, D]`, this device's rows; L2-normalised inside.
      z_b: embeddings of the second views, float `[b, D]`; row i belongs to the same example as row i of `z_a`.
      temperature: positive scalar dividing the cosine; may be traced.
      axis_name: mapped axis over which the global batch is spread; None for a single device.
      block_size: examples in a tile, which bounds the memory by O(block_size^2) beside the embeddings; the result does
        not depend on it but for rounding. None: by the machine, and one block for a GLOBAL batch below 512.
      weights: non-negative `[b]`, taken as constants. An example's weight multiplies its term in the mean and its
        terms as a negative of others. Rows of weight 0 are padding.
      reduction: "mean", or "none" for the per-example values (the mean of the two anchors).

    Returns:
      At least float32: a scalar whose mean over the axis is the loss of the global batch, or `[b]` for "none", whose
      values are not multiplied by the weights of their own examples.

    Raises:
      ValueError: on wrong shapes, a temperature that is not positive, wrong weights, block size or reduction.

    Example:
      >>> z = jnp.eye(4)  # partners agree, the six negatives of an anchor are orthogonal: log(6) - 1
      >>> round(float(dcl(z, z, temperature=1.0)), 4)
      0.7918

    Yeh et al. 2022, "Decoupled Contrastive Learning", eq. 6, arXiv 2110.06848.
    """
    return _decoupled(z_a, z_b, temperature, axis_name, block_size, weights, reduction, lambda *_: 1)


def dclw(z_a, z_b, *, temperature=0.1, sigma=0.5, axis_name=None, block_size=None, weights=None, reduction="mean"):
    """`dcl` whose positive terms are weighted: pairs that already agree count less.

    `l_i = -w_i s_ij + log sum_k exp(s_ik)`, `w_i = 2 - exp(cos(z_i, z_j) / sigma) / E exp(cos / sigma)`, the mean E
    over the positive pairs of the global batch (of weight 1). Gradient flows through `w_i`, as in the reference code.

    Args:
      z_a, z_b, temperature, axis_name, block_size, weights, reduction: as for `dcl`.
      sigma: positive scalar, the width of the von Mises-Fisher weights.

    Returns:
      As `dcl`.

    Raises:
      ValueError: as `dcl`, and a sigma that is not positive.

    Example:
      >>> z = jnp.eye(4)  # all pairs agree alike, so all weights are 1: the value of `dcl`
      >>> round(float(dclw(z, z, temperature=1.0)), 4)
      0.7918

    Yeh et al. 2022, "Decoupled Contrastive Learning", eq. 7, arXiv 2110.06848.
    """
    arguments.scalar("sigma", sigma, "the paper takes 0.5")

    def pair_weights(batch, cosine, weights):
        # Relative to the largest, which leaves the weights as they are, so that for no sigma all terms vanish.
        pairs = batch.join(lax.stop_gradient(cosine))
        pairs = pairs if weights is None else jnp.where(weights > 0, pairs, -1)
        largest = jnp.max(all_gather(pairs, axis_name))
        agreement = jnp.exp((cosine - largest) / sigma)
        return 2 - agreement / pmean(embeddings.mean(batch.join(agreement), weights, axis_name=axis_name), axis_name)

    return _decoupled(z_a, z_b, temperature, axis_name, block_size, weights, reduction, pair_weights)


def _decoupled(z_a, z_b, temperature, axis_name, block_size, weights, reduction, pair_weights):
    pair, weights = arguments.contrastive({"z_a": z_a, "z_b": z_b}, block_size, weights, reduction, axis_name)
    arguments.scalar("temperature", temperature, arguments.TEMPERATURE)
    z_a, z_b = directions(*pair)
    batch = ring.cut(len(z_a), axis_name, block_size, views=2)
    scale = batch.spread(1 / temperature)
    negatives = among_views(batch, (z_a, z_b), 1 / temperature, scale, weights).mean(axis=0)
    cosine = batch.split(cosines(z_a, z_b))
    negatives = jnp.where(negatives == -jnp.inf, 0, negatives)
    return batch.mean(negatives - pair_weights(batch, cosine, weights) * scale * cosine, weights, reduction)
