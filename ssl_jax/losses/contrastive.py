"""Contrastive losses over the global batch, exact across devices.

Every device passes its own rows `[b, D]` of the global batch (b the same on every device); the rows of all devices,
gathered along `axis_name`, are the candidates, and gradient flows through them. The returned value is LOCAL: its mean
over the axis is the global loss, so differentiate it as it is and average the gradients once with `lax.pmean`.
"""

import numbers

import jax
import jax.numpy as jnp
from jax import lax

from ssl_jax.collectives import all_gather, axis_index, axis_size, pmean

# A function of the global batch alone, so that the number of devices does not change the form of the computation.
_ONE_BLOCK_UP_TO = 8192
_ONE_BLOCK_LOGITS = 2**27
_BLOCK_SIZE = 1024


def nt_xent(z_a, z_b, *, temperature=0.1, axis_name=None, block_size=None, weights=None, reduction="mean"):
    """NT-Xent, the loss of SimCLR: every view finds its partner among the other 2B - 1 views of the global batch.

    `l_i = -log(exp(s_ij) / sum_{k != i} exp(s_ik))`, `s_ik = cos(z_i, z_k) / temperature`, j the other view of i;
    the loss is the mean of `l_i` over the 2B anchors.

    Args:
      z_a: embeddings of the first views, float `[b, D]`, this device's rows; L2-normalised inside.
      z_b: embeddings of the second views, float `[b, D]`; row i belongs to the same example as row i of `z_a`.
      temperature: positive scalar dividing the cosine; may be traced.
      axis_name: mapped axis over which the global batch is spread; None for a single device.
      block_size: anchors handled at a time, which bounds the memory by O(block_size * 2B); the result does not depend
        on it. None takes all at once up to a global batch of 8,192, and 1,024 at a time beyond.
      weights: non-negative `[b]`, taken as constants. An example's weight multiplies its term in the mean and its
        terms as a negative of others; the positive pair always counts once. Rows of weight 0 are padding.
      reduction: "mean", or "none" for the per-example values (the mean of the two anchors).

    Returns:
      At least float32: a scalar whose mean over the axis is the loss of the global batch, or `[b]` for "none", whose
      values are not multiplied by the weights of their own examples.

    Raises:
      ValueError: on wrong shapes, a temperature that is not positive, a wrong block size or reduction.

    Example:
      >>> z = jnp.eye(4)  # partners agree, the six negatives of an anchor are orthogonal: log(1 + 6 / e)
      >>> round(float(nt_xent(z, z, temperature=1.0)), 4)
      1.1654

    Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations", eq. 1 and algorithm 1,
    arXiv 2002.05709. The official code takes the sum of the two directions' means, twice this value.
    """
    _check(z_a, z_b, ("z_a", "z_b"), temperature, block_size, weights, reduction)
    b = len(z_a)
    z = normalise(jnp.concatenate([z_a, z_b]))
    row = jnp.arange(2 * b)
    offset = axis_index(axis_name) * 2 * b
    losses = _cross_entropy(
        z / temperature,
        all_gather(z, axis_name),
        positive=offset + jnp.roll(row, b),
        excluded=offset + row,
        weights=None if weights is None else all_gather(jnp.tile(weights, 2), axis_name),
        block_size=_block_size(block_size, b, axis_name),
    )
    return _reduce(losses.reshape(2, b).mean(axis=0), weights, reduction, axis_name)


