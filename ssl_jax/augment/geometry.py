"""Where pixels go: random and central crops, flips, quarter turns, cutout; one image `[H, W, C]`, any channels."""

import math

import jax
import jax.numpy as jnp

from ssl_jax.augment.image import check_choice, check_image, random_apply, uniform
from ssl_jax.augment.resample import pair, resample

CROP_ATTEMPTS = 10


def sample_crop(key, height, width, *, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), distribution: str = "torchvision"):
    """Draws the box of a random resized crop, in whole pixels.

    "torchvision": area uniform in `scale`, width / height log-uniform in `ratio`; the first of ten draws that fits
    the image; if none fits, the largest central crop whose ratio is allowed.

    "tensorflow": width / height uniform in `ratio`, then the height uniform between what `scale` and the image allow,
    so that small crops are likelier; if none fits, the whole image. SimCLR's official code samples so, and rejects
    crops that cover less than a tenth of the image: `scale=(0.1, 1.0)`.

    "clamped": the first draw of "torchvision", cut to the height and width of the image: BYOL's official code.

    "pixels": the image area / crop area is what is uniform, as where an image is resized to a uniform number of pixels
    and a crop of fixed size is taken from it; scaled down to fit the image where it does not (context prediction).

    Args:
        key: PRNG key.
        height: image height in pixels; may be traced.
        width: likewise.
        scale: range of crop area / image area.
        ratio: range of width / height.
        distribution: "torchvision", "tensorflow", "clamped" or "pixels".

    Returns:
        (top, left, height, width), float32 `[4]`, whole numbers.

    Raises:
        ValueError: unknown distribution.

    >>> print(sample_crop(jax.random.key(0), 32, 48, scale=(1.0, 1.0), ratio=(1.5, 1.5)))
    [ 0.  0. 32. 48.]

    Source: torchvision `RandomResizedCrop`; TensorFlow `sample_distorted_bounding_box`; google-deepmind/
    deepmind-research at f5de0ed, `byol/utils/dataset.py`.
    """
    check_choice("crop distribution", distribution, ("torchvision", "tensorflow", "clamped", "pixels"))
    height, width = jnp.float32(height), jnp.float32(width)
    key_size, key_ratio, key_top, key_left = jax.random.split(key, 4)
    size_draw, ratio_draw = uniform(key_size, (CROP_ATTEMPTS,)), uniform(key_ratio, (CROP_ATTEMPTS,))
    image_area = height * width
    if distribution != "tensorflow":
        area = image_area * (scale[0] + (scale[1] - scale[0]) * size_draw)
        if distribution == "pixels":
            area = image_area / (1 / scale[1] + (1 / scale[0] - 1 / scale[1]) * size_draw)
        aspect = jnp.exp(math.log(ratio[0]) + math.log(ratio[1] / ratio[0]) * ratio_draw)
        heights, widths = jnp.round(jnp.sqrt(area / aspect)), jnp.round(jnp.sqrt(area * aspect))
        if distribution == "clamped":
            heights, widths = jnp.minimum(heights, height), jnp.minimum(widths, width)
        if distribution == "pixels":
            fit = jnp.minimum(1, jnp.minimum(height / heights, width / widths))
            heights, widths = jnp.round(fit * heights), jnp.round(fit * widths)
        fallback_height = jnp.minimum(height, jnp.round(width / ratio[0]))
        fallback_width = jnp.minimum(width, jnp.round(height * ratio[1]))
    else:
        aspect = ratio[0] + (ratio[1] - ratio[0]) * ratio_draw
        lowest = jnp.round(jnp.sqrt(scale[0] * image_area / aspect))
        highest = jnp.minimum(jnp.round(jnp.sqrt(scale[1] * image_area / aspect)), jnp.floor(width / aspect))
        highest = jnp.minimum(highest, height)
        heights = lowest + jnp.floor(size_draw * (highest - lowest + 1))
        # Where nothing fits, lowest > highest: an infinite width marks the draw as invalid.
        widths = jnp.where(lowest <= highest, jnp.round(heights * aspect), jnp.inf)
        fallback_height, fallback_width = height, width

    valid = (heights >= 1) & (heights <= height) & (widths >= 1) & (widths <= width)
    first = jnp.argmax(valid)
    crop_height = jnp.where(valid[first], heights[first], fallback_height)
    crop_width = jnp.where(valid[first], widths[first], fallback_width)
    # Uniform over the positions that fit; the middle one for the fallback.
    free_rows, free_columns = height - crop_height, width - crop_width
    top = jnp.where(valid[first], jnp.floor(uniform(key_top) * (free_rows + 1)), jnp.floor(free_rows / 2))
    left = jnp.where(valid[first], jnp.floor(uniform(key_left) * (free_columns + 1)), jnp.floor(free_columns / 2))
    return jnp.stack([top, left, crop_height, crop_width])


