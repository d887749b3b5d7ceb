"""The normalisers of contrastive losses, `log sum_j w_j exp(s_ij)` over the negatives, in linear memory on any devices.

Logits are computed tile by tile, once in the forward and once in the backward pass, which computes the gradients of
rows and columns from the same weights. Neither the B x B logits nor the gathered batch exist anywhere; what is kept for
the backward pass are the embeddings and the normalisers.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from ssl_jax.losses.tiled import ring
from ssl_jax.losses.tiled.logits import (
    Operand,
    Request,
    contract,
    counts_twice,
    pull_back,
    scaled_products,
    sweep_range,
)

# No logit exceeds the scale. While twice the scale is below this, exp(s) neither overflows float32 nor vanishes beside
# the largest, so that one exponential serves rows and columns; beyond it rows and columns have running maxima.
ONE_EXPONENTIAL_BELOW = 80.0


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def log_sums(request: Request, rows: Operand, columns: Operand, bound):
    """`log sum_j w_j exp(s_ij)` of every row, over the columns of another label.

    Args:
      request: what is wanted, and how it is computed.
      rows: this device's rows.
      columns: this device's columns; or, if constant, all there are.
      bound: scalar, no logit exceeds it; decides on the number of exponentials where that is not known before.

    Returns:
      The normalisers of the rows, `[t, m]`, -inf where there is no negative; and those of the columns,
      `log sum_i w_i exp(s_ij)`, or None. Labels, weights and the bound have no gradient.
    """
    return _forward(request, rows, columns, bound)[0]


def _forward(request, rows, columns, bound):
    one = one_exponential(request, bound)
    twice = counts_twice(request, columns)

    def meet(offset, row, row_sum, column, column_sum):
        logits, counted = scaled_products(row, column), row.label[:, None] != column.label[None]

        def add(one, row_sum, column_sum):
            row_sum = add_tile(one, row_sum, logits, counted, column.weight, axis=1)
            if request.columns or request.symmetric:
                column_sum = add_tile(one, column_sum, logits, counted, row.weight * twice(offset), axis=0)
            return row_sum, column_sum

        return cond_static(one, add, row_sum, column_sum)

    row_sums = empty_sums(one, rows)
    column_sums = empty_sums(one, columns) if request.columns or request.symmetric else ()
    row_sums, column_sums = ring.sweep(
        meet, rows, row_sums, columns, column_sums, **sweep_range(request, rows, columns)
    )
    if request.symmetric:
        found = log(merge(row_sums, column_sums)), None
    else:
        found = log(row_sums), log(column_sums) if request.columns else None
    return found, (rows, columns, bound, found)


def _backward(request, kept, cotangents):
    rows, columns, bound, logs = kept
    one = one_exponential(request, bound) if request.columns or request.symmetric else False
    twice = counts_twice(request, columns)
    # Where there is no negative, exp(s - inf) leaves no gradient.
    logs = jax.tree.map(lambda x: jnp.where(x == -jnp.inf, jnp.inf, x), logs)
    of_rows = of_columns = logs[0], cotangents[0]
    if not request.symmetric:
        of_columns = logs[1], cotangents[1]

    def logit_gradients(offset, logits, row, of_row, column, of_column):
        def gradient(one):
            """d loss / d logits: the cotangent of each normaliser times the softmax of the logit in it."""
            gradients = softmax_terms(one, logits, of_row, 1) * column.weight[None]
            if request.columns or request.symmetric:
                gradients += softmax_terms(one, logits, of_column, 0) * (row.weight * twice(offset))[:, None]
            return gradients * jnp.exp(logits) if one else gradients

        return jnp.where(row.label[:, None] != column.label[None], cond_static(one, gradient), 0)

    return *pull_back(request, logit_gradients, rows, of_rows, columns, of_columns), None


log_sums.defvjp(_forward, _backward)


def one_exponential(request: Request, bound):
    """Whether one exponential is enough: a bool, traced where the scale is."""
    return bound * 2 < ONE_EXPONENTIAL_BELOW if request.one_exponential is None else request.one_exponential


def cond_static(one, function: Callable, *operands):
    """`function(one, *operands)`, decided by `lax.cond` only where `one` is traced."""
    if isinstance(one, bool):
        return function(one, *operands)
    return lax.cond(one, functools.partial(function, True), functools.partial(function, False), *operands)


def empty_sums(one, operand: Operand):
    """The start of sums `(maximum, sum of exponentials relative to it)`; with one exponential the maximum stays 0."""
    lowest = jnp.where(one, 0, -jnp.inf).astype(operand.scale.dtype)
    return jnp.full_like(operand.scale, lowest), jnp.zeros_like(operand.scale)


def add_tile(one: bool, sums, logits, counted, weight, axis: int):
    """One more tile of logits in sums over `axis`, in which `weight` is that of each term."""
    if one:
        terms = jnp.where(counted, jnp.exp(logits), 0)
        return sums[0], sums[1] + contract("ij,j->i" if axis else "ij,i->j", terms, weight)
    weight = jnp.expand_dims(weight, 1 - axis)
    logits = jnp.where(counted & (weight > 0), logits, -jnp.inf)
    largest = jnp.maximum(sums[0], logits.max(axis=axis))
    shift = jnp.where(largest == -jnp.inf, 0, largest)
    new = jnp.sum(jnp.exp(logits - jnp.expand_dims(shift, axis)) * weight, axis=axis)
    return largest, sums[1] * jnp.exp(sums[0] - shift) + new


def merge(a, b):
    """Two sums of the same rows as one."""
    largest = jnp.maximum(a[0], b[0])
    shift = jnp.where(largest == -jnp.inf, 0, largest)
    return largest, a[1] * jnp.exp(a[0] - shift) + b[1] * jnp.exp(b[0] - shift)


def log(sums):
    """The logarithm of sums, -inf of empty ones, nan of those with a number that is not finite."""
    return jnp.where(sums[1] == 0, -jnp.inf, sums[0] + jnp.log(sums[1]))


def softmax_terms(one: bool, logits, of_operand, axis: int):
    """Cotangent times `exp(logits - log)`; with one exponential, what remains of it beside `exp(logits)`."""
    logs, cotangents = (jnp.expand_dims(x, axis) for x in of_operand)
    if one:
        return cotangents * jnp.exp(-logs)
    # Bounded, since what does not count may be larger than all that does, and must not be inf where it is taken out.
    return cotangents * jnp.exp(jnp.minimum(logits - logs, ONE_EXPONENTIAL_BELOW))