def info_nce(query, key, *, temperature=0.1, axis_name=None, block_size=None, weights=None, reduction="mean"):
    """InfoNCE in one direction: every query finds its key among all keys of the global batch.

    `l_i = -log(exp(s_ii) / sum_k exp(s_ik))`, `s_ik = cos(query_i, key_k) / temperature`; the loss is the mean over
    the B queries. Stop the gradient of `key` outside where the method asks for it (momentum keys).

    Args:
      query: float `[b, D]`, this device's rows; L2-normalised inside.
      key: float `[b, D]`; row i is the positive of row i of `query`, the rest of the global batch its negatives.
      temperature: positive scalar dividing the cosine; may be traced.
      axis_name: mapped axis over which the global batch is spread; None for a single device.
      block_size: queries handled at a time, which bounds the memory by O(block_size * B); the result does not depend
        on it. None takes all at once up to a global batch of 8,192, and 1,024 at a time beyond.
      weights: non-negative `[b]`, taken as constants. A pair's weight multiplies its term in the mean and its key's
        term as a negative of others; the positive always counts once. Rows of weight 0 are padding.
      reduction: "mean", or "none" for the values of the queries.

    Returns:
      At least float32: a scalar whose mean over the axis is the loss of the global batch, or `[b]` for "none", whose
      values are not multiplied by the weights of their own pairs.

    Raises:
      ValueError: on wrong shapes, a temperature that is not positive, a wrong block size or reduction.

    Example:
      >>> z = jnp.eye(4)  # the three negatives of a query are orthogonal: log(1 + 3 / e)
      >>> round(float(info_nce(z, z, temperature=1.0)), 4)
      0.7437

    van den Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding", eq. 4, arXiv 1807.03748.
    """
    _check(query, key, ("query", "key"), temperature, block_size, weights, reduction)
    b = len(query)
    losses = _cross_entropy(
        normalise(query) / temperature,
        all_gather(normalise(key), axis_name),
        positive=axis_index(axis_name) * b + jnp.arange(b),
        excluded=None,
        weights=None if weights is None else all_gather(weights, axis_name),
        block_size=_block_size(block_size, b, axis_name),
    )
    return _reduce(losses, weights, reduction, axis_name)


def queue_info_nce(
    query, key, queue, *, temperature=0.07, axis_name=None, block_size=None, weights=None, reduction="mean"
):
    """InfoNCE against a queue, the loss of MoCo: every query finds its key among the K keys of earlier batches.

    `l_i = -log(exp(s_i) / (exp(s_i) + sum_k exp(t_ik)))`, `s_i = cos(query_i, key_i) / temperature`,
    `t_ik = cos(query_i, queue_k) / temperature`; the loss is the mean over the B queries. The other keys of the batch
    are no negatives. Stop the gradient of `key` outside, as MoCo does.

    Args:
      query: float `[b, D]`, this device's rows; L2-normalised inside.
      key: float `[b, D]`; row i is the positive of row i of `query`.
      queue: float `[K, D]`, the negatives, the same on every device; L2-normalised inside.
      temperature: positive scalar dividing the cosine; may be traced.
      axis_name: mapped axis over which the global batch is spread; None for a single device.
      block_size: queries handled at a time, which bounds the memory by O(block_size * K); the result does not depend
        on it. None takes all at once up to 2^27 logits of the global batch, and 1,024 at a time beyond.
      weights: non-negative `[b]`, taken as constants: an example's weight multiplies its term in the mean.
      reduction: "mean", or "none" for the values of the queries.

    Returns:
      At least float32: a scalar whose mean over the axis is the loss of the global batch, or `[b]` for "none", whose
      values are not multiplied by the weights of their own examples.

    Raises:
      ValueError: on wrong shapes, a temperature that is not positive, a wrong block size or reduction.

    Example:
      >>> query, queue = jnp.eye(4)[:1], jnp.eye(4)[1:]  # three orthogonal negatives: log(1 + 3 / e)
      >>> round(float(queue_info_nce(query, query, queue, temperature=1.0)), 4)
      0.7437

    He et al. 2020, "Momentum Contrast for Unsupervised Visual Representation Learning", eq. 1, arXiv 1911.05722.
    """
    _check(query, key, ("query", "key"), temperature, block_size, weights, reduction)
    if jnp.ndim(queue) != 2 or jnp.shape(queue)[1:] != jnp.shape(query)[1:]:
        raise ValueError(
            f"queue has shape {jnp.shape(queue)} and query has shape {jnp.shape(query)}, but queue must be [K, D] with "
            "the D of the queries: pass one earlier key a row."
        )
    query, key, queue = (normalise(x) for x in (query, key, queue))

    def cross_entropy(row):
        anchor, positive = row
        positive = jnp.sum(anchor * positive)
        negatives = jnp.einsum("d,kd->k", anchor, queue, precision=lax.Precision.HIGHEST)
        return jnp.logaddexp(positive, jax.nn.logsumexp(negatives)) - positive

    if block_size is None:
        block_size = len(query) if len(query) * axis_size(axis_name) * len(queue) <= _ONE_BLOCK_LOGITS else _BLOCK_SIZE
    losses = _by_blocks(cross_entropy, (query / temperature, key), block_size)
    return _reduce(losses, weights, reduction, axis_name)