def random_resized_crop(
    key,
    image,
    size,
    *,
    scale=(0.08, 1.0),
    ratio=(3 / 4, 4 / 3),
    distribution: str = "torchvision",
    method: str = "bilinear",
    antialias: bool = True,
    original_size=None,
    flip=False,
):
    """A random box of the image (`sample_crop`), resized to `size` (`resample`) and clipped to [0, 1].

    Args:
        key: PRNG key.
        image: `[H, W, C]`, floating point in [0, 1].
        size: output (height, width), or one int for both; static.
        scale, ratio, distribution: see `sample_crop`.
        method, antialias, flip: see `resample`.
        original_size: (height, width) `[2]`, traced, of an image that is stored squashed onto the `[H, W]` canvas. The
            crop is drawn in the original's pixels, so its distribution is the original's; only detail is lost.

    Returns:
        `[size_h, size_w, C]`, the dtype of `image`.

    >>> random_resized_crop(jax.random.key(0), jnp.ones((40, 60, 3)), 32).shape
    (32, 32, 3)
    """
    check_image(image)
    height, width = image.shape[:2] if original_size is None else original_size
    box = sample_crop(key, height, width, scale=scale, ratio=ratio, distribution=distribution)
    box = _onto_canvas(box, image, original_size)
    return jnp.clip(resample(image, box, size, method=method, antialias=antialias, flip=flip), 0.0, 1.0)


def random_shift(key, image, pad: int):
    """A random part of the image's own size, after `pad` black pixels were put around it; uniform over all places.

    >>> random_shift(jax.random.key(0), jnp.ones((4, 4, 1)), 1).shape
    (4, 4, 1)
    """
    padded = jnp.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    top, left = jax.random.randint(key, (2,), 0, 2 * pad + 1)
    return jax.lax.dynamic_slice(padded, (top, left, 0), image.shape)


def center_crop(image, size, *, proportion=0.875, method: str = "bicubic", antialias: bool = True, original_size=None):
    """The evaluation crop: the largest central box with the output's shape, shrunk by `proportion`, resized to `size`.

    Args:
        image: `[H, W, C]`, floating point in [0, 1].
        size: output (height, width), or one int for both; static.
        proportion: side of the box over the side of the largest box that fits.
        method, antialias: see `resample`.
        original_size: see `random_resized_crop`.

    Returns:
        `[size_h, size_w, C]`, the dtype of `image`.

    >>> center_crop(jnp.ones((256, 320, 3)), 224).shape
    (224, 224, 3)

    Source: google-research/simclr, `tf2/data_util.py` (which resizes with `antialias=False`).
    """
    check_image(image)
    height, width = (jnp.float32(value) for value in (image.shape[:2] if original_size is None else original_size))
    out_height, out_width = pair(size)
    side = proportion * jnp.minimum(height / out_height, width / out_width)
    crop_height, crop_width = jnp.round(side * out_height), jnp.round(side * out_width)
    top, left = jnp.floor((height - crop_height + 1) / 2), jnp.floor((width - crop_width + 1) / 2)
    box = _onto_canvas(jnp.stack([top, left, crop_height, crop_width]), image, original_size)
    return jnp.clip(resample(image, box, size, method=method, antialias=antialias), 0.0, 1.0)


