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
    """Pillow approximates the Gaussian by three box filters: 4 steps of 1/255 at most, a third of one on average."""
    expected = np.asarray(Image.fromarray(PHOTO).filter(ImageFilter.GaussianBlur(1.5)), np.float64)
    result = np.asarray(gaussian_blur(jnp.asarray(PHOTO / 255.0, jnp.float32), 1.5, 23)) * 255
    difference = np.abs(result - expected)
    assert difference.max() < 4 and difference.mean() < 0.6


def test_blur_of_sigma_0_is_the_image():
    image = jnp.asarray(PHOTO / 255.0, jnp.float32)
    np.testing.assert_allclose(gaussian_blur(image, 0.0, 5), image, atol=1e-7)


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
    image, keys = jnp.asarray(PHOTO / 255.0, jnp.float32), jax.random.split(key, 4)
    together = jax.jit(jax.vmap(lambda key: random_gaussian_blur(key, image)))(keys)
    for result, key in zip(together, keys, strict=True):
        np.testing.assert_allclose(result, random_gaussian_blur(key, image), atol=1e-6)


def test_noise_is_normal_and_clipped(key):
    noisy = np.asarray(gaussian_noise(key, jnp.full((100, 100, 1), 0.5), 0.05), np.float64)
    assert stats.kstest(noisy.ravel(), "norm", args=(0.5, 0.05)).pvalue > 1e-3
    saturated = gaussian_noise(key, jnp.ones((100, 100, 3)), 0.5)
    assert saturated.min() >= 0 and saturated.max() == 1
    assert abs(float((saturated == 1).mean()) - 0.5) < 0.02


def test_sobel_equals_scikit_image(x64):
    image = PHOTO / 255.0
    expected = np.stack([skimage.filters.sobel(image[..., c]) for c in range(3)], axis=-1)
    np.testing.assert_allclose(sobel(jnp.asarray(image)), expected, atol=1e-12)
    down, along = sobel_gradients(jnp.asarray(image))
    # scipy's kernel has the sum 8 over its absolute values, this one 2.
    np.testing.assert_allclose(down, ndimage.sobel(image, axis=0, mode="nearest") / 4, atol=1e-12)
    np.testing.assert_allclose(along, ndimage.sobel(image, axis=1, mode="nearest") / 4, atol=1e-12)


def test_bfloat16_stays(key):
    image = jnp.asarray(PHOTO[:16, :16] / 255.0, jnp.bfloat16)
    for result in (gaussian_blur(image, 1.0, 3), gaussian_noise(key, image), sobel(image)):
        assert result.dtype == jnp.bfloat16


def test_wrong_use_is_refused():
    for taps in (4, 0, -1):
        with pytest.raises(ValueError, match="odd"):
            gaussian_blur(jnp.zeros((4, 4, 1)), 1.0, taps)
    with pytest.raises(ValueError, match="'reflect'"):
        gaussian_blur(jnp.zeros((4, 4, 1)), 1.0, 3, padding="reflect")
    with pytest.raises(ValueError, match="vmap"):
        sobel(jnp.zeros((2, 4, 4, 1)))
