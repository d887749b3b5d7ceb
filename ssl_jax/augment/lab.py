"""CIE L*a*b*: lightness, and how green or red and how blue or yellow a colour is; equal to scikit-image's.

L is in [0, 100]; a and b of the colours of sRGB are in about [-86, 98] and [-108, 94]. White is D65, under 2 degrees.
"""

import jax.numpy as jnp
import numpy as np

XYZ_FROM_RGB = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
RGB_FROM_XYZ = np.linalg.inv(XYZ_FROM_RGB)
WHITE = (0.95047, 1.0, 1.08883)
DARK = 0.008856  # below it the cube root is continued by a line


def rgb_to_lab(rgb):
    """Colours of sRGB as L, a and b.

    Args:
      rgb: floating point `[..., 3]` in [0, 1].

    Returns:
      `[..., 3]`, float32 or wider.

    >>> [round(value) for value in rgb_to_lab(jnp.array([1.0, 0.0, 0.0])).tolist()]
    [53, 80, 67]

    Source: CIE 15; IEC 61966-2-1; `skimage.color.rgb2lab`.
    """
    rgb = rgb.astype(jnp.promote_types(rgb.dtype, jnp.float32))
    linear = jnp.where(rgb > 0.04045, ((jnp.maximum(rgb, 0.04045) + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    x, y, z = (value / white for value, white in zip(_product(XYZ_FROM_RGB, linear), WHITE, strict=True))
    x, y, z = (jnp.where(v > DARK, jnp.cbrt(jnp.maximum(v, DARK)), 7.787 * v + 16 / 116) for v in (x, y, z))
    return jnp.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def lab_to_rgb(lab):
    """The inverse of `rgb_to_lab`; colours that sRGB does not have are clipped to [0, 1].

    >>> [round(value, 3) for value in lab_to_rgb(rgb_to_lab(jnp.array([0.2, 0.4, 0.6]))).tolist()]
    [0.2, 0.4, 0.6]
    """
    lab = lab.astype(jnp.promote_types(lab.dtype, jnp.float32))
    y = (lab[..., 0] + 16) / 116
    roots = y + lab[..., 1] / 500, y, jnp.maximum(y - lab[..., 2] / 200, 0)
    xyz = [
        white * jnp.where(root > 0.2068966, root**3, (root - 16 / 116) / 7.787)
        for root, white in zip(roots, WHITE, strict=True)
    ]
    linear = jnp.stack(_product(RGB_FROM_XYZ, jnp.stack(xyz, axis=-1)), axis=-1)
    curved = 1.055 * jnp.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return jnp.clip(jnp.where(linear > 0.0031308, curved, linear * 12.92), 0.0, 1.0)


def _product(matrix, colours):
    """The rows of a matrix times colours `[..., 3]`, in full precision on every device."""
    return [sum(float(weight) * colours[..., i] for i, weight in enumerate(row)) for row in matrix]
