"""Masks of inpainting: what they hide and how much, per example, and the ring around it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.augment import masks

KEYS = jax.random.split(jax.random.key(0), 64)


def test_the_centre_is_in_the_middle():
    hidden = np.asarray(masks.centre(32, 16))
    assert hidden.sum() == 256 and hidden[8:24, 8:24].all()


@pytest.mark.parametrize("count", [1, 4])
def test_blocks_cover_at_most_their_share_and_come_everywhere(count):
    hidden = np.asarray(jax.vmap(lambda key: masks.blocks(key, 24, count=count, share=0.25))(KEYS))
    side = int(24 * np.sqrt(0.25 / count))
    areas = hidden.sum((1, 2))
    assert areas.min() >= side * side and areas.max() <= 0.25 * 24 * 24
    assert hidden.any(axis=0).mean() > 0.97 and len({mask.tobytes() for mask in hidden}) > 50
    if count == 1:
        assert (areas == side * side).all()


@pytest.mark.parametrize("size, resolution", [(32, 0.2), (64, 0.06)])
def test_regions_hide_a_share_in_the_range_in_few_pieces(size, resolution):
    hidden = np.asarray(jax.vmap(lambda key: masks.regions(key, size, resolution=resolution))(KEYS))
    shares = hidden.mean((1, 2))
    assert shares.min() >= 0.199 and shares.max() <= 0.301 and shares.std() > 0.015
    assert hidden.any(axis=0).mean() > 0.99
    borders = (hidden[:, 1:] != hidden[:, :-1]).mean()  # independent pixels would have 2 * 0.25 * 0.75
    assert borders < 0.12


def test_regions_are_the_same_in_double_precision():
    single = np.asarray(masks.regions(KEYS[0], 32))
    with jax.enable_x64(True):
        double = np.asarray(masks.regions(KEYS[0], 32))
    assert (single != double).sum() <= 2


@pytest.mark.parametrize("margin", [0, 2])
def test_grown_masks_reach_as_far_as_the_margin(margin):
    hidden = np.random.default_rng(0).random((3, 9, 9)) < 0.05
    expected = np.zeros_like(hidden)
    for example, row, column in zip(*np.nonzero(hidden), strict=True):
        top, left = max(row - margin, 0), max(column - margin, 0)
        expected[example, top : row + margin + 1, left : column + margin + 1] = True
    np.testing.assert_array_equal(masks.grown(jnp.asarray(hidden), margin), expected)
