"""What contrastive losses are made of: the logits of positive pairs, and the normalisers over the negatives."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ssl_jax.collectives import all_gather, axis_index
from ssl_jax.losses.embeddings import SMALLEST, inverse_length, normalise, shrinkage, widen
from ssl_jax.losses.tiled.log_sums import ONE_EXPONENTIAL_BELOW, log_sums
from ssl_jax.losses.tiled.logits import Operand, Request
from ssl_jax.losses.tiled.ring import Tiles


def in_one_dtype(*embeddings):
    """All in the dtype in which they are multiplied: that of the widest. Bfloat16 is fast, and loses digits alone."""
    dtype = jnp.result_type(*embeddings)
    if dtype != jnp.bfloat16:
        dtype = jnp.promote_types(dtype, jnp.float32)
    return [jnp.asarray(z, dtype) for z in embeddings]


def directions(*embeddings):
    """`in_one_dtype` of rows that count by their direction alone.

    Bfloat16 is multiplied before it is divided by the lengths, and so is shrunk here; wider types need no copy.
    """
    rows = in_one_dtype(*embeddings)
    return [z * shrinkage(z) for z in rows] if rows[0].dtype == jnp.bfloat16 else rows


def examples(batch: Tiles):
    """The places of the rows in the global batch, int32 `[t, size]`; -1 for what fills up a tile."""
    start = axis_index(batch.axis_name) * batch.rows
    return batch.split((start + jnp.arange(batch.rows)).astype(jnp.int32), fill=-1)


def operand(batch: Tiles, views, weights=None, labels=None, scale=None, unit=True) -> Operand:
    """Rows or columns: the views of each tile of examples, one after another.

    Args:
      batch: the tiles.
      views: a sequence of `[rows, D]`, of one dtype, that of the other operand.
      weights: non-negative `[rows]`, or None for ones.
      labels: int32 `[t, size]`, or None for the places in the global batch.
      scale: `[t, size]`, what multiplies the logits, or None.
      unit: whether rows count with unit length, as for cosines; False for dot products.
    """
    length = inverse_length if unit else lambda view: jnp.ones_like(widen(view[:, 0]))
    z = jnp.concatenate([batch.split(view) for view in views], axis=1)
    lengths = jnp.concatenate([batch.split(length(view), fill=1) for view in views], axis=1)
    weights = jnp.ones(batch.rows) if weights is None else lax.stop_gradient(jnp.asarray(weights))
    weights = batch.split(weights.astype(lengths.dtype))
    labels = examples(batch) if labels is None else labels
    made = Operand(z, lengths, jnp.tile(weights, (1, len(views))), jnp.tile(labels, (1, len(views))))
    return made if scale is None else with_scale(made, scale)


def with_scale(operand: Operand, scale) -> Operand:
    """Multiplies the operand's scale by `scale`, `[t, size]`, repeated once per view; keeps the dtype."""
    views = operand.scale.shape[1] // scale.shape[1]
    return operand._replace(scale=operand.scale * jnp.tile(scale.astype(operand.scale.dtype), (1, views)))


def normalisers(request: Request, batch: Tiles, rows: Operand, columns: Operand, bound):
    """`log_sums`, or for a small batch the same by the usual operations on the gathered columns."""
    if not batch.gathered:
        return log_sums(request, rows, columns, bound)
    gather = lambda operand: jax.tree.map(lambda x: all_gather(x[0], request.axis_name), operand)  # noqa: E731
    own = lambda operand: jax.tree.map(lambda x: x[0], operand)  # noqa: E731
    of_rows = _gathered(own(rows), own(columns) if request.constant else gather(columns))[None]
    return of_rows, _gathered(own(columns), gather(rows))[None] if request.columns else None


def _gathered(rows: Operand, columns: Operand):
    """The normalisers of `[m]` rows over all columns."""
    products = jnp.einsum("id,jd->ij", *map(_unit, (rows, columns)), precision=lax.Precision.HIGHEST)
    counted = (rows.label[:, None] != columns.label[None]) & (columns.weight[None] > 0)
    found = counted.any(axis=1)
    # Twice `where`: a row without negatives has neither a value nor a gradient.
    terms = jnp.where(counted, products + jnp.log(columns.weight)[None], -jnp.inf)
    terms = jnp.where(found[:, None], terms, 0)
    return jnp.where(found, jax.nn.logsumexp(terms, axis=1), -jnp.inf)


def _unit(operand: Operand):
    return widen(operand.z) * operand.scale[:, None]


def request_for(batch: Tiles, bound=math.inf, **options) -> Request:
    """The `Request` of logits of the tiles that do not exceed `bound`, a number or traced."""
    known = None if isinstance(bound, jax.core.Tracer) else bool(np.asarray(bound) * 2 < ONE_EXPONENTIAL_BELOW)
    return Request(batch.plan, one_exponential=known, axis_name=batch.axis_name, **options)


@jax.custom_vjp
def cosines(x, y):
    """Cosines of rows `[..., D]`, exact to rounding for nearly parallel rows, too.

    `x . y = (|x|^2 + |y|^2 - |x - y|^2) / 2`, where the lengths are known to be 1: the difference keeps the digits that
    1 - cosine is made of.
    """
    # The squared lengths after normalisation; less than 1 for rows of hardly any length.
    lengths = [jnp.minimum(jnp.sum(jnp.square(widen(z)), axis=-1) / SMALLEST, 1) for z in (x, y)]
    return (lengths[0] + lengths[1] - jnp.sum(jnp.square(normalise(x) - normalise(y)), axis=-1)) / 2


def _cosines_forward(x, y):
    cosine = cosines(x, y)
    return cosine, (x, y, cosine)


def _cosines_backward(kept, gradient):
    # From the embeddings alone, so that no difference of the whole batch is kept for it.
    x, y, cosine = kept
    lengths = [inverse_length(z)[..., None] for z in (x, y)]
    units = [widen(z) * length for z, length in zip((x, y), lengths, strict=True)]

    def of(unit, other, z, length):
        turns = length < SMALLEST**-0.5  # rows of hardly any length are not normalised: they do not only turn
        change = other - jnp.where(turns, cosine[..., None], 0) * unit
        return (gradient[..., None] * length * change).astype(z.dtype)

    return of(units[0], units[1], x, lengths[0]), of(units[1], units[0], y, lengths[1])


cosines.defvjp(_cosines_forward, _cosines_backward)
