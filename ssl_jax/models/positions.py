"""Fixed two-dimensional sine-cosine positions of patches, in the two published layouts."""

import numpy as np


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


SINCOS = {"sincos_moco_v3": sincos_moco_v3, "sincos_mae": sincos_mae}


def _sincos(places, width):
    """Sines, then cosines, of the places along one axis, [n, width / 2]."""
    if width % 4:
        raise ValueError(f"Sine-cosine positions were given width {width} and expect a multiple of 4; change it.")
    angles = places[:, None] / 10000.0 ** (np.arange(width // 4) / (width // 4))
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
