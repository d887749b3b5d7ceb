import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import stats
from sklearn.datasets import load_sample_image

from ssl_jax.augment.geometry import (
    center_crop,
    random_cutout,
    random_flip,
    random_resized_crop,
    random_rotate90,
    rotate90,
    sample_crop,
)

PHOTO = load_sample_image("china.jpg")[100:196, 200:328]
DRAWS = 10_000
# A test of a true distribution fails once in a thousand keys; the key is fixed.
SIGNIFICANT = 1e-3


@functools.partial(jax.jit, static_argnames=("scale", "ratio", "distribution"))
def draw_boxes(key, height, width, **options):
    return jax.vmap(lambda key: sample_crop(key, height, width, **options))(jax.random.split(key, DRAWS))


def boxes(key, height, width, **options):
    return np.asarray(draw_boxes(key, height, width, **options), np.float64)


crop_jit = jax.jit(random_resized_crop, static_argnums=2, static_argnames="method")


def torchvision_crop(rng, height, width, scale, ratio):
    """The published procedure, one attempt after another."""
    for _ in range(10):
        area = height * width * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return rng.integers(0, height - h + 1), rng.integers(0, width - w + 1), h, w
    w, h = width, height
    if width / height < ratio[0]:
        h = round(w / ratio[0])
    elif width / height > ratio[1]:
        w = round(h * ratio[1])
    return (height - h) // 2, (width - w) // 2, h, w


def tensorflow_crop(rng, height, width, scale, ratio):
    """The height uniform over all whole numbers for which area and image allow it, given a uniform ratio."""
    for _ in range(100):
        aspect = rng.uniform(*ratio)
        allowed = [
            h
            for h in range(1, height + 1)
            if round(h * aspect) <= width and scale[0] <= h * round(h * aspect) / (height * width) <= scale[1]
        ]
        if allowed:
            h = rng.choice(allowed)
            w = round(h * aspect)
            return rng.integers(0, height - h + 1), rng.integers(0, width - w + 1), h, w
    return 0, 0, height, width


def byol_crop(rng, height, width, scale, ratio):
    """google-deepmind/deepmind-research at f5de0ed, byol/utils/dataset.py, `_decode_and_random_crop`."""
    area, aspect = rng.uniform(*scale) * height * width, math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
    w, h = min(round(math.sqrt(area * aspect)), width), min(round(math.sqrt(area / aspect)), height)
    return rng.integers(0, height - h + 1), rng.integers(0, width - w + 1), h, w


def test_crop_area_and_log_ratio_are_uniform_where_every_draw_fits(key):
    _, _, height, width = boxes(key, 2000, 2000, scale=(0.1, 0.5)).T
    assert stats.kstest(height * width / 4e6, "uniform", args=(0.1, 0.4)).pvalue > SIGNIFICANT
    limit = math.log(4 / 3)
    assert stats.kstest(np.log(width / height), "uniform", args=(-limit, 2 * limit)).pvalue > SIGNIFICANT
    assert stats.spearmanr(height * width, width / height).pvalue > SIGNIFICANT


@pytest.mark.parametrize(("height", "width"), [(300, 400), (500, 150)])
@pytest.mark.parametrize("distribution", ["torchvision", "tensorflow", "clamped"])
def test_crop_distribution_is_the_library_s(key, height, width, distribution):
    """Area, ratio and place of 10,000 draws against a transcription of the library's loop."""
    drawn = boxes(key, height, width, distribution=distribution)
    rng = np.random.default_rng(0)
    references = {"torchvision": torchvision_crop, "tensorflow": tensorflow_crop, "clamped": byol_crop}
    reference, count = references[distribution], 2000 if distribution == "tensorflow" else DRAWS
    expected = [reference(rng, height, width, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3)) for _ in range(count)]
    expected = np.array(expected, np.float64)
    for measure in (
        lambda b: b[:, 2] * b[:, 3],
        lambda b: b[:, 3] / b[:, 2],
        lambda b: b[:, 0],
        lambda b: b[:, 1],
    ):
        assert stats.ks_2samp(measure(drawn), measure(expected)).pvalue > SIGNIFICANT


