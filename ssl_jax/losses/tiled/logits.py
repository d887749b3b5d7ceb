"""The logits of the global batch, tile by tile, and the gradients of rows and columns from those of the logits."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax

from ssl_jax import collectives
from ssl_jax.losses.tiled import ring
from ssl_jax.losses.tiled.plan import Plan


class Operand(NamedTuple):
    """The rows, or the columns, of the logits `s_ij = z_i . z_j scale_i scale_j`, as tiles of m.

    Attributes:
      z: embeddings as they come, `[t, m, D]`.
      scale: `[t, m]`, the inverse length of the embedding, in one operand times 1 / temperature; not 0.
      weight: `[t, m]`, as a negative of others; 0 for padding.
      label: int32 `[t, m]`; a pair with equal labels is no pair of negatives.
    """

    z: Any
    scale: Any
    weight: Any
    label: Any


class Request(NamedTuple):
    """What is wanted of rows and columns, and how it is computed.

    Attributes:
      plan: what suits the device.
      columns: whether columns want normalisers, too.
      symmetric: rows and columns are the same, so each pair of tiles meets once; the normalisers are of the rows.
      constant: all columns are on every device, and constants: a queue.
      one_exponential: whether the scale is small enough for it; None where the scale is traced.
      axis_name: mapped axis of the devices.
    """

    plan: Plan
    columns: bool = False
    symmetric: bool = False
    constant: bool = False
    one_exponential: bool | None = None
    axis_name: str | None = None


def narrow(operand: Operand) -> bool:
    """Whether embeddings are of a narrower type than what is made of them: products of the narrow type are fast."""
    return operand.z.dtype != operand.scale.dtype


def factor(operand: Operand):
    """What is multiplied: narrow embeddings as they are, wide ones with their scale, which saves scaling the logits."""
    return operand.z if narrow(operand) else operand.z * operand.scale[..., None]


def scaled_products(row: Operand, column: Operand):
    """The logits of two tiles."""
    products = contract("id,jd->ij", factor(row), factor(column))
    return products * (row.scale[:, None] * column.scale[None]) if narrow(row) else products


def contract(subscripts: str, x, y):
    """An einsum that sums in float32 or wider, and multiplies float32 as float32."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    return jnp.einsum(subscripts, x, y, precision=lax.Precision.HIGHEST, preferred_element_type=wide)


def pull_back(request: Request, logit_gradients, rows: Operand, of_rows, columns: Operand, of_columns, sums=False):
    """The cotangents of rows and columns from d loss / d logits.

    That is `logit_gradients(offset, logits, row, of_row, column, of_column)`, where `of_row` is the tile of `of_rows`.
    With `sums` also its sums over the columns, `[t, m]`.
    """
    plan = request.plan

    def meet(offset, row, row_sum, column, column_sum):
        (row, of_row), (column, of_column) = row, column
        gradients = logit_gradients(offset, scaled_products(row, column), row, of_row, column, of_column)
        row_sum, whole = row_sum
        if sums:
            whole = whole + jnp.sum(gradients, axis=1)
        if narrow(row):
            gradients = (gradients * (row.scale[:, None] * column.scale[None])).astype(row.z.dtype)
        row_sum = row_sum + contract("ij,jd->id", gradients, factor(column)), whole
        return row_sum, column_sum if request.constant else column_sum + outer_sum(plan, gradients, factor(row))

    z_rows, z_columns = (jnp.zeros(operand.z.shape, operand.scale.dtype) for operand in (rows, columns))
    (z_rows, whole), z_columns = ring.sweep(
        meet, (rows, of_rows), (z_rows, jnp.zeros_like(rows.scale) if sums else ()),
        (columns, of_columns), () if request.constant else transposed(plan, z_columns),
        **sweep_range(request, rows, columns, backward=True),
    )  # fmt: skip
    of_rows = _cotangent(plan, rows, z_rows)
    of_columns = None if request.constant else _cotangent(plan, columns, transposed(plan, z_columns))
    return (of_rows, of_columns, whole) if sums else (of_rows, of_columns)


def outer_sum(plan: Plan, gradients, z):
    """The sum of outer products that columns `[j]` get from rows `[i]`, `transposed(plan, gradients.T @ z)`."""
    if plan.transposed_sums:
        # Behind a barrier: XLA would fuse the transpose into the product, which is as slow as without it.
        return contract("di,ij->dj", lax.optimization_barrier(z.T), gradients)
    return contract("ij,id->jd", gradients, z)


def transposed(plan: Plan, z):
    """Accumulators of columns as the plan has them: `[D, m]` where such products are faster. Its own inverse."""
    return z.mT if plan.transposed_sums else z


def parts_of(plan: Plan, rows: Operand, columns: Operand, backward: bool = False) -> int:
    """Into how many parts, a power of two, row tiles are cut so that none has more logits than the plan allows."""
    parts, size, largest = 1, rows.scale.shape[1], plan.largest_logits
    if backward:
        largest = min(largest, max(plan.largest_gradient, rows.z.size))
    while size // parts * columns.scale.shape[1] > largest and size % (2 * parts) == 0:
        parts *= 2
    return parts


def sweep_range(request: Request, rows: Operand, columns: Operand, backward: bool = False) -> dict:
    """The range of `ring.sweep`: all offsets, or half if symmetric, since each pair of tiles then occurs once."""
    parts = parts_of(request.plan, rows, columns, backward)
    if request.constant:
        return {"offsets": len(columns.scale), "stagger": False, "parts": parts}
    total = len(columns.scale) * collectives.axis_size(request.axis_name)
    offsets = total // 2 + 1 if request.symmetric else total
    late_shift = request.plan.late_shift
    return {"offsets": offsets, "axis_name": request.axis_name, "parts": parts, "late_shift": late_shift}


def counts_twice(request: Request, columns: Operand) -> Callable:
    """`offset -> 1 or 0`: weight of the column update, so that a symmetric sweep counts no pair twice.

    At offset 0 a tile meets itself, and at half of the offsets two tiles meet twice.
    """
    if not request.symmetric:
        return lambda offset: 1
    total = len(columns.scale) * collectives.axis_size(request.axis_name)
    return lambda offset: jnp.where((offset == 0) | (2 * offset == total), 0, 1).astype(columns.scale.dtype)


def _cotangent(plan: Plan, operand: Operand, z):
    """That of an operand, from that of its `factor`: logits are linear in `z scale`, so `scale d scale = z . d z`."""
    if not narrow(operand):
        z = z * operand.scale[..., None]
    scale = ring.sum_of_each(operand.z.astype(z.dtype) * z, plan.ordered_sums)
    return Operand(z.astype(operand.z.dtype), scale / operand.scale, None, None)
