"""What losses of a batch of embeddings share: unit length, numbers of any size, the mean over the global batch."""

import jax
import jax.numpy as jnp
from jax import lax

from ssl_jax.collectives import pmean

SMALLEST = 1e-12  # of a squared length that a row is divided by


def widen(x):
    """`x` in float32, or in its own dtype where that is wider."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def from_float16(x):
    """Float16 as float32, and anything else as it is.

    Losses are computed in float32 or wider; of their gradients, those that exceed the range of float16 come back as its
    largest number, 65,504. Such are those of rows of next to no length, which are divided by it.
    """
    return _from_float16(x) if x.dtype == jnp.float16 else x


@jax.custom_vjp
def _from_float16(x):
    return x.astype(jnp.float32)


def _to_float16(_, gradient):
    largest = float(jnp.finfo(jnp.float16).max)
    return (jnp.where(jnp.isinf(gradient), gradient, jnp.clip(gradient, -largest, largest)).astype(jnp.float16),)


_from_float16.defvjp(lambda x: (_from_float16(x), None), _to_float16)


def shrinkage(x):
    """The powers of two, `[..., 1]`, that shrink rows `[..., D]` whose squares would overflow; 1 for all others."""
    half = jnp.finfo(x.dtype).maxexp // 2
    longest = lax.stop_gradient(jnp.max(jnp.abs(x), axis=-1, keepdims=True))
    return jnp.where(longest > 2.0 ** (half - 11), 2.0 ** -(half + 7), 1).astype(x.dtype)


def inverse_length(x):
    """`1 / |x|` of rows `[..., D]` in at least float32; 1e6 for rows shorter than 1e-6."""
    x = widen(x)
    shrunk = shrinkage(x)
    small = x * shrunk
    # Both are computed and one is selected: a product with 1 changes how XLA rounds what it is fused with.
    return jnp.where(shrunk[..., 0] < 1, _plain_inverse_length(small) * shrunk[..., 0], _plain_inverse_length(x))


def _plain_inverse_length(x):
    """The same of rows whose squares do not overflow."""
    return lax.rsqrt(jnp.maximum(jnp.sum(x * x, axis=-1), SMALLEST))


def normalise(x):
    """Rows `[..., D]` of unit length in at least float32; a zero row stays zero, with finite gradient."""
    x = widen(x)
    shrunk = shrinkage(x)
    small = x * shrunk
    # Not `x * inverse_length(x)`: of the longest rows, 1 / |x| is too small a number.
    shortened, plain = (rows * _plain_inverse_length(rows)[..., None] for rows in (small, x))
    return jnp.where(shrunk < 1, shortened, plain)


def nan_unless_finite(values, *rows):
    """`values`, but nan where `rows`, `[..., D]` or `[...]`, have a number that is not finite and could be hidden."""
    for x in rows:
        finite = jnp.isfinite(x)
        values = jnp.where(finite if x.ndim == values.ndim else finite.all(axis=-1), values, jnp.nan)
    return values


def mean(losses, weights=None, reduction="mean", axis_name=None):
    """Per-example losses `[b]` as the local value whose mean over the axis is the (weighted) mean of the global batch.

    Args:
      losses: `[b]`, this device's examples.
      weights: non-negative `[b]`, taken as constants, or None for ones.
      reduction: "mean", or "none" for `losses` as they are.
      axis_name: mapped axis over which the global batch is spread; None for a single device.

    Returns:
      A scalar, or `[b]` for "none".
    """
    if reduction == "none":
        return losses
    if weights is None:
        return losses.mean()
    # Devices may hold unequal weight: dividing by the axis mean makes the mean of the local values the global one.
    weights = lax.stop_gradient(jnp.asarray(weights)).astype(losses.dtype)
    return jnp.sum(weights * losses) / pmean(jnp.sum(weights), axis_name)
