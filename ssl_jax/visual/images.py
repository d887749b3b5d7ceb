"""Arrays as PNG inside of the page: images, views, spectrograms, heat maps."""

import base64
from html import escape

import numpy as np

from ssl_jax.augment.lab import lab_to_rgb
from ssl_jax.evaluation.inputs import log_mel

LARGEST = 96  # pixels of a thumbnail's longer side
INK = (30, 136, 210)  # of maps of one value, a blue that can be seen on white and on black


def png(pixels: np.ndarray) -> str:
    """A data URI of uint8 `[H, W]`, `[H, W, 1]`, `[H, W, 3]` (RGB) or `[H, W, 4]` (RGBA)."""
    import cv2

    pixels = np.ascontiguousarray(pixels)
    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels
    if pixels.ndim == 3:
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[-1]]]  # OpenCV's order is BGR
    _, held = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return "data:image/png;base64," + base64.b64encode(held.tobytes()).decode()


def img(pixels: np.ndarray, alt: str, *, width: int | None = None, height: int | None = None) -> str:
    """An `<img>` so many CSS pixels wide (None: as many as the image has), with sharp pixels where it grows.

    With `height` it is stretched to that height, as spectrograms are; otherwise it keeps its shape.
    """
    tall, own = pixels.shape[:2]
    width = width or own
    stretched = f' style="height:{height}px"' if height else ""
    sharp = ' class="pixels"' if width > own else ""
    return (
        f'<img{sharp}{stretched} src="{png(pixels)}" width="{width}" height="{height or round(width * tall / own)}" '
        f'alt="{escape(alt)}">'
    )


def thumbnail(pixels: np.ndarray, alt: str, *, width: int = 64) -> str:
    """`img` of an image that is made small before."""
    return img(small(pixels), alt, width=width)


def small(pixels: np.ndarray) -> np.ndarray:
    """An image uint8 `[H, W, C]` with at most LARGEST pixels a side."""
    import cv2

    longer = max(pixels.shape[:2])
    if longer <= LARGEST:
        return pixels
    size = tuple(max(1, round(side * LARGEST / longer)) for side in pixels.shape[1::-1])
    return cv2.resize(np.ascontiguousarray(pixels), size, interpolation=cv2.INTER_AREA)


def ink(values: np.ndarray) -> np.ndarray:
    """Values `[R, C]` in [0, 1] as uint8 `[R, C, 4]`: one colour, the more opaque the larger; for light and dark."""
    alpha = np.uint8(255 * np.clip(values, 0, 1) + 0.5)
    return np.concatenate([np.broadcast_to(np.uint8(INK), (*alpha.shape, 3)), alpha[..., None]], axis=-1)


def spectrogram(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """The log-mel spectrum of a clip float `[n]` as uint8 `[40, T, 4]`, the lowest pitch at the bottom."""
    bands = log_mel(np.asarray(audio, np.float64), sample_rate)
    low, high = bands.min(), bands.max()
    return ink(((bands - low) / max(high - low, 1e-9)).T[::-1])


def to_pixels(view: np.ndarray, mean=None, std=None) -> np.ndarray:
    """Views float `[..., H, W, C]` as uint8: the normalisation undone, Lab in RGB, what else is no image by its range.

    >>> to_pixels(np.array([[[100.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])).tolist()
    [[[255, 255, 255], [0, 0, 0]]]
    """
    view = np.asarray(view, np.float32)
    if mean is not None:
        view = view * np.float32(std) + np.float32(mean)
    elif np.abs(view).max(initial=0) > 4:
        light = view[..., 0]  # from 0 to 100 in Lab; patches of one contrast go below 0
        is_lab = view.shape[-1] == 3 and light.min() >= -0.1 and light.max() <= 100.1
        view = np.asarray(lab_to_rgb(view)) if is_lab else (view - view.min()) / (view.max() - view.min())
    return np.uint8(255 * np.clip(view, 0, 1) + 0.5)


def joined(parts: np.ndarray) -> np.ndarray:
    """Parts `[n, h, w, C]` beside one another, or `[r, n, h, w, C]` in rows, two transparent pixels between them.

    >>> joined(np.zeros((3, 5, 5, 1), np.uint8)).shape
    (5, 19, 4)
    """
    parts = np.broadcast_to(parts, (*parts.shape[:-1], 3)) if parts.shape[-1] == 1 else parts
    parts = np.concatenate([parts, np.full((*parts.shape[:-1], 1), 255, np.uint8)], axis=-1)
    parts = parts[None] if parts.ndim == 4 else parts
    gap = [(0, 0), (0, 0), (0, 2), (0, 2), (0, 0)]
    rows, n, h, w, c = np.pad(parts, gap).shape
    return np.pad(parts, gap).transpose(0, 2, 1, 3, 4).reshape(rows * h, n * w, c)[:-2, :-2]


def example(row: dict, alt: str, *, width: int = 64) -> str | None:
    """An example of a source as HTML: an image, or the spectrogram of a clip; None for what has no picture."""
    if "image" in row:
        return thumbnail(row["image"], alt, width=width)
    if "audio" in row:
        return img(spectrogram(row["audio"], row["sample_rate"]), alt, width=width, height=width // 2)
    return None
