import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from ssl_jax.augment.views import evaluation_view, view

PHOTO = load_sample_image("china.jpg")[100:196, 200:328]
DRAWS = 10_000
OFF = dict(
    crop=False,
    flip_probability=0.0,
    jitter_probability=0.0,
    greyscale_probability=0.0,
    blur_probability=0.0,
    solarise_probability=0.0,
)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@functools.cache
def compiled(vmapped, **options):
    function = functools.partial(view, **options)
    return jax.jit(jax.vmap(function, (0, None)) if vmapped else function)


def one_view(key, image, **options):
    return compiled(False, **options)(key, image)


def views(key, image, count, **options):
    return compiled(True, **options)(jax.random.split(key, count), image)


def test_with_everything_off_it_resizes_as_pillow(key):
    result = one_view(key, PHOTO, size=(24, 40), **OFF)
    expected = Image.fromarray(PHOTO).resize((40, 24), Image.Resampling.BICUBIC)
    assert result.dtype == jnp.float32
    # Pillow rounds to bytes and clips after each of its two passes: 2 steps of 1/255.
    np.testing.assert_allclose(result * 255, np.asarray(expected), atol=2)


@pytest.mark.parametrize("options", [{}, dict(semantics="tensorflow", crop_distribution="tensorflow")])
def test_views_are_images_and_differ(key, options):
    results = views(key, PHOTO, 16, size=32, **options)
    assert results.shape == (16, 32, 32, 3) and results.dtype == jnp.float32
    assert jnp.isfinite(results).all() and results.min() >= 0 and results.max() <= 1 + 1e-6
    assert len(np.unique(np.asarray(results).sum(axis=(1, 2, 3)))) == 16


def test_vmapped_views_equal_single_ones(key):
    together = views(key, PHOTO, 16, size=32)
    for result, one in zip(together, jax.random.split(key, 16), strict=True):
        np.testing.assert_allclose(result, one_view(one, PHOTO, size=32), atol=2e-6)


def test_double_precision_draws_the_same_view(key):
    single = one_view(key, PHOTO, size=32)
    with jax.enable_x64(True):
        exact = one_view(key, PHOTO / 255.0, size=32)
    assert single.dtype == jnp.float32 and exact.dtype == jnp.float64
    np.testing.assert_allclose(single, exact, atol=1e-5)


@pytest.mark.parametrize(
    ("option", "p"),
    [
        ("flip_probability", 0.5),
        ("jitter_probability", 0.8),
        ("greyscale_probability", 0.2),
        ("blur_probability", 0.5),
        ("solarise_probability", 0.2),
    ],
)
def test_each_operation_happens_with_its_probability(key, option, p):
    image = np.array([[[250, 20, 90], [30, 200, 60]], [[10, 40, 220], [128, 180, 90]]], np.uint8)
    # Pixels of one colour and sigma well above 0: every operation that is applied shows.
    options = OFF | {option: p} | dict(blur_sigma=(1.0, 2.0), blur_kernel=3)
    results = np.asarray(views(key, image, DRAWS, size=2, **options))
    changed = (np.abs(results * 255 - image) > 0.5).any(axis=(1, 2, 3))
    # A jitter drawn near the identity may stay below half a step: 0.2 % allowed.
    assert abs(float(changed.mean()) - p) < 4 * np.sqrt(p * (1 - p) / DRAWS) + 0.002


def test_the_crop_does_not_depend_on_what_else_is_on(key):
    """Ablations compare the same crops: colour operations on or off, the luma pattern moves not at all."""
    colour_off = OFF | dict(crop=True, flip_probability=0.5)
    plain = views(key, PHOTO, 8, size=32, **colour_off)
    grey = views(key, PHOTO, 8, size=32, **(colour_off | dict(greyscale_probability=1.0)))
    luma = np.asarray(plain) @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(grey[..., 0], luma, atol=1e-5)


def test_order_is_jitter_greyscale_blur_solarise(key):
    """Greyscale after jitter: the result is grey. Solarise after blur: nothing is left above the threshold."""
    result = views(key, PHOTO, 8, size=32, greyscale_probability=1.0, blur_probability=1.0, solarise_probability=1.0)
    np.testing.assert_allclose(result[..., 0], result[..., 2], atol=1e-6)
    assert result.max() <= 0.5


def test_greyscale_first_jitters_the_grey_image(key):
    """The jitter sees R = G = B, of which the hue and the saturation are nothing; its draws are those of any order."""
    only_jitter = OFF | dict(jitter_probability=1.0, size=(24, 32))
    grey = np.asarray(one_view(key, PHOTO, **(OFF | dict(size=(24, 32), greyscale_probability=1.0))))
    expected = one_view(key, grey, **only_jitter)
    both = only_jitter | dict(greyscale_probability=1.0)
    result = np.asarray(one_view(key, PHOTO, greyscale_first=True, **both))
    np.testing.assert_allclose(result, expected, atol=1e-6)
    assert np.ptp(result, axis=-1).max() == 0 and np.abs(result - grey).max() > 0.05
    after = one_view(key, PHOTO, **both)
    assert np.abs(result - after).max() > 0.01


