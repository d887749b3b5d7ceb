"""Mixup, CutMix and label smoothing against their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.evaluation import mixing

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 10, 3), dtype=np.uint8)
TARGETS = np.float32(mixing.smoothed(jnp.arange(6) % 4, 4, 0.1))


def test_smoothed_labels_are_the_formula():
    np.testing.assert_allclose(TARGETS[2], [0.025, 0.025, 0.925, 0.025], rtol=1e-6)
    np.testing.assert_array_equal(mixing.smoothed(jnp.array([3]), 4, 0.0)[0], [0, 0, 0, 1])


@pytest.mark.parametrize("number", range(4))
def test_mixup_blends_images_and_targets_in_one_share(number):
    images, targets = mixing.mix(jax.random.key(number), IMAGES, TARGETS, mixup=0.8, cutmix=0.0)
    share = (targets[0, 0] - TARGETS[5, 0]) / (TARGETS[0, 0] - TARGETS[5, 0])
    assert 0 <= share <= 1 and images.dtype == jnp.uint8
    wanted = float(share) * np.float64(IMAGES) + (1 - float(share)) * np.float64(IMAGES[::-1])
    assert np.abs(images - wanted).max() <= 0.51
    np.testing.assert_allclose(targets, share * TARGETS + (1 - share) * TARGETS[::-1], rtol=1e-5)


@pytest.mark.parametrize("number", range(4))
def test_cutmix_pastes_a_rectangle_and_counts_its_pixels(number):
    images, targets = mixing.mix(jax.random.key(number), IMAGES, TARGETS, mixup=0.0, cutmix=1.0)
    changed = (np.asarray(images) != IMAGES).any(axis=(0, 3))
    rows, columns = changed.any(1), changed.any(0)
    np.testing.assert_array_equal(changed, rows[:, None] & columns[None])
    np.testing.assert_array_equal(images, np.where(changed[None, ..., None], IMAGES[::-1], IMAGES))
    np.testing.assert_allclose(
        targets, (1 - changed.mean()) * TARGETS + changed.mean() * TARGETS[::-1], rtol=1e-5
    )


def test_the_rectangle_is_that_of_timm():
    for number in range(20):
        key, share = jax.random.key(number), np.float32(0.05 * number)
        row, column = np.asarray(jax.random.randint(key, (2,), 0, jnp.array([8, 10])))
        height, width = int(8 * np.sqrt(share)), int(10 * np.sqrt(share))
        wanted = np.zeros((8, 10), bool)
        wanted[max(row - height // 2, 0) : row + height // 2, max(column - width // 2, 0) : column + width // 2] = True
        np.testing.assert_array_equal(mixing.rectangle(key, 8, 10, share), wanted)


def test_shares_follow_the_beta_distribution_and_both_kinds_come():
    keys = jax.random.split(jax.random.key(0), 300)
    blended = jax.vmap(lambda key: mixing.mix(key, IMAGES, TARGETS, mixup=0.4, cutmix=1.0)[0])(keys)
    pasted = ((blended == IMAGES[None]) | (blended == IMAGES[::-1][None])).all(axis=(1, 2, 3, 4))
    assert 0.35 < pasted.mean() < 0.65
    targets = jax.vmap(lambda key: mixing.mix(key, IMAGES, TARGETS, mixup=0.4, cutmix=0.0)[1])(keys)
    shares = (targets[:, 0, 0] - TARGETS[5, 0]) / (TARGETS[0, 0] - TARGETS[5, 0])
    assert float(shares.var()) == pytest.approx(1 / (4 * (2 * 0.4 + 1)), rel=0.2)  # of Beta(a, a)


def test_nothing_is_mixed_where_nothing_is_asked_for():
    images, targets = mixing.mix(jax.random.key(0), IMAGES, TARGETS, mixup=0.0, cutmix=0.0)
    assert images is IMAGES and targets is TARGETS
