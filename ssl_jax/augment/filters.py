"""What a pixel takes from its neighbours: Gaussian blur, noise, Sobel edges; one image `[H, W, C]`, any channels."""

import jax
import jax.numpy as jnp

from ssl_jax.augment.image import accumulation_dtype, check_choice, check_image, random_apply, uniform


def gaussian_blur(image, sigma, kernel_size: int, *, padding: str = "edge"):
    """Convolves with `exp(-x^2 / (2 sigma^2))`, cut off at `kernel_size` taps and normalised, along both axes.

    Two banded matrix products: the kernel differs between the examples of a batch, for which convolutions are slow.

    Args:
        image: `[H, W, C]`, floating point.
        sigma: standard deviation in pixels, traced; 0 leaves the image as it is.
        kernel_size: number of taps, odd, static; SimCLR takes a tenth of the image's height.
        padding: what lies beyond the border: "edge" repeats the last pixel, as Pillow does; "zero" is black, as in
            the official SimCLR.

    Returns:
        `[H, W, C]`, the dtype of `image`.

    Raises:
        ValueError: even or non-positive kernel size, unknown padding.

    >>> blurred = gaussian_blur(jnp.array([[[0.0], [1.0], [0.0]]]), 1.0, 3)
    >>> (1000 * blurred[0, :, 0]).round().astype(int).tolist()
    [274, 452, 274]
    """
    check_image(image)
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"Given a blur kernel of {kernel_size} taps, expected a positive odd number: add one.")
    check_choice("blur padding", padding, ("edge", "zero"))
    dtype = accumulation_dtype(image)
    radius = kernel_size // 2
    margins = ((radius, radius), (radius, radius), (0, 0))
    padded = jnp.pad(image.astype(dtype), margins, mode="edge" if padding == "edge" else "constant")
    rows, columns = (_band(length, radius, jnp.asarray(sigma, dtype)) for length in image.shape[:2])
    out = jnp.einsum("yh,hwc,xw->yxc", rows, padded, columns, precision=jax.lax.Precision.HIGH)
    return out.astype(image.dtype)


def random_gaussian_blur(key, image, *, p=0.5, sigma=(0.1, 2.0), kernel_size: int = 23, padding: str = "edge"):
    """`gaussian_blur` with probability `p` and sigma uniform in the range.

    The official SimCLR draws one sigma for a batch; here every image draws its own, as in the paper.

    Args:
        key: PRNG key.
        image: `[H, W, C]`, floating point.
        p: probability.
        sigma: range of the standard deviation in pixels.
        kernel_size, padding: see `gaussian_blur`; 23 is SimCLR's at 224 pixels.

    Returns:
        `[H, W, C]`, the dtype of `image`.

    >>> random_gaussian_blur(jax.random.key(0), jnp.ones((8, 8, 3)), kernel_size=3).shape
    (8, 8, 3)

    Source: SimCLR, appendix A (arXiv 2002.05709).
    """
    key_apply, key_sigma = jax.random.split(key)
    drawn = uniform(key_sigma, (), *sigma)
    return random_apply(key_apply, p, lambda image: gaussian_blur(image, drawn, kernel_size, padding=padding), image)


def gaussian_noise(key, image, std=0.1):
    """`clip(image + std * n)`, n standard normal for every pixel and channel.

    Args:
        key: PRNG key.
        image: `[H, W, C]`, floating point in [0, 1].
        std: standard deviation; SimCLR's figure 4 shows noise and gives none.

    Returns:
        `[H, W, C]`, the dtype of `image`.

    >>> bool(gaussian_noise(jax.random.key(0), jnp.full((4, 4, 1), 0.5)).std() > 0)
    True
    """
    check_image(image)
    noise = jax.random.normal(key, image.shape, accumulation_dtype(image))
    return jnp.clip(image + std * noise, 0.0, 1.0).astype(image.dtype)


def sobel_gradients(image):
    """Differences of each channel down the rows and along the columns, smoothed by [1, 2, 1] / 4 across.

    Args:
        image: `[H, W, C]`, floating point in [0, 1]; the last pixel is repeated beyond the border.

    Returns:
        Two arrays `[H, W, C]` in [-1, 1], the dtype of `image`; a step from 0 to 1 gives 1.

    >>> down, along = sobel_gradients(jnp.array([[[0.0], [0.0], [1.0], [1.0]]]))
    >>> down[0, :, 0].tolist(), along[0, :, 0].tolist()
    ([0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0])
    """
    check_image(image)
    x = jnp.pad(image.astype(accumulation_dtype(image)), ((1, 1), (1, 1), (0, 0)), mode="edge")
    smooth_rows = (x[:-2] + 2.0 * x[1:-1] + x[2:]) / 4.0
    smooth_columns = (x[:, :-2] + 2.0 * x[:, 1:-1] + x[:, 2:]) / 4.0
    down = smooth_columns[2:] - smooth_columns[:-2]
    along = smooth_rows[:, 2:] - smooth_rows[:, :-2]
    return down.astype(image.dtype), along.astype(image.dtype)


def sobel(image):
    """Edge strength of each channel, `sqrt((down^2 + along^2) / 2)` of `sobel_gradients`, in [0, 1].

    >>> print(sobel(jnp.array([[[0.0], [0.0], [1.0], [1.0]]]))[0, :, 0].round(3))
    [0.    0.707 0.707 0.   ]
    """
    down, along = sobel_gradients(image)
    return jnp.sqrt((down * down + along * along) / 2.0)


def _band(length, radius, sigma):
    """The convolution with the cut-off Gaussian as a matrix `[length, length + 2 radius]`."""
    offset = jnp.arange(length + 2 * radius)[None, :] - jnp.arange(length)[:, None] - radius
    # A floor far below one pixel: sigma 0 becomes the identity, without dividing by 0.
    taps = jnp.exp(-0.5 * (offset / jnp.maximum(sigma, 1e-2)) ** 2)
    taps = jnp.where(jnp.abs(offset) <= radius, taps, 0.0)
    return taps / taps.sum(axis=1, keepdims=True)
