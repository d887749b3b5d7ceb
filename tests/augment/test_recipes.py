import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from ssl_jax.augment.recipes import evaluation_view, view

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


def views(key, image, count, **options):
    return jax.jit(jax.vmap(lambda key: view(key, image, **options)))(jax.random.split(key, count))


def test_with_everything_off_it_resizes_as_pillow(key):
    result = view(key, PHOTO, size=(24, 40), **OFF)
    expected = Image.fromarray(PHOTO).resize((40, 24), Image.Resampling.BICUBIC)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result * 255, np.asarray(expected), atol=1.5)


@pytest.mark.parametrize("semantics", ["torchvision", "tensorflow"])
def test_views_are_images_and_differ(key, semantics):
    results = views(key, PHOTO, 16, size=32, solarise_probability=0.2, semantics=semantics)
    assert results.shape == (16, 32, 32, 3) and results.dtype == jnp.float32
    assert jnp.isfinite(results).all() and results.min() >= 0 and results.max() <= 1 + 1e-6
    assert len(np.unique(np.asarray(results).sum(axis=(1, 2, 3)))) == 16


def test_vmapped_views_equal_single_ones(key):
    together = views(key, PHOTO, 4, size=32)
    single = jax.jit(functools.partial(view, size=32))
    for result, one in zip(together, jax.random.split(key, 4), strict=True):
        np.testing.assert_allclose(result, single(one, PHOTO), atol=2e-6)


def test_double_precision_draws_the_same_view(key, x64):
    exact = view(key, jnp.asarray(PHOTO / 255.0), size=32, solarise_probability=0.0)
    assert exact.dtype == jnp.float64
    np.testing.assert_allclose(view(key, PHOTO, size=32), exact, atol=1e-5)


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
    changed = (jnp.abs(views(key, image, DRAWS, size=2, **options) * 255 - image) > 0.5).any(axis=(1, 2, 3))
    # A jitter drawn near the identity may stay below half a step: 0.2 % allowed.
    assert abs(float(changed.mean()) - p) < 4 * np.sqrt(p * (1 - p) / DRAWS) + 0.002


def test_the_crop_does_not_depend_on_what_else_is_on(key):
    """Ablations compare the same crops: colour operations on or off, the luma pattern moves not at all."""
    colour_off = OFF | dict(crop=True, flip_probability=0.5)
    plain = views(key, PHOTO, 8, size=32, **colour_off)
    grey = views(key, PHOTO, 8, size=32, **(colour_off | dict(greyscale_probability=1.0)))
    luma = plain @ jnp.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(grey[..., 0], luma, atol=1e-5)


def test_order_is_jitter_greyscale_blur_solarise(key):
    """Greyscale after jitter: the result is grey. Solarise after blur: nothing is left above the threshold."""
    result = views(key, PHOTO, 8, size=32, greyscale_probability=1.0, blur_probability=1.0, solarise_probability=1.0)
    np.testing.assert_allclose(result[..., 0], result[..., 2], atol=1e-6)
    assert result.max() <= 0.5


def test_jitter_strength_multiplies_the_four(key):
    only_jitter = OFF | dict(jitter_probability=1.0)
    half = view(key, PHOTO, size=32, jitter_strength=0.5, **only_jitter)
    np.testing.assert_allclose(half, view(key, PHOTO, size=32, jitter=(0.4, 0.4, 0.4, 0.1), **only_jitter), atol=1e-6)
    np.testing.assert_allclose(
        view(key, PHOTO, size=32, jitter_strength=0, **only_jitter), view(key, PHOTO, size=32, **OFF), atol=1e-6
    )


def test_official_blur_kernel_is_a_tenth_of_the_height(key):
    """An impulse in a 64-pixel image spreads over 2 * (64 // 20) + 1 = 7 pixels."""
    impulse = jnp.zeros((64, 64, 1)).at[32, 32].set(1.0)
    options = OFF | dict(blur_probability=1.0, blur_sigma=(5.0, 5.0))
    assert int((view(key, impulse, size=64, **options) > 1e-6).any(axis=0).sum()) == 7


def test_greyscale_images_need_colour_switched_off(key):
    digit = np.random.default_rng(0).integers(0, 256, (8, 8, 1), dtype=np.uint8)
    result = view(key, digit, size=8, jitter=(0.4, 0.4, 0, 0), greyscale_probability=0)
    assert result.shape == (8, 8, 1)
    with pytest.raises(ValueError, match="channels"):
        view(key, digit, size=8)
    with pytest.raises(ValueError, match="channels"):
        view(key, digit, size=8, jitter_probability=0)


def test_squashed_images_are_cropped_as_their_originals(key):
    squashed = np.asarray(Image.fromarray(PHOTO).resize((64, 96), Image.Resampling.BILINEAR))
    options = OFF | dict(crop=True, crop_scale=(0.2, 1.0), size=16)
    expected = view(key, PHOTO, **options)
    result = view(key, squashed, original_size=jnp.array([96, 128]), **options)
    assert jnp.abs(result - expected).mean() < 0.02


def test_normalised_last(key):
    plain = views(key, PHOTO, 2, size=16)
    normalised = views(key, PHOTO, 2, size=16, mean=MEAN, std=STD)
    np.testing.assert_allclose(normalised, (np.asarray(plain) - np.array(MEAN)) / np.array(STD), atol=2e-5)


def test_evaluation_view_equals_pillow():
    expected = Image.fromarray(PHOTO).crop((22, 6, 22 + 84, 6 + 84)).resize((48, 48), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(evaluation_view(PHOTO, size=48) * 255, np.asarray(expected), atol=1.5)
    normalised = evaluation_view(PHOTO, size=48, mean=MEAN, std=STD)
    np.testing.assert_allclose((normalised * jnp.array(STD)[None, None] + jnp.array(MEAN)[None, None]) * 255, expected, atol=1.5)
    # Without a crop an image of the right size is itself.
    np.testing.assert_allclose(evaluation_view(PHOTO, size=(96, 128), proportion=None) * 255, PHOTO, atol=1e-3)


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
        view(key, image, size=8, **options)
