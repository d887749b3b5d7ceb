"""The logits of the global batch, tile by tile, and the gradients of both sides from those of the logits."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax

from ssl_jax import collectives
from ssl_jax.losses.tiled import ring

# Logits that are there at once; larger tiles are met some rows at a time. On a CPU: what stays in the cache of a core.
# Elsewhere d loss / d logits alone are made in parts, each of at most this many or of as many as the embeddings have.
IN_CACHE = 1 << 17
LARGEST_GRADIENT = 1 << 25


class Side(NamedTuple):
    """The rows, or the columns, of the logits `s_ij = z_i . z_j scale_i scale_j`, as tiles of m.

    Attributes:
      z: embeddings as they come, `[t, m, D]`.
      scale: `[t, m]`, the inverse length of the embedding, on one side times 1 / temperature; not 0.
      weight: `[t, m]`, as a negative of others; 0 for padding.
      label: int32 `[t, m]`; a pair with equal labels is no pair of negatives.
    """

    z: Any
    scale: Any
    weight: Any
    label: Any


class Form(NamedTuple):
    """What is wanted of rows and columns.

    Attributes:
      columns: whether columns want normalisers, too.
      symmetric: both sides are the same, so each pair of tiles is met once; the normalisers are those of the rows.
      constant: all columns are on every device, and constants: a queue.
      one_exponential: whether the scale is small enough for it; None where the scale is traced.
      axis_name: mapped axis of the devices.
    """

    columns: bool = False
    symmetric: bool = False
    constant: bool = False
    one_exponential: bool | None = None
    axis_name: str | None = None


def narrow(side: Side) -> bool:
    """Whether embeddings are of a narrower type than what is made of them: products of the narrow type are fast."""
    return side.z.dtype != side.scale.dtype


def factor(side: Side):
    """What is multiplied: narrow embeddings as they are, wide ones with their scale, which saves scaling the logits."""
    return side.z if narrow(side) else side.z * side.scale[..., None]


def scaled_products(row: Side, column: Side):
    """The logits of two tiles."""
    products = contract("id,jd->ij", factor(row), factor(column))
    return products * (row.scale[:, None] * column.scale[None]) if narrow(row) else products


def contract(subscripts: str, x, y):
    """An einsum that sums in float32 or wider, and multiplies float32 as float32."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    return jnp.einsum(subscripts, x, y, precision=lax.Precision.HIGHEST, preferred_element_type=wide)


def pull_back(form: Form, weigh: Callable, rows: Side, of_rows, columns: Side, of_columns, sums: bool = False):
    """The cotangents of both sides, from `weigh(offset, logits, row, of_row, column, of_column)` = d loss / d logits.

    With `sums` also the sums of d loss / d logits over the columns, `[t, m]`.
    """

    def meet(offset, row, row_sum, column, column_sum):
        (row, of_row), (column, of_column) = row, column
        gradients = weigh(offset, scaled_products(row, column), row, of_row, column, of_column)
        row_sum, whole = row_sum
        if sums:
            whole = whole + jnp.sum(gradients, axis=1)
        if narrow(row):
            gradients = (gradients * (row.scale[:, None] * column.scale[None])).astype(row.z.dtype)
        row_sum = row_sum + contract("ij,jd->id", gradients, factor(column)), whole
        return row_sum, column_sum if form.constant else column_sum + across(gradients, factor(row))

    z_rows, z_columns = (jnp.zeros(side.z.shape, side.scale.dtype) for side in (rows, columns))
    (z_rows, whole), z_columns = ring.sweep(
        meet, (rows, of_rows), (z_rows, jnp.zeros_like(rows.scale) if sums else ()),
        (columns, of_columns), () if form.constant else turned(z_columns),
        **course(form, columns), parts=parts_of(rows, columns, LARGEST_GRADIENT),
    )  # fmt: skip
    of_rows = _cotangent(rows, z_rows)
    of_columns = None if form.constant else _cotangent(columns, turned(z_columns))
    return (of_rows, of_columns, whole) if sums else (of_rows, of_columns)


def across(gradients, z):
    """What columns `[j]` get from rows `[i]`, `turned(gradients.T @ z)`."""
    if ring.on_cpu():
        # Behind a barrier: XLA would put the turn into the product, which is as slow as without it.
        return contract("di,ij->dj", lax.optimization_barrier(z.T), gradients)
    return contract("ij,id->jd", gradients, z)


def turned(z):
    """Transposes accumulators on CPU, where `[D, m]` products are faster; identity elsewhere. Its own inverse."""
    return z.mT if ring.on_cpu() else z


def parts_of(rows: Side, columns: Side, largest: float = math.inf) -> int:
    """Into how many parts, a power of two, row tiles are cut so that none has too many logits.

    On a CPU that is `IN_CACHE`, elsewhere `largest`, or as many as the embeddings have elements.
    """
    parts, size = 1, rows.scale.shape[1]
    largest = IN_CACHE if ring.on_cpu() else max(largest, rows.z.size)
    while size // parts * columns.scale.shape[1] > largest and size % (2 * parts) == 0:
        parts *= 2
    return parts


def course(form: Form, columns: Side) -> dict:
    """Offsets for `ring.sweep`: all, or the first half if symmetric, since each pair of tiles then occurs once."""
    if form.constant:
        return {"offsets": len(columns.scale), "stagger": False}
    total = len(columns.scale) * collectives.axis_size(form.axis_name)
    return {"offsets": total // 2 + 1 if form.symmetric else total, "axis_name": form.axis_name}


def counts_twice(form: Form, columns: Side) -> Callable:
    """`offset -> 1 or 0`: weight of the column update, so that a symmetric sweep counts no pair twice.

    At offset 0 a tile meets itself, and at half of the offsets two tiles meet twice.
    """
    if not form.symmetric:
        return lambda offset: 1
    total = len(columns.scale) * collectives.axis_size(form.axis_name)
    return lambda offset: jnp.where((offset == 0) | (2 * offset == total), 0, 1).astype(columns.scale.dtype)


def _cotangent(side: Side, z):
    """Of a side, from that of `factor(side)`: the logits are linear in `z scale`, so `scale d scale = z . d z`."""
    if not narrow(side):
        z = z * side.scale[..., None]
    scale = ring.sum_of_each(side.z.astype(z.dtype) * z)
    return Side(z.astype(side.z.dtype), scale / side.scale, None, None)
