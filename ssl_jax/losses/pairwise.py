"""The sigmoid loss of SigLIP: every pair of the global batch is a binary question, exact across devices."""

import functools

import jax
import jax.numpy as jnp

from ssl_jax.losses import arguments
from ssl_jax.losses.tiled import ring
from ssl_jax.losses.tiled.logits import Request, contract, pull_back, scaled_products, sweep_range
from ssl_jax.losses.tiled.pairs import cosines, directions, operand, request_for


def sigmoid(image, text, *, logit_scale, logit_bias, axis_name=None, block_size=None, weights=None, reduction="mean"):
    """The loss of SigLIP: does this text belong to this image? asked of all B x B pairs of the global batch.

    `l_i = softplus(-s_ii) + sum_{k != i} softplus(s_ik)`, `s_ik = logit_scale cos(image_i, text_k) + logit_bias`; the
    loss is the mean of `l_i` over the B images: the sum over pairs, divided by B.

    Args:
      image: float `[b, D]`, this device's rows; L2-normalised inside.
      text: float `[b, D]`; row i belongs to row i of `image`.
      logit_scale: positive scalar that multiplies the cosine (not its logarithm); may be traced. SigLIP begins at 10.
      logit_bias: scalar that is added; may be traced. SigLIP begins at -10.
      axis_name: mapped axis over which the global batch is spread; None for a single device.
      block_size: examples in a tile, which bounds the memory by O(block_size^2) beside the embeddings; the result does
        not depend on it but for rounding. None: by the machine, and one block for a GLOBAL batch below 512.
      weights: non-negative `[b]`, taken as constants. A pair's weight multiplies its term in the mean and its text's
        terms as a negative of others. Rows of weight 0 are padding.
      reduction: "mean", or "none" for the values of the images.

    Returns:
      At least float32: a scalar whose mean over the axis is the loss of the global batch, or `[b]` for "none", whose
      values are not multiplied by the weights of their own examples.

    Raises:
      ValueError: on wrong shapes, a scale that is not positive, a wrong bias, weights, block size or reduction.

    Example:
      >>> z = jnp.eye(4)  # one positive with logit 1 - 1 = 0, three negatives with logit 0 - 1
      >>> round(float(sigmoid(z, z, logit_scale=1.0, logit_bias=-1.0)), 4)
      1.6329

    Zhai et al. 2023, "Sigmoid Loss for Language Image Pre-Training", eq. 1 and algorithm 1, arXiv 2303.15343.
    """
    pair, weights = arguments.contrastive({"image": image, "text": text}, block_size, weights, reduction, axis_name)
    arguments.scalar("logit_scale", logit_scale, arguments.LOGIT_SCALE)
    arguments.scalar("logit_bias", logit_bias, "SigLIP begins at -10", "a real number", lambda x: True)
    image, text = directions(*pair)
    batch = ring.cut(len(image), axis_name, block_size)._replace(gathered=False)
    scale, bias = batch.spread(logit_scale), batch.spread(logit_bias)
    rows, columns = operand(batch, [image], weights, scale=scale), operand(batch, [text], weights)
    negatives = _softplus_sums(request_for(batch), rows, columns, bias.astype(rows.scale.dtype))
    positives = scale * batch.split(cosines(image, text)) + bias
    return batch.mean(jax.nn.softplus(-positives) + negatives, weights, reduction)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _softplus_sums(request: Request, rows, columns, bias):
    """`sum_j w_j softplus(s_ij)` of every row over the columns of another label, `s_ij` plus the bias of the row."""
    return _forward(request, rows, columns, bias)[0]


def _forward(request, rows, columns, bias):
    def meet(offset, row, row_sum, column, column_sum):
        row, bias = row
        values = jax.nn.softplus(scaled_products(row, column) + bias[:, None])
        values = jnp.where(row.label[:, None] != column.label[None], values, 0)
        return row_sum + contract("ij,j->i", values, column.weight), column_sum

    sums, _ = ring.sweep(meet, (rows, bias), jnp.zeros_like(bias), columns, (), **sweep_range(request, rows, columns))
    return sums, (rows, columns, bias)


def _backward(request, kept, cotangents):
    rows, columns, bias = kept

    def logit_gradients(offset, logits, row, of_row, column, of_column):
        bias, cotangent = of_row
        gradients = cotangent[:, None] * column.weight[None] * jax.nn.sigmoid(logits + bias[:, None])
        return jnp.where(row.label[:, None] != column.label[None], gradients, 0)

    of_rows, of_columns, sums = pull_back(request, logit_gradients, rows, (bias, cotangents), columns, (), sums=True)
    return of_rows, of_columns, sums


_softplus_sums.defvjp(_forward, _backward)
