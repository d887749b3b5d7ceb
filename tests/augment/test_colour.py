import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from skimage.color import hsv2rgb, rgb2hsv
from sklearn.datasets import load_sample_image

from ssl_jax.augment.colour import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    random_greyscale,
    random_solarise,
    solarise,
    to_greyscale,
)

PHOTO = load_sample_image("china.jpg")[100:196, 200:328]
# Black, white, greys, primaries, secondaries, equal largest channels.
CORNERS = np.array([[0, 0, 0], [0.5, 0.5, 0.5], *((r, g, b) for r in (0, 1) for g in (0, 1) for b in (0, 1))])


def photo():
    return jnp.asarray(PHOTO / 255.0)


@pytest.mark.parametrize(
    ("adjust", "enhance"),
    [
        (adjust_brightness, ImageEnhance.Brightness),
        (adjust_contrast, ImageEnhance.Contrast),
        (adjust_saturation, ImageEnhance.Color),
    ],
)
def test_equals_pillow(adjust, enhance):
    """Pillow rounds the result, the luma and its mean to bytes: 1.5 steps of 1/255 for factors up to 2."""
    adjust = jax.jit(adjust)
    for factor in (0.0, 0.4, 1.0, 1.6, 2.0):
        expected = np.asarray(enhance(Image.fromarray(PHOTO)).enhance(factor))
        np.testing.assert_allclose(adjust(photo(), factor) * 255, expected, atol=1.5)


def test_additive_brightness_shifts():
    for shift in (-0.3, 0.3):
        expected = np.clip(PHOTO / 255.0 + shift, 0, 1)
        np.testing.assert_allclose(adjust_brightness(photo(), shift, mode="additive"), expected, atol=1e-6)


def test_channel_contrast_keeps_the_mean_of_each_channel(x64):
    """TensorFlow's: (x - mean) * factor + mean for every channel."""
    image = PHOTO / 255.0
    mean = image.mean(axis=(0, 1))
    expected = np.clip((image - mean) * 1.7 + mean, 0, 1)
    np.testing.assert_allclose(adjust_contrast(jnp.asarray(image), 1.7, mean="channel"), expected, atol=1e-12)
    # Any number of channels.
    many = np.random.default_rng(0).random((6, 5, 7)) * 0.1 + 0.4
    expected = (many - many.mean(axis=(0, 1))) * 1.2 + many.mean(axis=(0, 1))
    np.testing.assert_allclose(adjust_contrast(jnp.asarray(many), 1.2, mean="channel"), expected, atol=1e-12)


def test_hsv_saturation_equals_scikit_image(x64):
    saturate = jax.jit(adjust_saturation, static_argnames="mode")
    for image in (PHOTO / 255.0, CORNERS[None]):
        for factor in (0.0, 0.5, 1.8):
            hsv = rgb2hsv(image)
            hsv[..., 1] = np.clip(hsv[..., 1] * factor, 0, 1)
            np.testing.assert_allclose(saturate(image, factor, mode="hsv"), hsv2rgb(hsv), atol=1e-12)


def test_hue_equals_scikit_image_and_colorsys(x64):
    turn = jax.jit(adjust_hue)
    for delta in (-0.5, -0.2, 0.0, 0.07, 0.2, 0.5):
        hsv = rgb2hsv(PHOTO / 255.0)
        hsv[..., 0] = (hsv[..., 0] + delta) % 1
        np.testing.assert_allclose(turn(photo(), delta), hsv2rgb(hsv), atol=1e-12)
        turned = []
        for pixel in CORNERS:
            h, s, v = colorsys.rgb_to_hsv(*pixel)
            turned.append(colorsys.hsv_to_rgb((h + delta) % 1, s, v))
        np.testing.assert_allclose(turn(CORNERS[None], delta)[0], turned, atol=1e-12)


def test_hue_is_accurate_in_float32():
    hsv = rgb2hsv(PHOTO / 255.0)
    hsv[..., 0] = (hsv[..., 0] + 0.2) % 1
    np.testing.assert_allclose(jax.jit(adjust_hue)(photo(), 0.2), hsv2rgb(hsv), atol=2e-6)


def test_greyscale_equals_pillow():
    """Pillow rounds to bytes: half a step, and its integer weights another tenth."""
    expected = np.asarray(Image.fromarray(PHOTO).convert("L"))
    result = to_greyscale(photo()) * 255
    assert result.shape == PHOTO.shape
    np.testing.assert_allclose(result, np.repeat(expected[..., None], 3, axis=2), atol=0.6)


def test_solarise_equals_pillow():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    expected = np.asarray(ImageOps.solarize(Image.fromarray(image)))
    np.testing.assert_allclose(solarise(jnp.asarray(image / 255.0)[..., None])[..., 0] * 255, expected, atol=1e-4)
    expected = np.asarray(ImageOps.solarize(Image.fromarray(PHOTO), threshold=64))
    np.testing.assert_allclose(solarise(photo(), 64 / 255.0) * 255, expected, atol=1e-4)


@pytest.mark.parametrize("transform", [random_greyscale, random_solarise])
@pytest.mark.parametrize("p", [0.2, 0.7])
def test_random_forms_happen_with_their_probability(key, transform, p):
    image = np.float32([[[0.9, 0.5, 0.1]]])
    results = np.asarray(jax.jit(jax.vmap(lambda key: transform(key, image, p)))(jax.random.split(key, 10_000)))
    changed = float((results != image).any(axis=(1, 2, 3)).mean())
    assert abs(changed - p) < 4 * np.sqrt(p * (1 - p) / 10_000)


@pytest.mark.parametrize(
    "transform",
    [
        lambda image: adjust_brightness(image, 1.3),
        lambda image: adjust_contrast(image, 1.3),
        lambda image: adjust_saturation(image, 1.3),
        lambda image: adjust_hue(image, 0.1),
        to_greyscale,
        solarise,
    ],
)
def test_bfloat16_stays_and_is_computed_in_float32(transform):
    image, transform = jnp.asarray(PHOTO[:16, :16] / 255.0, jnp.bfloat16), jax.jit(transform)
    result = transform(image)
    assert result.dtype == jnp.bfloat16
    # One rounding, at the end: half of 2^-8.
    exact = transform(image.astype(jnp.float32))
    np.testing.assert_allclose(result.astype(jnp.float32), exact, rtol=2**-8, atol=1e-6)


def test_greyscale_images_have_brightness_and_contrast():
    image = jnp.array([[[0.25], [0.75]]])
    np.testing.assert_allclose(adjust_contrast(image, 0.5)[0, :, 0], [0.375, 0.625])
    np.testing.assert_allclose(adjust_brightness(image, 0.5)[0, :, 0], [0.125, 0.375])


def test_wrong_use_is_refused():
    for transform in (to_greyscale, lambda image: adjust_hue(image, 0.1), lambda image: adjust_saturation(image, 2.0)):
        with pytest.raises(ValueError, match="4 channels"):
            transform(jnp.zeros((2, 2, 4)))
    with pytest.raises(ValueError, match="4 channels"):
        adjust_contrast(jnp.zeros((2, 2, 4)), 1.0)
    for call in (
        lambda: adjust_brightness(jnp.zeros((2, 2, 3)), 1.0, mode="v1"),
        lambda: adjust_contrast(jnp.zeros((2, 2, 3)), 1.0, mean="v1"),
        lambda: adjust_saturation(jnp.zeros((2, 2, 3)), 1.0, mode="v1"),
    ):
        with pytest.raises(ValueError, match="'v1'"):
            call()