def test_greyscale_first_or_last_falls_on_the_same_images(key):
    options = dict(size=8, jitter_probability=1.0, greyscale_probability=0.5, blur_probability=0.0)
    first, last = (np.asarray(views(key, PHOTO, 64, greyscale_first=value, **options)) for value in (True, False))
    coloured = np.ptp(last, axis=-1).max(axis=(1, 2)) > 1e-3
    assert 10 < coloured.sum() < 54
    np.testing.assert_allclose(first[coloured], last[coloured], atol=1e-6)
    assert np.ptp(first[~coloured], axis=-1).max() == 0


def test_jitter_strength_multiplies_the_four(key):
    only_jitter = OFF | dict(jitter_probability=1.0)
    half = one_view(key, PHOTO, size=32, jitter_strength=0.5, **only_jitter)
    expected = one_view(key, PHOTO, size=32, jitter=(0.4, 0.4, 0.4, 0.1), **only_jitter)
    np.testing.assert_allclose(half, expected, atol=1e-6)
    none = one_view(key, PHOTO, size=32, jitter_strength=0, **only_jitter)
    np.testing.assert_allclose(none, one_view(key, PHOTO, size=32, **OFF), atol=1e-6)


def test_official_blur_kernel_is_a_tenth_of_the_height(key):
    """An impulse in a 64-pixel image spreads over 2 * (64 // 20) + 1 = 7 pixels."""
    impulse = np.zeros((64, 64, 1), np.float32)
    impulse[32, 32] = 1
    options = OFF | dict(blur_probability=1.0, blur_sigma=(5.0, 5.0))
    assert int((one_view(key, impulse, size=64, **options) > 1e-6).any(axis=0).sum()) == 7


def test_greyscale_images_need_colour_switched_off(key):
    digit = np.random.default_rng(0).integers(0, 256, (8, 8, 1), dtype=np.uint8)
    result = one_view(key, digit, size=8, jitter=(0.4, 0.4, 0, 0), greyscale_probability=0)
    assert result.shape == (8, 8, 1)
    for options in ({}, dict(jitter_probability=0)):
        with pytest.raises(ValueError, match="channels"):
            jax.eval_shape(functools.partial(view, size=8, **options), key, digit)


def test_thirteen_bands_are_augmented_without_colour(key):
    bands = np.random.default_rng(0).integers(0, 256, (12, 12, 13), dtype=np.uint8)
    options = dict(size=8, jitter=(0.8, 0, 0, 0), greyscale_probability=0, solarise_probability=0.2)
    result = one_view(key, bands, **options)
    assert result.shape == (8, 8, 13)
    np.testing.assert_allclose(result[..., :3], one_view(key, bands[..., :3], **options), atol=1e-5)
    with pytest.raises(ValueError, match="13 channels and a mean of 3 values"):
        jax.eval_shape(functools.partial(view, mean=MEAN, std=STD, **options), key, bands)


def test_squashed_images_are_cropped_as_their_originals(key):
    squashed = np.asarray(Image.fromarray(PHOTO).resize((64, 96), Image.Resampling.BILINEAR))
    options = OFF | dict(crop=True, crop_scale=(0.2, 1.0), size=16)
    expected = one_view(key, PHOTO, **options)
    crop = functools.partial(view, **options)
    result = jax.jit(lambda size: crop(key, squashed, original_size=size))(np.array([96, 128]))
    assert np.abs(result - expected).mean() < 0.02


def test_normalised_last(key):
    options = OFF | dict(size=16, solarise_probability=1.0)
    plain = np.asarray(one_view(key, PHOTO, **options))
    normalised = one_view(key, PHOTO, mean=MEAN, std=STD, **options)
    np.testing.assert_allclose(normalised, (plain - np.array(MEAN)) / np.array(STD), atol=2e-5)


def test_evaluation_view_equals_pillow():
    expected = Image.fromarray(PHOTO).crop((22, 6, 22 + 84, 6 + 84)).resize((48, 48), Image.Resampling.BICUBIC)
    normalised = np.asarray(jax.jit(functools.partial(evaluation_view, size=48, mean=MEAN, std=STD))(PHOTO))
    # Pillow rounds to bytes and clips after each of its two passes: 2 steps of 1/255.
    np.testing.assert_allclose((normalised * np.array(STD) + np.array(MEAN)) * 255, np.asarray(expected), atol=2)
    # Without a crop an image of the right size is itself.
    whole = jax.jit(functools.partial(evaluation_view, size=(96, 128), proportion=None))(PHOTO)
    np.testing.assert_allclose(whole * 255, PHOTO, atol=1e-3)


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (np.zeros((8, 8), np.uint8), {}, "shape"),
        (np.zeros((2, 8, 8, 3), np.uint8), {}, "vmap"),
        (np.zeros((8, 8, 3), np.int64), {}, "dtype"),
        (PHOTO, dict(semantics="pillow"), "'pillow'"),
        (PHOTO, dict(method="nearest"), "'nearest'"),
        (PHOTO, dict(crop_distribution="simclr"), "'simclr'"),
        (PHOTO, dict(mean=MEAN), "both"),
    ],
)
def test_wrong_use_is_refused(key, image, options, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(functools.partial(view, size=8, **options), key, image)
