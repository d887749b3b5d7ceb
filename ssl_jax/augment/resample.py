"""Crop, resize and mirror as two small matrix products, one for each axis; one image `[H, W, C]`, any channels.

The output's shape is static and the box is traced, so that one compilation serves every crop. The form suits matrix
units, and has no gather.
"""

import jax
import jax.numpy as jnp

from ssl_jax.augment.image import accumulation_dtype, check_choice, check_image


def resample(image, box, size, *, method: str = "bilinear", antialias: bool = True, flip=False):
    """Crops a box, then resizes the crop to `size`, as Pillow does: pixels outside the box do not contribute.

    Every output pixel is a weighted mean of the box's pixels. With s = box length / output length per axis,

        weight(i, j) ~ kernel((j - c_i) / max(s, 1)),    c_i = start + (i + 1/2) s - 1/2,

    normalised over the pixels j that the box touches. `antialias=False` drops the widening by max(s, 1), which gives
    TensorFlow's default resize. The bicubic kernel has a = -1/2, as in Pillow and TensorFlow; PyTorch's resizing
    of tensors without antialiasing has a = -3/4. Bicubic output may leave [0, 1]; the crops below clip it.

    Args:
        image: `[H, W, C]`, floating point.
        box: (top, left, height, width) in pixels, traced floats; whole numbers give Pillow's result.
        size: output (height, width), or one int for both; static.
        method: "bilinear" or "bicubic".
        antialias: widen the kernel when shrinking.
        flip: traced bool: mirror the output left to right.

    Returns:
        `[size_h, size_w, C]`, the dtype of `image`.

    Raises:
        ValueError: unknown method, or not one floating point image.

    >>> resample(jnp.array([[[0.0], [1.0]]]), (0, 0, 1, 2), (1, 4))[0, :, 0].tolist()
    [0.0, 0.25, 0.75, 1.0]
    """
    check_image(image)
    check_choice("resampling method", method, _KERNELS)
    dtype = accumulation_dtype(image)
    top, left, height, width = (jnp.asarray(value, dtype) for value in box)
    out_height, out_width = pair(size)
    rows = _weights(image.shape[0], out_height, top, height, method, antialias)
    columns = _weights(image.shape[1], out_width, left, width, method, antialias)
    columns = jnp.where(flip, columns[::-1], columns)
    # HIGH: the accelerators' default of bfloat16 products would be off by a step of 8-bit colour.
    out = jnp.einsum("yh,hwc,xw->yxc", rows, image.astype(dtype), columns, precision=jax.lax.Precision.HIGH)
    return out.astype(image.dtype)


def pair(size):
    """(height, width) of a size that may be one int for both."""
    return (size, size) if isinstance(size, int) else tuple(size)


def _triangle(x):
    return jnp.maximum(1.0 - jnp.abs(x), 0.0)


def _cubic(x, a=-0.5):
    x = jnp.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = a * (((x - 5.0) * x + 8.0) * x - 4.0)
    return jnp.where(x < 1.0, near, jnp.where(x < 2.0, far, 0.0))


_KERNELS = {"bilinear": _triangle, "bicubic": _cubic}


def _weights(length, out_length, start, extent, method, antialias):
    """The resampling matrix `[out_length, length]` of one axis for the box from `start` over `extent` pixels."""
    step = extent / out_length
    centre = start + (jnp.arange(out_length, dtype=start.dtype) + 0.5) * step - 0.5
    pixel = jnp.arange(length, dtype=start.dtype)
    stretch = jnp.maximum(step, 1.0) if antialias else 1.0
    weights = _KERNELS[method]((pixel[None, :] - centre[:, None]) / stretch)
    # A box edge that rounding has moved off a pixel's edge by less than the slack does not touch that pixel.
    slack = 1e-3 * jnp.minimum(extent, 1.0)
    touched = (pixel + 1.0 > start + slack) & (pixel < start + extent - slack)
    weights = jnp.where(touched[None, :], weights, 0.0)
    return weights / weights.sum(axis=1, keepdims=True)
