"""What losses of a batch of embeddings share: unit length, the mean over the global batch, the checks of arguments."""

import numbers

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ssl_jax.collectives import pmean


def widen(x):
    """`x` in float32, or in its own dtype where that is wider."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def normalise(x):
    """Rows `[..., D]` of unit length in at least float32; a zero row stays zero, with finite gradient."""
    x = widen(x)
    return x * lax.rsqrt(jnp.maximum(jnp.sum(x * x, axis=-1, keepdims=True), 1e-12))


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


def check_pair(x, y, names):
    """Refuses what is not two arrays `[b, D]` of one shape."""
    if jnp.ndim(x) != 2 or jnp.shape(x) != jnp.shape(y) or not len(x):
        raise ValueError(
            f"{names[0]} has shape {jnp.shape(x)} and {names[1]} has shape {jnp.shape(y)}, but both must be [b, D] "
            "with equal b > 0 and D: pass one embedding a row, the two rows of a pair at the same place."
        )


def check_rows(x, name):
    """Refuses what is not `[b, D]`."""
    if jnp.ndim(x) != 2 or not len(x):
        raise ValueError(f"{name} has shape {jnp.shape(x)}, but must be [b, D], b > 0: pass one embedding a row.")


def check_mean(rows, weights, reduction):
    """Refuses weights that are not `[rows]`, and reductions that there are not."""
    if weights is not None and jnp.shape(weights) != (rows,):
        raise ValueError(
            f"weights has shape {jnp.shape(weights)}, but {rows} examples need ({rows},): pass one weight an example."
        )
    if reduction not in ("mean", "none"):
        raise ValueError(f'reduction is {reduction!r}, but must be "mean" or "none": pass one of the two.')


def check_positive(name, value, hint):
    """Refuses a number that is not positive; a traced value passes."""
    if not isinstance(value, jax.core.Tracer) and not np.all(np.asarray(value) > 0):
        raise ValueError(f"{name} is {value}, but must be positive: {hint}.")


def check_block_size(block_size):
    """Refuses what is neither None nor a positive integer."""
    if block_size is not None and not (isinstance(block_size, numbers.Integral) and block_size > 0):
        raise ValueError(f"block_size is {block_size!r}, but must be a positive integer: pass None to have it chosen.")
