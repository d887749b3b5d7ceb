import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.datasets import load_sample_image

from ssl_jax.augment.colour import adjust_brightness, adjust_contrast, adjust_hue, adjust_saturation
from ssl_jax.augment.jitter import apply_jitter, colour_jitter, sample_jitter

PHOTO = load_sample_image("china.jpg")[100:124, 200:232]
ORDERS = np.array(list(itertools.permutations(range(4))))
DRAWS = 10_000
SIGNIFICANT = 1e-3


@pytest.mark.parametrize(
    ("brightness_mode", "contrast_mean", "saturation_mode", "amounts"),
    [
        ("multiplicative", "grey", "luma", (1.6, 1.7, 0.4, -0.17)),
        ("additive", "channel", "hsv", (0.4, 1.6, 1.7, 0.1)),
    ],
)
def test_every_order_equals_one_operation_after_another(x64, brightness_mode, contrast_mean, saturation_mode, amounts):
    """All 24 orders, with amounts that clip; each operation alone is held against Pillow or scikit-image elsewhere."""
    modes = dict(brightness_mode=brightness_mode, contrast_mean=contrast_mean, saturation_mode=saturation_mode)
    image = jnp.asarray(PHOTO / 255.0)
    results = jax.jit(jax.vmap(lambda order: apply_jitter(image, jnp.array(amounts), order, **modes)))(ORDERS)
    operations = [
        jax.jit(lambda x: adjust_brightness(x, amounts[0], mode=brightness_mode)),
        jax.jit(lambda x: adjust_contrast(x, amounts[1], mean=contrast_mean)),
        jax.jit(lambda x: adjust_saturation(x, amounts[2], mode=saturation_mode)),
        jax.jit(lambda x: adjust_hue(x, amounts[3])),
    ]
    for order, result in zip(ORDERS, results, strict=True):
        expected = image
        for operation in order:
            expected = operations[operation](expected)
        np.testing.assert_allclose(result, expected, atol=1e-12)
        assert np.abs(result - image).max() > 0.1
    fixed = jax.jit(lambda image: apply_jitter(image, jnp.array(amounts), **modes))(image)
    np.testing.assert_allclose(fixed, results[0], atol=1e-12)


def draws(key, **strengths):
    return jax.jit(jax.vmap(lambda key: sample_jitter(key, **strengths)))(jax.random.split(key, DRAWS))


def test_all_24_orders_are_equally_likely(key):
    _, order = draws(key, brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2)
    codes = np.asarray(order) @ np.array([64, 16, 4, 1])
    counts = np.unique(codes, return_counts=True)[1]
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > SIGNIFICANT


@pytest.mark.parametrize(
    ("mode", "brightness", "lowest", "highest"),
    [("multiplicative", 0.8, 0.2, 1.8), ("multiplicative", 1.5, 0.0, 2.5), ("additive", 0.8, -0.8, 0.8)],
)
def test_amounts_are_uniform_and_independent(key, mode, brightness, lowest, highest):
    amounts, order = draws(key, brightness=brightness, contrast=0.4, saturation=0.0, hue=0.1, brightness_mode=mode)
    amounts = np.asarray(amounts, np.float64)
    for column, low, high in ((0, lowest, highest), (1, 0.6, 1.4), (3, -0.1, 0.1)):
        assert stats.kstest(amounts[:, column], "uniform", args=(low, high - low)).pvalue > SIGNIFICANT
    np.testing.assert_array_equal(amounts[:, 2], 1.0)
    assert stats.spearmanr(amounts[:, 0], amounts[:, 1]).pvalue > SIGNIFICANT
    assert stats.spearmanr(amounts[:, 0], order[:, 0]).pvalue > SIGNIFICANT


def test_jitter_happens_with_its_probability(key):
    image = np.float32(PHOTO[:2, :2] / 255.0)
    results = jax.jit(jax.vmap(lambda key: colour_jitter(key, image, p=0.8)))(jax.random.split(key, DRAWS))
    results = np.asarray(results)
    changed = float((results != image).any(axis=(1, 2, 3)).mean())
    assert abs(changed - 0.8) < 4 * 0.4 / np.sqrt(DRAWS)


def test_vmapped_jitter_equals_single_ones_and_stays_between_0_and_1(key):
    image, keys = jnp.asarray(PHOTO / 255.0, jnp.float32), jax.random.split(key, 6)
    together = jax.jit(jax.vmap(lambda key: colour_jitter(key, image, p=1.0)))(keys)
    assert together.min() >= 0 and together.max() <= 1
    single = jax.jit(lambda key: colour_jitter(key, image, p=1.0))
    for result, key in zip(together, keys, strict=True):
        np.testing.assert_allclose(result, single(key), atol=1e-6)


def test_double_precision_draws_the_same_jitter(key, x64):
    image, jitter = jnp.asarray(PHOTO / 255.0), jax.jit(lambda key, image: colour_jitter(key, image, p=1.0))
    exact = jitter(key, image)
    assert exact.dtype == jnp.float64
    single = jitter(key, image.astype(jnp.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, exact, atol=1e-5)


def test_images_without_colour_get_brightness_and_contrast(key):
    jitter = jax.jit(lambda key, image: colour_jitter(key, image, saturation=0, hue=0, p=1.0))
    grey = np.float32(PHOTO[..., :1] / 255.0)
    result = jitter(key, grey)
    assert result.shape == grey.shape and jnp.abs(result - grey).max() > 0.01
    # The same as in a colour image with three equal channels.
    coloured = jitter(key, np.repeat(grey, 3, axis=2))
    np.testing.assert_allclose(coloured, np.repeat(result, 3, axis=2), atol=1e-6)
    many = jnp.full((4, 4, 5), 0.5)
    assert colour_jitter(key, many, saturation=0, hue=0, contrast_mean="channel").shape == many.shape


def test_brightness_alone_needs_no_colours(key):
    bands = jnp.asarray(np.random.default_rng(0).random((4, 4, 13)), jnp.float32)
    for order in ("random", "fixed"):
        jitter = jax.jit(lambda key, x: colour_jitter(key, x, contrast=0, saturation=0, hue=0, p=1.0, order=order))  # noqa: B023
        np.testing.assert_allclose(jitter(key, bands)[..., :3], jitter(key, bands[..., :3]), atol=1e-6)
        assert jnp.abs(jitter(key, bands) - bands).max() > 0.01
    with pytest.raises(ValueError, match="13 channels, this colour operation expects 3"):
        colour_jitter(key, bands, contrast=0.4, saturation=0, hue=0)


def test_wrong_use_is_refused(key):
    with pytest.raises(ValueError, match="1 channels"):
        colour_jitter(key, jnp.zeros((4, 4, 1)))
    with pytest.raises(ValueError, match="'shuffled'"):
        colour_jitter(key, jnp.zeros((4, 4, 3)), order="shuffled")
    with pytest.raises(ValueError, match="'v1'"):
        colour_jitter(key, jnp.zeros((4, 4, 3)), brightness_mode="v1")
