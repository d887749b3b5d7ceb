"""Rotations about the centre: exact by multiples of 90 degrees, bilinear by other angles."""

import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates


def rotate(image, degrees: int):
    """The image turned counter-clockwise about its centre.

    Multiples of 90 degrees move pixels and interpolate nothing, so that no trace of resampling tells the angle. Other
    angles are bilinear, and 0 outside of the image: their dark corners tell them from the others.

    Args:
      image: float `[H, W, C]`, H = W for 90 and 270 degrees.
      degrees: static.

    Returns:
      `[H, W, C]`.

    Raises:
      ValueError: an image that is not square, where the result would have another shape.

    >>> rotate(jnp.array([[1.0, 2], [3, 4]])[..., None], 90)[..., 0].tolist()
    [[2.0, 4.0], [1.0, 3.0]]
    """
    height, width, channels = image.shape
    if degrees % 180 and height != width:
        raise ValueError(f"Images of {height} x {width} pixels were given, and square ones are needed to be rotated")
    if degrees % 90 == 0:
        return jnp.rot90(image, degrees // 90)
    angle = np.deg2rad(degrees)
    y, x = np.mgrid[:height, :width] - np.array([height - 1, width - 1]).reshape(2, 1, 1) / 2
    source = np.stack([np.cos(angle) * y + np.sin(angle) * x, np.cos(angle) * x - np.sin(angle) * y])
    source = jnp.asarray(source + np.array([height - 1, width - 1]).reshape(2, 1, 1) / 2, image.dtype)
    return jnp.stack([map_coordinates(image[..., c], list(source), order=1) for c in range(channels)], axis=-1)