def _cross_entropy(anchors, candidates, *, positive, excluded, weights, block_size):
    """Softmax cross-entropy `[m]` of anchors `[m, D]` against candidates `[C, D]`.

    Anchor i has its positive in column `positive[i]` and leaves out column `excluded[i]` (None: no column); the other
    columns are negatives, weighted by `weights` `[C]` (None: ones).
    """
    column = jnp.arange(len(candidates))
    log_weights = None if weights is None else jnp.log(lax.stop_gradient(weights).astype(candidates.dtype))

    def cross_entropy(row):
        anchor, positive, excluded = row
        logits = jnp.einsum("d,cd->c", anchor, candidates, precision=lax.Precision.HIGHEST)
        is_positive = column == positive
        terms = logits if weights is None else jnp.where(is_positive, logits, logits + log_weights)
        if excluded is not None:
            terms = jnp.where(column == excluded, -jnp.inf, terms)
        # The positive is read from the same product as the sum, so that rounding never makes the loss negative.
        return jax.nn.logsumexp(terms) - jnp.sum(logits, where=is_positive)

    return _by_blocks(cross_entropy, (anchors, positive, excluded), block_size)


def _by_blocks(loss, rows, block_size):
    """`loss` of every row, `[m]`, in blocks; the backward pass computes a block again instead of keeping them all."""
    if block_size >= len(rows[0]):
        return jax.vmap(loss)(rows)
    return lax.map(jax.checkpoint(loss), rows, batch_size=block_size)


def normalise(x):
    """Rows of unit length in at least float32; a zero row stays zero, with finite gradient."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return x * lax.rsqrt(jnp.maximum(jnp.sum(x * x, axis=-1, keepdims=True), 1e-12))


def _reduce(losses, weights, reduction, axis_name):
    if reduction == "none":
        return losses
    if weights is None:
        return losses.mean()
    # Devices may hold unequal weight: dividing by the axis mean makes the mean of the local values the global one.
    weights = lax.stop_gradient(weights).astype(losses.dtype)
    return jnp.sum(weights * losses) / pmean(jnp.sum(weights), axis_name)


def _block_size(block_size, b, axis_name):
    global_batch = b * axis_size(axis_name)
    default = 2 * global_batch if global_batch <= _ONE_BLOCK_UP_TO else _BLOCK_SIZE
    return default if block_size is None else block_size


def _check(x, y, names, temperature, block_size, weights, reduction):
    if jnp.ndim(x) != 2 or jnp.shape(x) != jnp.shape(y):
        raise ValueError(
            f"{names[0]} has shape {jnp.shape(x)} and {names[1]} has shape {jnp.shape(y)}, but both must be [b, D] "
            "with equal b and D: pass one embedding a row, the two rows of a pair at the same place."
        )
    if isinstance(temperature, numbers.Real) and not temperature > 0:
        raise ValueError(f"temperature is {temperature}, but must be positive: SimCLR takes 0.1, CIFAR-10 recipes 0.5.")
    if block_size is not None and not (isinstance(block_size, numbers.Integral) and block_size > 0):
        raise ValueError(f"block_size is {block_size!r}, but must be a positive integer: pass None to have it chosen.")
    if weights is not None and jnp.shape(weights) != jnp.shape(x)[:1]:
        raise ValueError(
            f"weights has shape {jnp.shape(weights)}, but {names[0]} of shape {jnp.shape(x)} needs {jnp.shape(x)[:1]}: "
            "pass one weight an example."
        )
    if reduction not in ("mean", "none"):
        raise ValueError(f'reduction is {reduction!r}, but must be "mean" or "none": pass one of the two.')
