"""What an image is to every transformation: floating point `[H, W, C]` in [0, 1], one at a time; the caller vmaps."""

import math

import jax
import jax.numpy as jnp
import numpy as np


def to_float(image):
    """The image in [0, 1]: bytes become float32 divided by 255, floating point passes unchanged.

    Args:
        image: `[H, W, C]`, uint8 in 0..255 or floating point in [0, 1].

    Returns:
        `[H, W, C]`, float32 for bytes, else the dtype of `image`.

    Raises:
        ValueError: for another rank or dtype.

    >>> to_float(jnp.array([[[0], [255]]], jnp.uint8)).tolist()
    [[[0.0], [1.0]]]
    """
    image = jnp.asarray(image)
    if image.dtype == jnp.uint8:
        image = image.astype(jnp.float32) / 255.0
    check_image(image)
    return image


def check_image(image, *, channels: int | None = None):
    """Raises ValueError unless `image` is one floating point image, of `channels` channels where that is given."""
    if image.ndim != 3:
        raise ValueError(
            f"Given an array of shape {image.shape}, expected one image [H, W, C]: add the channel axis, "
            "or vmap over a batch."
        )
    if not jnp.issubdtype(image.dtype, jnp.floating):
        raise ValueError(
            f"Given an image of dtype {image.dtype}, expected floating point in [0, 1]: "
            "convert bytes with to_float first."
        )
    if channels is not None and image.shape[-1] != channels:
        raise ValueError(
            f"Given an image of {image.shape[-1]} channels, this colour operation expects {channels} "
            "(red, green, blue): set its strength or probability to 0 for other images."
        )


def check_choice(name: str, given: str, choices):
    """Raises ValueError unless `given` is one of the names in `choices`."""
    if given not in choices:
        raise ValueError(f"Given {name} {given!r}, expected {' or '.join(choices)}: choose one of these.")


def accumulation_dtype(image):
    """The dtype to compute in: that of the image, at least float32."""
    return jnp.promote_types(image.dtype, jnp.float32)


def uniform(key, shape=(), minimum=0.0, maximum=1.0):
    """Uniform draws in float32 whatever the default precision, so that float64 runs draw the same augmentations."""
    return jax.random.uniform(key, shape, jnp.float32, minimum, maximum)


def normal(key, shape=(), dtype=jnp.float32):
    """Standard normal draws in a dtype, all that depends on rounding in that dtype.

    From `uniform`, through the inverse of the normal distribution: where that is evaluated in float32, its last bit
    differs between batches of different sizes, and so between numbers of devices.

    >>> bool(abs(normal(jax.random.key(0), (1000,)).std() - 1) < 0.1)
    True
    """
    draws = uniform(key, shape).astype(dtype)
    return math.sqrt(2) * jax.lax.erf_inv(2 * draws - 1 + 2.0**-24)  # never -1 nor 1


def random_apply(key, p, transform, image):
    """`transform(image)` with probability `p`, else `image`.

    Both are computed and one is selected: under vmap a conditional would do the same.

    Args:
        key: PRNG key.
        p: probability in [0, 1].
        transform: `image -> image` of the same shape and dtype.
        image: `[H, W, C]`.

    Returns:
        `[H, W, C]`, the dtype of `image`.

    >>> random_apply(jax.random.key(0), 1.0, lambda image: 1 - image, jnp.zeros((1, 1, 1))).tolist()
    [[[1.0]]]
    """
    return jnp.where(uniform(key) < p, transform(image), image)


def normalise(image, mean, std):
    """`(image - mean) / std` per channel.

    Args:
        image: `[H, W, C]`, floating point.
        mean: C floats, or one number for all channels.
        std: likewise.

    Returns:
        `[H, W, C]`, the dtype of `image`.

    Raises:
        ValueError: another number of values than the image has channels.

    >>> normalise(jnp.ones((1, 1, 3)), mean=(0.5, 0.5, 0.0), std=(0.5, 0.25, 1.0)).tolist()
    [[[1.0, 2.0, 1.0]]]
    """
    check_image(image)
    for name, value in (("mean", mean), ("std", std)):
        if np.ndim(value) and len(value) != image.shape[-1]:
            raise ValueError(
                f"Given an image of {image.shape[-1]} channels and a {name} of {len(value)} values, expected one value "
                "a channel: set augment.mean and augment.std to that many, or to None."
            )
    dtype = accumulation_dtype(image)
    mean, std = (jnp.asarray(value, dtype).reshape(1, 1, -1) for value in (mean, std))
    return ((image.astype(dtype) - mean) / std).astype(image.dtype)
