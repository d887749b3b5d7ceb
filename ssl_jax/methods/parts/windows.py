"""Windows around the places of a sequence, for a tile of neighbouring places at a time: one product of matrices."""

import jax
import jax.numpy as jnp
from jax import lax


def tiles(x, tile: int):
    """Places `[b, L, ...]` as tiles of neighbours, `[b, L / tile, tile, ...]`."""
    return x.reshape(len(x), -1, tile, *x.shape[2:])


def around(x, tile: int, window: int):
    """The tiles of `[b, L, ...]` with `window` places more on either side, `[b, L / tile, tile + 2 window, ...]`.

    >>> around(jnp.arange(1, 5)[None], 2, 1).tolist()
    [[[0, 1, 2, 3], [2, 3, 4, 0]]]
    """
    own = tiles(x, tile)  # neighbours are moved instead of cut out anew: the gradient of a cut is as long as the whole
    before, after = [], []
    for apart in range(1, -(-window // tile) + 1):
        width = min(tile, window - (apart - 1) * tile)  # places of the tiles so far apart
        before.append(_moved(own[:, :, tile - width :], apart))
        after.append(_moved(own[:, :, :width], -apart))
    return jnp.concatenate([*reversed(before), own, *after], axis=2)


def summed(x, tile: int, window: int):
    """For each place, the sum of its entries in `[b, L / tile, tile + 2 window, ...]`: the transpose of `around`.

    >>> summed(jnp.array([[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]]), 2, 1).tolist()
    [[2.0, 8.0, 10.0, 7.0]]
    """
    places = jax.ShapeDtypeStruct((len(x), x.shape[1] * tile, *x.shape[3:]), x.dtype)
    return jax.linear_transpose(lambda y: around(y, tile, window), places)(x)[0]


def _moved(x, by: int):
    """The tiles of `[b, t, ...]` moved along by `by`, zeros in the place of those that come from outside."""
    return lax.pad(x, jnp.zeros((), x.dtype), [(by, -by, 0) if axis == 1 else (0, 0, 0) for axis in range(x.ndim)])


def windows_of(batch, tile: int, window: int):
    """Whether place c around a tile is in the window of its place s: bool `[b, L / tile, tile, tile + 2 window]`."""
    tokens, sentence, radius = (tiles(batch[name], tile)[..., None] for name in ("tokens", "sentence", "radius"))
    others, sentences = (around(batch[name], tile, window)[:, :, None] for name in ("tokens", "sentence"))
    distance = jnp.abs(jnp.arange(tile + 2 * window)[None] - window - jnp.arange(tile)[:, None])[None, None]
    there = (tokens > 0) & (others > 0) & (sentence == sentences)
    return there & (distance > 0) & (distance <= radius)


def scaled(rows, factor):
    """Rows `[b, n, D]` whose gradients are multiplied by `factor` `[b, n]`."""
    factor = factor[..., None].astype(rows.dtype)
    return factor * rows + lax.stop_gradient((1 - factor) * rows)
