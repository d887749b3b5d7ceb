"""Which pixels of an image are hidden, as bool `[size, size]`: its centre, random blocks, random regions."""

import math

import jax
import jax.numpy as jnp
from jax import lax

from ssl_jax.augment.image import uniform


def centre(size: int, hole: int):
    """A square hole of `hole` pixels in the middle.

    >>> centre(4, 2).astype(int).tolist()
    [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    inside = _within(jnp.arange(size), (size - hole) // 2, hole)
    return inside[:, None] & inside[None]


def blocks(key, size: int, *, count: int = 4, share: float = 0.25):
    """Squares of one size at random places, which may overlap and together cover at most `share` of the image.

    Args:
        key: PRNG key.
        size: of the image.
        count: number of squares.
        share: of the image that they cover where none overlap, rounded down to whole pixels.

    >>> hidden = blocks(jax.random.key(0), 32)
    >>> bool(64 <= hidden.sum() <= 256)
    True

    Source: Pathak et al., https://arxiv.org/abs/1604.07379, section 3.3.
    """
    side, places = max(1, math.floor(size * math.sqrt(share / count))), jnp.arange(size)
    corners = jax.random.randint(key, (2, count, 1), 0, size - side + 1, jnp.int32)
    rows, columns = (_within(places[None], corner, side) for corner in corners)
    return jnp.any(rows[:, :, None] & columns[:, None], axis=0)


def regions(key, size: int, *, share=(0.2, 0.3), resolution: float = 0.06):
    """A region of random shape: where smooth noise is lowest.

    Uniform noise of `resolution` cells a pixel is enlarged to pixels by cubic interpolation, and a window of it is cut
    off at the quantile that hides the share drawn. The official code cuts one large pattern off at 0.25, and takes
    windows that hide 20 to 30 %, one for a whole batch; here each image has its own.

    Args:
        key: PRNG key.
        size: of the image.
        share: range of the hidden part of the image.
        resolution: noise cells a pixel; the smaller, the smoother and larger are the pieces of the region.

    >>> hidden = regions(jax.random.key(0), 64)
    >>> bool(0.2 <= hidden.mean() <= 0.3)
    True

    Source: pathak22/context-encoder, train_random.lua.
    """
    noise_key, place_key, share_key = jax.random.split(key, 3)
    cells = math.ceil(resolution * size) + 3
    # Drawn in float32 whatever the precision, so that runs in any precision hide the same pixels.
    noise = jax.random.uniform(noise_key, (cells, cells), jnp.float32).astype(jnp.result_type(float))
    length = max(size + 1, round(cells / resolution))
    pattern = jax.image.resize(noise, (length, length), "cubic")
    corner = jax.random.randint(place_key, (2,), 0, length - size + 1, jnp.int32)
    window = lax.dynamic_slice(pattern, corner, (size, size))
    count = jnp.int32(uniform(share_key, (), *share) * size * size)
    return window < jnp.sort(window.ravel())[count]


def grown(hidden, margin: int):
    """Masks `[..., H, W]` with all pixels added that are at most `margin` rows and columns away from a hidden one.

    >>> grown(centre(4, 2), 1).all().item()
    True
    """
    side = 2 * margin + 1
    window = (1,) * (hidden.ndim - 2) + (side, side)
    found = lax.reduce_window(hidden.astype(jnp.int32), jnp.int32(0), lax.max, window, (1,) * hidden.ndim, "SAME")
    return found > 0


def _within(places, start, length: int):
    return (places >= start) & (places < start + length)