@pytest.mark.parametrize("distribution", ["torchvision", "tensorflow", "clamped"])
def test_crops_are_whole_pixels_inside_the_image(key, distribution):
    for height, width in ((32, 32), (5, 7), (1, 1)):
        drawn = boxes(key, height, width, distribution=distribution)
        np.testing.assert_array_equal(drawn, np.round(drawn))
        top, left, crop_height, crop_width = drawn.T
        assert (drawn >= 0).all() and (crop_height >= 1).all() and (crop_width >= 1).all()
        assert (top + crop_height <= height).all() and (left + crop_width <= width).all()
        # Crops smaller than the image reach both of its ends.
        smaller = (crop_height < height) & (crop_width < width)
        for start, extent, length in ((top, crop_height, height), (left, crop_width, width)):
            ends = (start == 0), (start + extent == length)
            assert not smaller.any() or all((end & smaller).any() for end in ends)


def test_crop_that_never_fits_is_the_largest_central_one(key):
    """An image ten times as wide as high, asked for its whole area: the ratio is held, as torchvision does."""
    for size, box in (((30, 300), (0, 130, 30, 40)), ((300, 30), (130, 0, 40, 30))):
        np.testing.assert_array_equal(boxes(key, *size, scale=(1.0, 1.0))[0], box)
        whole = boxes(key, *size, scale=(1.0, 1.0), distribution="tensorflow")[0]
        np.testing.assert_array_equal(whole, (0, 0, *size))


def test_crop_of_a_squashed_image_is_that_of_the_original(key):
    """The same key crops the same part of the photograph, whether stored at 96 x 128 or squashed to 96 x 64."""
    keys = jax.random.split(key, 32)
    original = np.float32(PHOTO / 255.0)
    squashed = np.float32(Image.fromarray(PHOTO).resize((64, 96), Image.Resampling.BILINEAR)) / 255

    def crop(image, **options):
        return jax.jit(jax.vmap(lambda key: random_resized_crop(key, image, 16, scale=(0.2, 1), **options)))(keys)

    expected = crop(original)
    error = jnp.abs(crop(squashed, original_size=jnp.array([96, 128])) - expected).mean()
    assert error < 0.02
    # Without the size the boxes differ.
    assert jnp.abs(crop(squashed) - expected).mean() > 3 * error


def test_random_resized_crop_is_crop_then_resize(key):
    image = np.float32(PHOTO / 255.0)
    top, left, height, width = (int(value) for value in jax.jit(sample_crop)(key, 96, 128))
    crop = Image.fromarray(PHOTO).crop((left, top, left + width, top + height))
    result = crop_jit(key, image, (24, 40), method="bicubic", flip=False)
    expected = np.asarray(crop.resize((40, 24), Image.Resampling.BICUBIC))
    # Pillow rounds to bytes and clips after each of its two passes: 2 steps of 1/255.
    np.testing.assert_allclose(result * 255, expected, atol=2)
    flipped = crop_jit(key, image, (24, 40), method="bicubic", flip=True)
    np.testing.assert_allclose(flipped, result[:, ::-1], atol=1e-6)


def test_bicubic_crops_stay_between_0_and_1(key):
    board = np.float32(np.indices((16, 16)).sum(axis=0) % 2)[..., None]
    crop = crop_jit(key, board, 48, method="bicubic")
    assert crop.min() == 0 and crop.max() == 1


def test_vmapped_crop_equals_single_ones(key):
    image, keys = np.float32(PHOTO / 255.0), jax.random.split(key, 4)
    together = jax.jit(jax.vmap(lambda key: random_resized_crop(key, image, 16)))(keys)
    for crop, key in zip(together, keys, strict=True):
        np.testing.assert_allclose(crop, crop_jit(key, image, 16), atol=1e-6)


