"""Windows around the places of a sequence, for a tile of neighbouring places at a time: one product of matrices."""

import jax.numpy as jnp
from jax.lax import stop_gradient


def tiles(x, tile: int):
    """Places `[b, L, ...]` as tiles of neighbours, `[b, L / tile, tile, ...]`."""
    return x.reshape(len(x), -1, tile, *x.shape[2:])


def around(x, tile: int, window: int):
    """The tiles of `[b, L, ...]` with `window` places more on either side, `[b, L / tile, tile + 2 window, ...]`.

    >>> around(jnp.arange(1, 5)[None], 2, 1).tolist()
    [[[0, 1, 2, 3], [2, 3, 4, 0]]]
    """
    padded = jnp.pad(x, [(0, 0), (window, window)] + [(0, 0)] * (x.ndim - 2))
    return jnp.stack([padded[:, at : at + tile + 2 * window] for at in range(0, x.shape[1], tile)], axis=1)


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
    return factor * rows + stop_gradient((1 - factor) * rows)
