"""Patches: their places, gaps and jitter, scaling down, colour counters against NumPy, puzzles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.augment import patches, puzzle
from ssl_jax.augment.geometry import sample_crop


def coordinates(height, width):
    """An image whose two channels are the row and the column of each pixel."""
    return jnp.stack(jnp.meshgrid(jnp.arange(float(height)), jnp.arange(float(width)), indexing="ij"), axis=-1)


def corners(count, **place):
    """The upper left corners `[count, n, 2]` of many grids in an image of 30 x 36 pixels."""
    keys = jax.random.split(jax.random.key(0), count)
    made = jax.jit(jax.vmap(lambda key: patches.sample_grid(key, coordinates(30, 36), **place)))(keys)
    assert (np.diff(made[..., 0], axis=2) == 1).all() and (np.diff(made[..., 1], axis=3) == 1).all()  # whole pixels
    return np.asarray(made[:, :, 0, 0], int)


def test_patches_have_their_gaps_and_the_grid_is_anywhere():
    found = corners(500, grid=3, patch=5, gap=4)
    steps = found.reshape(500, 3, 3, 2) - found[:, None, None, 0]
    assert (steps == 9 * np.stack(np.meshgrid(range(3), range(3), indexing="ij"), axis=-1)).all()
    assert set(found[:, 0, 0]) == set(range(30 - 23 + 1)) and set(found[:, 0, 1]) == set(range(36 - 23 + 1))


def test_every_patch_moves_by_itself_within_the_jitter():
    found = corners(500, grid=2, patch=5, gap=4, jitter=2)
    assert found.min() == 0 and (found.max((0, 1)) == (30 - 5, 36 - 5)).all()
    distances = found[:, 1, 1] - found[:, 0, 1]
    assert set(distances) == set(range(9 - 4, 9 + 4 + 1)) and abs(distances.mean() - 9) < 0.3
    assert abs(np.corrcoef(found[:, 1, 0] - found[:, 0, 0], found[:, 3, 0] - found[:, 2, 0])[0, 1]) < 0.15


def test_a_grid_that_does_not_fit_is_refused():
    assert patches.extent(3, 5, 4, 2) == 27
    with pytest.raises(ValueError, match="needs 27 pixels on a side, but the image has 26 x 40"):
        patches.sample_grid(jax.random.key(0), coordinates(26, 40), grid=3, patch=5, gap=4, jitter=2)


def test_colours_dropped_with_gaussian_noise_are_a_hundredth_of_the_one_that_stays(x64):
    patch = jnp.asarray(np.random.default_rng(0).normal(0.5, 0.2, (64, 64, 3)))
    kept = []
    for seed in range(12):
        found = np.asarray(patches.drop_colours(jax.random.key(seed), patch, "gaussian"))
        same = (found == np.asarray(patch)).all((0, 1))
        assert same.sum() == 1
        deviation = np.asarray(patch)[..., same].std()
        np.testing.assert_allclose(found[..., ~same].std((0, 1)), deviation / 100, rtol=0.1)
        np.testing.assert_allclose(found[..., ~same].mean((0, 1)), 0, atol=deviation / 1000)
        kept.append(int(np.argmax(same)))
    assert set(kept) == {0, 1, 2}


def test_colours_dropped_with_uniform_noise_vary_within_a_grey_level():
    patch = jnp.asarray(np.random.default_rng(0).random((64, 64, 3), np.float32))
    found = np.asarray(patches.drop_colours(jax.random.key(0), patch, "uniform"))
    noise = 255 * found[..., (found != np.asarray(patch)).any((0, 1))]
    assert noise.shape == (64, 64, 2) and abs(noise).max() <= 0.5 and abs(noise).max() > 0.49
    assert noise.std() == pytest.approx(1 / 12**0.5, rel=0.05)
    with pytest.raises(ValueError, match="noise 'pink'"):
        patches.drop_colours(jax.random.key(0), patch, "pink")


def test_projection_removes_the_green_magenta_axis_alone(x64):
    image = np.random.default_rng(0).random((5, 4, 3))
    a = np.array([[-1.0, 2.0, -1.0]])
    expected = image @ (np.eye(3) - a.T @ a / (a @ a.T))
    found = np.asarray(patches.project_colours(jnp.asarray(image)))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(found @ a[0], 0, atol=1e-12)
    np.testing.assert_allclose(found.sum(-1), image.sum(-1))  # grey stays
    with pytest.raises(ValueError, match="expects 3"):
        patches.project_colours(jnp.ones((2, 2, 1)))


def bilinear(x, size):
    """Bilinear resizing of `[p, p]` without smoothing, borders continued."""
    p = len(x)
    at = np.clip((np.arange(size) + 0.5) * p / size - 0.5, 0, p - 1)
    low = np.minimum(at.astype(int), p - 2)
    share = at - low
    x = x[low] * (1 - share)[:, None] + x[low + 1] * share[:, None]
    return x[:, low] * (1 - share) + x[:, low + 1] * share


def test_pixelation_is_scaling_down_and_up(x64):
    patch = np.random.default_rng(0).random((12, 12))
    choices = {side: bilinear(bilinear(patch, side), 12) for side in range(4, 11)}
    pixelate = jax.jit(lambda key: patches.pixelate(key, jnp.asarray(patch)[..., None], probability=1.0, least=16))
    seen = set()
    for seed in range(60):
        found = np.asarray(pixelate(jax.random.key(seed)))[..., 0]
        error = {side: np.abs(found - wanted).max() for side, wanted in choices.items()}
        side = min(error, key=error.get)
        assert error[side] < 1e-9
        seen.add(side)
    assert len(seen) >= 6  # 4 is rare: pixels are uniform, not sides
    same = patches.pixelate(jax.random.key(0), jnp.asarray(patch)[..., None], probability=0.0, least=16)
    np.testing.assert_array_equal(same[..., 0], patch)
    with pytest.raises(ValueError, match="cannot be scaled down to 200: give 1 to 121"):
        patches.pixelate(jax.random.key(0), jnp.asarray(patch)[..., None], least=200)


def test_normalised_patches_have_no_mean_and_one_contrast(x64):
    patch = jnp.asarray(np.random.default_rng(0).normal(3, 0.1, (6, 6, 3)))
    found = patches.unit_contrast(patches.centred(patch))
    np.testing.assert_allclose(found.mean((0, 1)), 0, atol=1e-10)
    assert float(jnp.sqrt(jnp.mean(found**2))) == pytest.approx(50)


def test_crops_of_images_resized_to_a_uniform_number_of_pixels():
    """Of 600 x 1000 pixels: a square of 398 in an image resized to 398^2 to 450,000 pixels."""
    scale = 398**2 / 450_000, 1.0
    crop = jax.vmap(lambda key: sample_crop(key, 600, 1000, scale=scale, ratio=(1, 1), distribution="pixels"))
    boxes = np.asarray(crop(jax.random.split(jax.random.key(0), 4000)), np.float64)
    assert (boxes[:, 2] == boxes[:, 3]).all() and boxes[:, 2].max() == 600
    pixels = 398**2 * 600_000 / boxes[:, 2] ** 2  # of the resized image, where the square fits into it
    free = boxes[:, 2] < 600
    fits = 398**2 * 600_000 / 600**2
    assert pixels.max() < 451_000 and pixels[free].mean() == pytest.approx((fits + 450_000) / 2, rel=0.01)
    assert free.mean() == pytest.approx((450_000 - fits) / (450_000 - 398**2), abs=0.03)


def test_neighbours_are_labelled_row_by_row_as_in_the_code():
    """`pos2lbl` of the official code: 1 2 3 / 4 . 5 / 6 7 8, counted from 0."""
    table = puzzle.neighbours(3)
    assert len(table) == 40 and len(puzzle.neighbours(2)) == 12
    of_centre = table[table[:, 0] == 4]
    assert of_centre[:, 1].tolist() == [0, 1, 2, 3, 5, 6, 7, 8] and of_centre[:, 2].tolist() == list(range(8))
    opposite = {(a, b): d for a, b, d in table.tolist()}
    assert all(opposite[b, a] == 7 - d for (a, b), d in opposite.items())


def test_puzzles_are_put_together_by_scores_of_pairs():
    numbers = np.random.default_rng(0)
    for grid in (2, 3):
        n = grid * grid
        order = numbers.permutation(n)  # patch order[i] was given as number i
        given = np.argsort(order)
        scores = numbers.normal(0, 0.1, (n, n, 8))
        for first, second, direction in puzzle.neighbours(grid):
            scores[given[first], given[second], direction] += 1
        np.testing.assert_array_equal(order[puzzle.assemble(scores, grid)], np.arange(n))
    with pytest.raises(ValueError, match="2 or 3 on a side"):
        puzzle.assemble(np.zeros((16, 16, 8)), 4)
