"""Positions of patches: fixed sines and cosines in the two published layouts, and learned ones for another grid."""

import math

import jax.numpy as jnp
import numpy as np
from jax import lax


def sincos_moco_v3(h: int, w: int, width: int) -> np.ndarray:
    """Fixed positions of MoCo v3: `[sin(r f), cos(r f), sin(c f), cos(c f)]` of row r and column c.

    The frequencies are f_k = 10000^(-k / n), k = 0, ..., n - 1, with n = width / 4. The official code calls the first
    half "w", but its grid makes it the row. Its grid is square; on others it would give tokens the positions of the
    transposed grid, where here each has its own.

    Args:
        h: rows of the grid of patches.
        w: columns of the grid of patches.
        width: of a token, a multiple of 4.

    Returns: float64 [h * w, width], row by row.

    Raises:
        ValueError: `width` is no multiple of 4.

    >>> sincos_moco_v3(2, 2, 4).round(2).tolist()
    [[0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 0.84, 0.54], [0.84, 0.54, 0.0, 1.0], [0.84, 0.54, 0.84, 0.54]]

    Source: Chen et al., https://arxiv.org/abs/2104.02057, section 5, and the official `vits.py`.
    """
    rows, columns = np.divmod(np.arange(h * w), w)
    return np.concatenate([_sincos(rows, width), _sincos(columns, width)], axis=1)


def sincos_mae(h: int, w: int, width: int) -> np.ndarray:
    """Fixed positions of MAE: `[sin(c f), cos(c f), sin(r f), cos(r f)]`, the halves of `sincos_moco_v3` exchanged.

    Args:
        h: rows of the grid of patches.
        w: columns of the grid of patches.
        width: of a token, a multiple of 4.

    Returns: float64 [h * w, width], row by row.

    Raises:
        ValueError: `width` is no multiple of 4.

    >>> sincos_mae(2, 2, 4).round(2).tolist()
    [[0.0, 1.0, 0.0, 1.0], [0.84, 0.54, 0.0, 1.0], [0.0, 1.0, 0.84, 0.54], [0.84, 0.54, 0.84, 0.54]]

    Source: He et al., https://arxiv.org/abs/2111.06377, and the official `util/pos_embed.py`.
    """
    return np.roll(sincos_moco_v3(h, w, width), width // 2, axis=1)


def interpolate(table, h: int, w: int):
    """Learned positions of a square grid, for a grid of h x w patches: bicubic, as in the official code of DINO.

    Place i of n is read at `(i + 1/2) N / (n + 1/10) - 1/2` of N along each axis, from the four nearest places, those
    beyond the border being the last ones, with the kernel of a = -3/4. The tenth is the official code's guard against
    rounding, which moves the places a little. The grid of N x N is the table itself, and so is, of a table that is of
    no square grid, any grid of as many places.

    Args:
        table: float [N * N, width], row by row.
        h: rows of the grid of patches.
        w: columns of the grid of patches.

    Returns: [h * w, width] in the dtype of `table`.

    Raises:
        ValueError: the table is of no square grid, and has another number of places.

    >>> interpolate(jnp.ones((16, 3)), 2, 6).shape
    (12, 3)

    Source: Caron et al., https://arxiv.org/abs/2104.14294; facebookresearch/dino at 7c446df, `vision_transformer.py`,
    with the bicubic `interpolate` of PyTorch.
    """
    places, width = table.shape
    side = math.isqrt(places)
    if (h, w) == (side, side) or (h * w == places != side**2):
        return table
    if side**2 != places:
        raise ValueError(
            f"{places} learned positions were given for a grid of {h} x {w} patches and are expected to be of a square "
            "grid; train on square images, or use fixed positions."
        )
    rows, columns = (jnp.asarray(_bicubic(side, n), table.dtype) for n in (h, w))
    grid = table.reshape(side, side, width)
    out = jnp.einsum("yh,hwc,xw->yxc", rows, grid, columns, precision=lax.Precision.HIGHEST)
    return out.reshape(h * w, width)


SINCOS = {"sincos_moco_v3": sincos_moco_v3, "sincos_mae": sincos_mae}


def _sincos(places, width):
    """Sines, then cosines, of the places along one axis, [n, width / 2]."""
    if width % 4:
        raise ValueError(f"Sine-cosine positions were given width {width} and expect a multiple of 4; change it.")
    angles = places[:, None] / 10000.0 ** (np.arange(width // 4) / (width // 4))
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def _bicubic(places: int, n: int) -> np.ndarray:
    """Weights [n, places] of the places that each of n new ones is read from."""
    a, weights = -0.75, np.zeros((n, places))
    for i in range(n):
        x = (i + 0.5) * places / (n + 0.1) - 0.5
        for j in range(math.floor(x) - 1, math.floor(x) + 3):
            d = abs(x - j)
            near, far = ((a + 2) * d - (a + 3)) * d * d + 1, a * (((d - 5) * d + 8) * d - 4)
            weights[i, np.clip(j, 0, places - 1)] += near if d <= 1 else far
    return weights
