"""The supervised contrastive loss: examples of one class are each other's positives, exact across devices."""

import functools

import jax
import jax.numpy as jnp

from ssl_jax.losses import arguments
from ssl_jax.losses.embeddings import nan_unless_finite
from ssl_jax.losses.tiled import ring
from ssl_jax.losses.tiled.log_sums import add_tile, cond_static, empty_sums, log, merge, one_exponential, softmax_terms
from ssl_jax.losses.tiled.logits import Request, contract, counts_twice, pull_back, scaled_products, sweep_range
from ssl_jax.losses.tiled.pairs import directions, examples, operand, request_for, with_scale


def sup_con(z, labels, *, temperature=0.1, axis_name=None, block_size=None, weights=None, reduction="mean"):
    """SupCon, the published `L_out`: every row finds all other rows of its class among all other rows of the batch.

    `l_i = -1 / |P(i)| sum_{p in P(i)} log(exp(s_ip) / sum_{k != i} exp(s_ik))`, `s_ik = cos(z_i, z_k) / temperature`,
    P(i) the other rows with the label of i; the loss is the mean over the rows. A row without positives has `l_i = 0`
    and counts in the mean, as in the official code.

    Args:
      z: float `[b, D]`, this device's rows, one a view: concatenate the views of a batch; L2-normalised inside.
      labels: integers `[b]`, compared across all devices.
      temperature: positive scalar dividing the cosine; may be traced.
      axis_name: mapped axis over which the global batch is spread; None for a single device.
      block_size: examples in a tile, which bounds the memory by O(block_size^2) beside the embeddings; the result does
        not depend on it but for rounding. None: by the machine, and one block for a GLOBAL batch below 512.
      weights: non-negative `[b]`, taken as constants. A row's weight multiplies its term in the mean, and its terms as
        a positive or negative of others. Rows of weight 0 are padding.
      reduction: "mean", or "none" for the values of the rows.

    Returns:
      At least float32: a scalar whose mean over the axis is the loss of the global batch, or `[b]` for "none", whose
      values are not multiplied by the weights of their own examples.

    Raises:
      ValueError: on wrong shapes or labels, a temperature that is not positive, wrong weights, block size or reduction.

    Example:
      >>> z = jnp.eye(2)[jnp.array([0, 0, 1, 1])]  # one partner at cosine 1, two orthogonal negatives: log(1 + 2 / e)
      >>> round(float(sup_con(z, jnp.array([7, 7, 3, 3]), temperature=1.0)), 4)
      0.5514

    Khosla et al. 2020, "Supervised Contrastive Learning", eq. 2, arXiv 2004.11362. The official code multiplies by
    temperature / 0.07.
    """
    (z,), weights = arguments.contrastive({"z": z}, block_size, weights, reduction, axis_name)
    arguments.scalar("temperature", temperature, "the paper takes 0.1")
    labels = arguments.integers("labels", labels)
    arguments.arrays("pass the class of each row", z=(z, "b D"), labels=(labels, "b"))
    batch = ring.cut(len(z), axis_name, block_size)._replace(gathered=False)
    (z,) = directions(z)
    labels = batch.split(labels.astype(jnp.promote_types(labels.dtype, jnp.int32)), fill=-1)
    columns = operand(batch, [z], weights, labels=labels)
    rows = with_scale(columns, batch.spread(1 / temperature))
    request = request_for(batch, 1 / temperature, symmetric=True)
    negatives, positives, gaps = _class_sums(request, rows, columns, examples(batch), 1 / temperature)
    found = positives != -jnp.inf
    positives = jnp.where(found, positives, 0)
    # log(1 + negatives / positives), exact where next to nothing is left to the negatives, and what the positives'
    # log-sum exceeds the mean positive by.
    losses = jnp.where(found, jax.nn.softplus(negatives - positives) + gaps, 0)
    losses = nan_unless_finite(losses, batch.split(z))
    return batch.mean(losses, weights, reduction)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _class_sums(request: Request, rows, columns, index, bound):
    """Of every row: log-sums over the rows of other labels and over the others of its own; theirs less the mean."""
    return _forward(request, rows, columns, index, bound)[0]


def _pairs(row, row_index, column, column_index):
    same = row.label[:, None] == column.label[None]
    return ~same, same & (row_index[:, None] != column_index[None])


def _forward(request, rows, columns, index, bound):
    one, twice = one_exponential(request, bound), counts_twice(request, columns)

    def meet(offset, row, row_sum, column, column_sum):
        (row, row_index), (column, column_index) = row, column
        logits, pairs = scaled_products(row, column), _pairs(row, row_index, column, column_index)

        def add(one, sums, weight, axis):
            *log_sums, total, count = sums
            log_sums = [add_tile(one, s, logits, p, weight, axis) for s, p in zip(log_sums, pairs, strict=True)]
            subscripts = "ij,j->i" if axis else "ij,i->j"
            total = total + contract(subscripts, jnp.where(pairs[1], logits, 0), weight)
            return *log_sums, total, count + contract(subscripts, pairs[1].astype(logits.dtype), weight)

        def both(one, row_sum, column_sum):
            return add(one, row_sum, column.weight, 1), add(one, column_sum, row.weight * twice(offset), 0)

        return cond_static(one, both, row_sum, column_sum)

    zeros = jnp.zeros_like(rows.scale)
    start = empty_sums(one, rows), empty_sums(one, rows), zeros, zeros
    a, b = ring.sweep(meet, (rows, index), start, (columns, index), start, **sweep_range(request, rows, columns))
    negative, positive, total, count = merge(a[0], b[0]), merge(a[1], b[1]), a[2] + b[2], a[3] + b[3]
    gaps = jnp.where(count > 0, log(positive) - total / jnp.where(count > 0, count, 1), 0)
    found = log(negative), log(positive), gaps
    return found, (rows, columns, index, bound, log(negative), positive, count)


def _backward(request, kept, cotangents):
    rows, columns, index, bound, negative, positive, count = kept
    one, twice = one_exponential(request, bound), counts_twice(request, columns)
    negative = jnp.where(negative == -jnp.inf, jnp.inf, negative)
    share = 1 / jnp.where(count > 0, count, jnp.inf)
    of_rows = index, (negative, cotangents[0]), positive, share, cotangents[1], cotangents[2]

    def logit_gradients(offset, logits, row, of_row, column, of_column):
        pairs = _pairs(row, of_row[0], column, of_column[0])

        def gradient(one, statistics, weight, axis):
            (largest, total), share, to_sum, to_gap = jax.tree.map(lambda x: jnp.expand_dims(x, axis), statistics[2:])
            negatives = softmax_terms(one, logits, statistics[1], axis) * (jnp.exp(logits) if one else 1)
            # As a quotient: exactly 1 for a single positive, whose gap then has no gradient. A positive of weight 0 is
            # none of those of which `largest` is the largest.
            counted = pairs[1] & (weight > 0)
            q = jnp.exp(jnp.where(counted, logits - largest, -jnp.inf)) / jnp.where(total > 0, total, 1)
            positives = to_sum * q + to_gap * (q - share)
            return (jnp.where(pairs[0], negatives, 0) + jnp.where(pairs[1], positives, 0)) * weight

        def both(one):
            gradients = gradient(one, of_row, column.weight[None], 1)
            return gradients + gradient(one, of_column, (row.weight * twice(offset))[:, None], 0)

        return cond_static(one, both)

    return *pull_back(request, logit_gradients, rows, of_rows, columns, of_rows), None, None


_class_sums.defvjp(_forward, _backward)