def random_flip(key, image, p=0.5):
    """Mirrors left to right with probability `p`; `[H, W, C] -> [H, W, C]`.

    >>> random_flip(jax.random.key(0), jnp.array([[[1.0], [2.0]]]), p=1.0)[0, :, 0].tolist()
    [2.0, 1.0]
    """
    check_image(image)
    return random_apply(key, p, lambda image: image[:, ::-1], image)


def rotate90(image, k):
    """Turns a square image anticlockwise by `k` quarter turns, as `numpy.rot90`.

    Args:
        image: `[H, H, C]`.
        k: integer, may be traced: so that one compilation serves every turn, and vmap every mix of them.

    Returns:
        `[H, H, C]`, the dtype of `image`.

    Raises:
        ValueError: the image is not square.

    >>> rotate90(jnp.array([[[1.0], [2.0]], [[3.0], [4.0]]]), 1)[..., 0].tolist()
    [[2.0, 4.0], [1.0, 3.0]]
    """
    if image.ndim != 3 or image.shape[0] != image.shape[1]:
        raise ValueError(f"Given an array of shape {image.shape}, expected a square image [H, H, C]: crop it first.")
    k = jnp.asarray(k) % 4
    # A quarter turn is a transpose and one mirror, half a turn is both mirrors.
    image = jnp.where(k % 2 == 1, image.transpose(1, 0, 2), image)
    image = jnp.where((k == 1) | (k == 2), image[::-1], image)
    return jnp.where((k == 2) | (k == 3), image[:, ::-1], image)


def random_rotate90(key, image):
    """Turns a square image `[H, H, C]` by 0, 90, 180 or 270 degrees, each as likely.

    >>> random_rotate90(jax.random.key(0), jnp.ones((4, 4, 1))).shape
    (4, 4, 1)
    """
    return rotate90(image, jax.random.randint(key, (), 0, 4, jnp.int32))


def random_cutout(key, image, *, fraction=(0.25, 0.5), p=0.5, fill=0.0):
    """Paints over a square whose centre is any pixel, as likely, with probability `p`; the border cuts the square off.

    Args:
        key: PRNG key.
        image: `[H, W, C]`, floating point.
        fraction: range of the square's side over the image's shorter side; the side is drawn uniformly.
        p: probability.
        fill: the value painted: a float, or C of them.

    Returns:
        `[H, W, C]`, the dtype of `image`.

    >>> float(random_cutout(jax.random.key(0), jnp.ones((8, 8, 1)), p=1.0).min())
    0.0

    Source: DeVries and Taylor 2017, section 3 (arXiv 1708.04552); SimCLR's figure 4 shows it and gives no size.
    """
    check_image(image)
    key_apply, key_side, key_row, key_column = jax.random.split(key, 4)
    height, width, channels = image.shape
    side = jnp.round(uniform(key_side, (), *fraction) * min(height, width)).astype(jnp.int32)

    def covered(key, length):
        first = jax.random.randint(key, (), 0, length, jnp.int32) - side // 2
        index = jnp.arange(length, dtype=jnp.int32)
        return (index >= first) & (index < first + side)

    inside = covered(key_row, height)[:, None, None] & covered(key_column, width)[None, :, None]
    colour = jnp.broadcast_to(jnp.asarray(fill, image.dtype).reshape(1, 1, -1), (1, 1, channels))
    return random_apply(key_apply, p, lambda image: jnp.where(inside, colour, image), image)


def _onto_canvas(box, image, original_size):
    """A box in the pixels of the original, in those of the canvas that the original was squashed onto."""
    if original_size is None:
        return box
    height, width = (jnp.float32(value) for value in original_size)
    rows, columns = image.shape[0] / height, image.shape[1] / width
    return box * jnp.stack([rows, columns, rows, columns])
