"""Interpolated positions against their definition pixel by pixel, and against PyTorch."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.models.positions import interpolate
from ssl_jax.models.vit import ViT

TINY = dict(patch_size=4, width=8, depth=2, heads=2, mlp_ratio=3)
GRIDS = [(6, 6), (14, 14), (3, 9), (2, 5), (20, 1)]


def by_hand(table, side, h, w):
    """Bicubic with a = -3/4 from the four nearest places of each axis, the border repeated, in loops."""

    def kernel(d):
        d, a = abs(d), -0.75
        if d < 1:
            return (a + 2) * d**3 - (a + 3) * d**2 + 1
        return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0

    def taps(n, i):
        x = (i + 0.5) / ((n + 0.1) / side) - 0.5
        return [(min(max(j, 0), side - 1), kernel(x - j)) for j in range(math.floor(x) - 1, math.floor(x) + 3)]

    grid, out = table.reshape(side, side, -1), np.zeros((h, w, table.shape[1]))
    for y in range(h):
        for x in range(w):
            out[y, x] = sum(p * q * grid[r, c] for r, p in taps(h, y) for c, q in taps(w, x))
    return out.reshape(h * w, -1)


@pytest.fixture
def table():
    return np.random.default_rng(0).normal(size=(49, 3))


@pytest.mark.parametrize(("h", "w"), GRIDS)
def test_interpolation_is_bicubic(table, x64, h, w):
    np.testing.assert_allclose(interpolate(jnp.asarray(table), h, w), by_hand(table, 7, h, w), atol=1e-12)


@pytest.mark.parity
@pytest.mark.parametrize(("h", "w"), GRIDS)
def test_interpolation_is_that_of_the_official_code(table, x64, h, w):
    """`interpolate_pos_encoding`: PyTorch's bicubic resizing by the factors (h + 0.1) / 7 and (w + 0.1) / 7."""
    torch = pytest.importorskip("torch")
    grid = torch.from_numpy(table.reshape(1, 7, 7, 3)).permute(0, 3, 1, 2)
    factors = (h + 0.1) / 7, (w + 0.1) / 7
    resized = torch.nn.functional.interpolate(grid, scale_factor=factors, mode="bicubic")
    assert resized.shape == (1, 3, h, w)
    expected = resized.permute(0, 2, 3, 1).reshape(h * w, 3).numpy()
    np.testing.assert_allclose(interpolate(jnp.asarray(table), h, w), expected, atol=1e-12)


def test_the_own_grid_is_the_table(table):
    table = jnp.asarray(table, jnp.float32)
    assert interpolate(table, 7, 7) is table
    np.testing.assert_array_equal(interpolate(table[:6], 2, 3), table[:6])
    # As many places on another grid are other places.
    square = jnp.asarray(np.arange(16.0), jnp.float32)[:, None]
    assert not np.allclose(interpolate(square, 2, 8), square)


def test_only_a_square_grid_can_be_interpolated(table):
    with pytest.raises(ValueError, match="48 learned positions were given for a grid of 3 x 3 patches"):
        interpolate(jnp.asarray(table[:48]), 3, 3)


def test_learned_positions_follow_the_size_of_the_images(key):
    model = ViT(**TINY)
    variables = model.init(key, jnp.ones((1, 8, 8, 3)))
    table = variables["params"]["position_embedding"]
    stretched = jnp.concatenate([table[:, :1], interpolate(table[0, 1:], 3, 1)[None]], axis=1)
    tall = {"params": variables["params"] | {"position_embedding": stretched}}
    images = jax.random.normal(key, (2, 12, 4, 3))
    np.testing.assert_allclose(model.apply(variables, images), model.apply(tall, images), atol=1e-6)


def test_learned_positions_of_no_square_grid_belong_to_one_size_of_images(key):
    model = ViT(**TINY)
    variables = model.init(key, jnp.ones((1, 8, 12, 3)))
    model.apply(variables, jnp.ones((1, 8, 12, 3)))
    with pytest.raises(ValueError, match="6 learned positions were given for a grid of 3 x 3 patches") as error:
        model.apply(variables, jnp.ones((1, 12, 12, 3)))
    assert "\n" not in str(error.value)
