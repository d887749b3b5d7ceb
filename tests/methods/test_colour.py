"""Colours as classes: the bins, soft targets, rebalancing and decoding of the paper, in float64 NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.augment.lab import rgb_to_lab
from ssl_jax.data import sources
from ssl_jax.methods.parts import colour

BINS = colour.BINS.astype(np.float64)


@pytest.fixture
def ab():
    """Colours of sRGB, float64 [40, 2]."""
    return np.asarray(rgb_to_lab(jnp.asarray(np.random.default_rng(0).uniform(size=(40, 3)))), np.float64)[:, 1:]


def test_the_bins_are_those_that_srgb_reaches():
    """Every cell of the grid of 10 that holds a colour of sRGB is in the published table; at the border it has more."""
    assert BINS.shape == (313, 2) and len(np.unique(BINS, axis=0)) == 313 and not (BINS % 10).any()
    levels = np.linspace(0, 1, 64)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    reached = {tuple(cell) for cell in 10 * np.round(np.asarray(rgb_to_lab(jnp.float32(cube)))[:, 1:] / 10).astype(int)}
    table = {tuple(cell) for cell in BINS.astype(int)}
    assert len(table & reached) > 0.7 * len(table) and len(reached - table) == 0


def test_soft_targets_are_gaussians_of_the_nearest_bins(ab, x64):
    distances = ((ab[:, None] - BINS[None]) ** 2).sum(-1)
    expected = np.zeros_like(distances)
    for row, squared in enumerate(distances):
        places = np.argsort(squared)[:5]
        shares = np.exp(-squared[places] / (2 * 5.0**2))
        expected[row, places] = shares / shares.sum()
    found = colour.soft_encode(jnp.asarray(ab).reshape(8, 5, 2), 5, 5.0)
    np.testing.assert_allclose(found.reshape(40, 313), expected, atol=1e-12)
    np.testing.assert_array_equal(colour.nearest(jnp.asarray(ab)), distances.argmin(1))
    np.testing.assert_array_equal((np.asarray(colour.soft_encode(jnp.asarray(ab), 10, 5.0)) > 0).sum(1), 10)


def test_rare_colours_count_more(x64):
    histogram = np.random.default_rng(0).dirichlet(np.full(313, 0.05))
    weights = colour.rebalancing({"histogram": histogram}, 5.0, 0.5)
    smooth = np.array([(np.exp(-((BINS - centre) ** 2).sum(1) / 50) * histogram).sum() for centre in BINS])
    smooth /= smooth.sum()
    expected = 1 / (0.5 * smooth + 0.5 / 313)
    np.testing.assert_allclose(weights, expected / (smooth * expected).sum(), rtol=1e-9)
    assert weights[smooth.argmin()] == weights.max() and weights[smooth.argmax()] == weights.min()
    np.testing.assert_allclose(colour.rebalancing({"histogram": histogram}, 5.0, 1.0), 1)


def test_balanced_accuracy_counts_every_common_colour_once():
    histogram = np.zeros(313)
    histogram[[3, 5, 9]] = 0.9, 0.0999, 0.00005  # the last is rarer than one place in 10,000
    weights = colour.balance({"histogram": histogram})
    np.testing.assert_allclose((weights * histogram)[[3, 5]], 0.5)
    assert weights[9] == 0 and np.count_nonzero(weights) == 2


def test_the_annealed_mean_goes_from_the_mean_to_the_mode(x64):
    shares = np.random.default_rng(0).dirichlet(np.full(313, 0.1), size=6)
    logits = jnp.asarray(np.log(np.maximum(shares, 1e-30)))
    for temperature in (1.0, 0.38):
        annealed = np.maximum(shares, 1e-30) ** (1 / temperature)
        expected = annealed @ BINS / annealed.sum(1, keepdims=True)
        np.testing.assert_allclose(colour.annealed_mean(logits, temperature), expected, atol=1e-9)
    np.testing.assert_allclose(colour.annealed_mean(logits, 0.001), BINS[shares.argmax(1)], atol=1e-6)


def test_the_prior_is_that_of_the_data():
    images = np.zeros((300, 8, 8, 3), np.uint8)
    images[:200] = (255, 0, 0)  # two thirds red, one third black
    facts = colour.prior(sources.from_arrays({"image": images}), 5, 5.0)
    red = np.asarray(rgb_to_lab(jnp.array([1.0, 0.0, 0.0])))[1:]
    places = [int(colour.nearest(jnp.asarray(ab))) for ab in (red, np.zeros(2))]
    np.testing.assert_allclose(facts["histogram"][places], [2 / 3, 1 / 3], rtol=1e-6)
    np.testing.assert_allclose(facts["mean"], 2 / 3 * red, rtol=1e-4)
    np.testing.assert_allclose(facts["soft"].sum(), 1, rtol=1e-6)


@pytest.mark.parametrize(
    "shape, message", [((4, 8, 8, 1), "1 channel were given, and colour is what"), ((4, 8, 8, 3), "All images .* grey")]
)
def test_grey_images_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        colour.prior(sources.from_arrays({"image": np.full(shape, 90, np.uint8)}), 5, 5.0)
