import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.filters
from PIL import Image, ImageFilter
from scipy import ndimage, stats
from sklearn.datasets import load_sample_image

from ssl_jax.augment.filters import gaussian_blur, gaussian_noise, random_gaussian_blur, sobel, sobel_gradients

PHOTO = load_sample_image("china.jpg")[100:196, 200:328]
DRAWS = 10_000


@pytest.mark.parametrize(("padding", "mode"), [("edge", "nearest"), ("zero", "constant")])
def test_blur_equals_scipy(x64, padding, mode):
    image = PHOTO / 255.0
    blur = jax.jit(gaussian_blur, static_argnums=2, static_argnames="padding")
    for sigma, kernel_size in ((0.1, 23), (0.7, 3), (2.0, 9), (2.0, 23)):
        radius = kernel_size // 2
        expected = ndimage.gaussian_filter(image, sigma, radius=radius, mode=mode, axes=(0, 1))
        result = blur(jnp.asarray(image), sigma, kernel_size, padding=padding)
        np.testing.assert_allclose(result, expected, atol=1e-12)


def test_blur_is_near_pillow():
    """Pillow has three box filters in the Gaussian's place, and another border: inside, 4 steps of 1/255 at most."""
    expected = np.asarray(Image.fromarray(PHOTO).filter(ImageFilter.GaussianBlur(1.5)), np.float64)
    blur = jax.jit(gaussian_blur, static_argnums=2)
    result = np.asarray(blur(np.float32(PHOTO / 255.0), 1.5, 23)) * 255
    difference = np.abs(result - expected)[8:-8, 8:-8]
    assert difference.max() < 4 and difference.mean() < 0.6


def test_blur_of_sigma_0_is_the_image():
    image = np.float32(PHOTO / 255.0)
    np.testing.assert_allclose(jax.jit(gaussian_blur, static_argnums=2)(image, 0.0, 5), image, atol=1e-7)


def test_random_blur_draws_sigma_uniformly_with_its_probability(key):
    """The middle taps of a blurred impulse tell sigma: their ratio is exp(-1 / (2 sigma^2))."""
    impulse = jnp.zeros((1, 9, 1)).at[0, 4].set(1.0)
    blur = jax.jit(jax.vmap(lambda key: random_gaussian_blur(key, impulse, p=0.5, sigma=(0.5, 2.0), kernel_size=9)))
    taps = np.asarray(blur(jax.random.split(key, DRAWS)), np.float64)[:, 0, :, 0]
    blurred = taps[:, 5] > 0
    assert abs(blurred.mean() - 0.5) < 4 * 0.5 / np.sqrt(DRAWS)
    sigma = np.sqrt(-0.5 / np.log(taps[blurred, 5] / taps[blurred, 4]))
    assert stats.kstest(sigma, "uniform", args=(0.5, 1.5)).pvalue > 1e-3


def test_vmapped_blur_equals_single_ones(key):
    image, keys = np.float32(PHOTO / 255.0), jax.random.split(key, 4)
    together = jax.jit(jax.vmap(lambda key: random_gaussian_blur(key, image)))(keys)
    single = jax.jit(random_gaussian_blur)
    for result, key in zip(together, keys, strict=True):
        np.testing.assert_allclose(result, single(key, image), atol=1e-6)


def test_noise_is_normal_and_clipped(key):
    noise = jax.jit(gaussian_noise)
    noisy = np.asarray(noise(key, np.full((100, 100, 1), 0.5, np.float32), 0.05), np.float64)
    assert stats.kstest(noisy.ravel(), "norm", args=(0.5, 0.05)).pvalue > 1e-3
    saturated = np.asarray(noise(key, np.ones((100, 100, 1), np.float32), 0.5))
    assert saturated.min() >= 0 and saturated.max() == 1
    assert abs((saturated == 1).mean() - 0.5) < 0.02


def test_sobel_equals_scikit_image(x64):
    image = PHOTO / 255.0
    expected = np.stack([skimage.filters.sobel(image[..., c]) for c in range(3)], axis=-1)
    np.testing.assert_allclose(jax.jit(sobel)(image), expected, atol=1e-12)
    down, along = jax.jit(sobel_gradients)(image)
    # scipy's kernel sums to 8 in absolute value, this one to 2.
    for c in range(3):
        np.testing.assert_allclose(down[..., c], ndimage.sobel(image[..., c], axis=0, mode="nearest") / 4, atol=1e-12)
        np.testing.assert_allclose(along[..., c], ndimage.sobel(image[..., c], axis=1, mode="nearest") / 4, atol=1e-12)


def test_bfloat16_stays(key):
    image = jnp.asarray(PHOTO[:16, :16] / 255.0, jnp.bfloat16)
    for transform in (lambda x: gaussian_blur(x, 1.0, 3), lambda x: gaussian_noise(key, x), sobel):
        result = jax.jit(transform)(image)
        assert result.dtype == jnp.bfloat16
        exact = jax.jit(transform)(image.astype(jnp.float32))
        np.testing.assert_allclose(result.astype(jnp.float32), exact, atol=2**-8)


def test_wrong_use_is_refused():
    for taps in (4, 0, -1):
        with pytest.raises(ValueError, match="odd"):
            gaussian_blur(jnp.zeros((4, 4, 1)), 1.0, taps)
    with pytest.raises(ValueError, match="'reflect'"):
        gaussian_blur(jnp.zeros((4, 4, 1)), 1.0, 3, padding="reflect")
    with pytest.raises(ValueError, match="vmap"):
        sobel(jnp.zeros((2, 4, 4, 1)))