def test_center_crop_equals_the_official_box_and_pillow():
    """0.875 of 96 = 84 pixels; the margins are (96 - 84 + 1) // 2 = 6 and (128 - 84 + 1) // 2 = 22."""
    expected = Image.fromarray(PHOTO).crop((22, 6, 22 + 84, 6 + 84)).resize((48, 48), Image.Resampling.BICUBIC)
    crop = jax.jit(center_crop, static_argnums=1)
    # Pillow rounds to bytes and clips after each of its two passes: 2 steps of 1/255.
    np.testing.assert_allclose(crop(np.float32(PHOTO / 255.0), 48) * 255, np.asarray(expected), atol=2)
    # A wide output: 0.875 of the width, 112, and half of it for the height.
    expected = Image.fromarray(PHOTO).crop((8, 20, 8 + 112, 20 + 56)).resize((60, 30), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(crop(np.float32(PHOTO / 255.0), (30, 60)) * 255, np.asarray(expected), atol=2)


def test_center_crop_of_a_squashed_image_is_that_of_the_original():
    """A ramp over the original's width: its values are places, whatever the canvas."""
    ramp = np.float32(np.tile((np.arange(64) + 0.5) / 64, (64, 1)))[..., None]
    crop = jax.jit(functools.partial(center_crop, size=16, method="bilinear", proportion=0.5))
    result = crop(ramp, original_size=jnp.array([100, 200]))
    # Half of 100 pixels, in the middle of 200: from 0.375 to 0.625 of the width.
    expected = 0.375 + (np.arange(16) + 0.5) / 16 * 0.25
    np.testing.assert_allclose(result[8, 1:-1, 0], expected[1:-1], atol=1e-5)


def test_flip_mirrors_half_of_the_images(key):
    image = np.float32(PHOTO[:2, :3])
    flipped = np.asarray(jax.jit(jax.vmap(lambda key: random_flip(key, image)))(jax.random.split(key, DRAWS)))
    mirrored = (flipped == image[:, ::-1]).all(axis=(1, 2, 3))
    assert (mirrored | (flipped == image).all(axis=(1, 2, 3))).all()
    assert abs(float(mirrored.mean()) - 0.5) < 4 * 0.5 / np.sqrt(DRAWS)


def test_rotate90_equals_numpy():
    image = PHOTO[:20, :20]
    turned = jax.jit(jax.vmap(lambda k: rotate90(jnp.asarray(image), k)))(jnp.arange(-2, 8))
    for k, result in zip(range(-2, 8), turned, strict=True):
        np.testing.assert_array_equal(result, np.rot90(image, k))


def test_random_rotations_are_equally_likely(key):
    corner = np.float32([[[1], [0]], [[0], [0]]])
    turned = jax.jit(jax.vmap(lambda key: random_rotate90(key, corner)))(jax.random.split(key, DRAWS))
    assert stats.chisquare(np.asarray(turned).sum(axis=0).ravel()).pvalue > SIGNIFICANT


def test_cutout_paints_one_square_of_the_drawn_size(key):
    """Sides are uniform in the range, centres uniform over the image; the border cuts the square."""
    height, width, fraction = 40, 50, (0.25, 0.5)
    white = np.ones((height, width, 1), np.float32)
    cutout = jax.jit(jax.vmap(lambda key: random_cutout(key, white, fraction=fraction, p=0.5)))
    hole = np.asarray(cutout(jax.random.split(key, DRAWS)))[..., 0] == 0
    applied = hole.any(axis=(1, 2))
    assert abs(applied.mean() - 0.5) < 4 * 0.5 / np.sqrt(DRAWS)
    hole = hole[applied]
    rows, columns = hole.any(axis=2), hole.any(axis=1)
    np.testing.assert_array_equal(hole, rows[:, :, None] & columns[:, None, :])
    inside = ~(rows[:, 0] | rows[:, -1] | columns[:, 0] | columns[:, -1])
    sides = rows.sum(axis=1)[inside]
    np.testing.assert_array_equal(sides, columns.sum(axis=1)[inside])
    assert sides.min() == 10 and sides.max() == 20
    # A centre in every row is as likely: pixels far from the border are covered equally often.
    coverage = hole.mean(axis=0)[10:-10, 10:-10]
    np.testing.assert_allclose(coverage, coverage.mean(), atol=5 * np.sqrt(coverage.mean() / len(hole)))
    assert stats.chisquare(np.bincount(np.argmax(rows[inside], axis=1))[1:20]).pvalue > SIGNIFICANT


def test_cutout_fills_with_a_colour(key):
    cutout = jax.jit(functools.partial(random_cutout, p=1.0, fill=(0.1, 0.2, 0.3)))
    image = cutout(key, np.ones((16, 16, 3), np.float32))
    painted = np.unique(np.asarray(image).reshape(-1, 3), axis=0)
    np.testing.assert_allclose(painted, [(0.1, 0.2, 0.3), (1, 1, 1)], rtol=1e-6)


def test_wrong_use_is_refused(key):
    with pytest.raises(ValueError, match="pillow"):
        sample_crop(key, 4, 4, distribution="pillow")
    with pytest.raises(ValueError, match="square"):
        rotate90(jnp.zeros((3, 4, 1)), 1)
    with pytest.raises(ValueError, match="vmap"):
        random_resized_crop(key, jnp.zeros((2, 4, 4, 3)), 2)
