"""CPC for images: patches, what a context sees, the loss against its formula, features, wrong settings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from ssl_jax import losses, methods
from ssl_jax.augment.patches import overlapping_grid
from ssl_jax.methods.cpc_image import columns
from ssl_jax.models.masked_context import MaskedContext
from ssl_jax.models.norm import MapNorm
from tests.methods.by_hand import PROGRESS, loss_and_outputs, prepare


def test_patches_overlap_and_fill_the_image():
    image = np.random.default_rng(0).normal(size=(8, 8, 2))
    grid = overlapping_grid(jnp.asarray(image), patch=4, stride=2)
    assert grid.shape == (3, 3, 4, 4, 2)
    np.testing.assert_allclose(grid[2, 1], image[4:8, 2:6], rtol=1e-6)
    with pytest.raises(ValueError, match="a square one that they fill"):
        overlapping_grid(jnp.asarray(image), patch=4, stride=3)


def test_a_context_sees_its_row_and_those_above_alone():
    grid = jax.random.normal(jax.random.key(0), (1, 5, 3, 3))
    model = MaskedContext(steps=1, targets=2, hidden=4, layers=2)
    variables = model.init(jax.random.key(1), grid)
    jacobian = jax.jacobian(lambda x: model.apply(variables, x)[0, 0].sum((1, 2)))(grid)
    seen = np.abs(jacobian[:, 0]).max((2, 3)) > 0  # [row of the context, row of the grid]
    assert not np.triu(seen, 1).any() and seen.diagonal().all() and seen[1, 0]


def test_a_norm_of_maps_is_its_formula_and_knows_no_other_example():
    x = np.random.default_rng(0).normal(3, 2, (2, 4, 4, 3))
    y, _ = MapNorm().init_with_output(jax.random.key(0), jnp.asarray(x), train=True)
    mean, variance = x.mean((1, 2, 3), keepdims=True), x.var((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(variance + 1e-5), atol=1e-5)


def test_no_patch_enters_the_features_of_another(tiny, tiny_batch):
    method, views, params, _ = prepare(tiny("cpc_image"), tiny_batch(2))

    def target(grid):
        outputs, _ = method.embed(params, {}, views | {"view_0": grid}, jax.random.key(2), PROGRESS, None)
        return outputs["target"][0, 1, 2].sum()

    gradient = np.abs(jax.grad(target)(views["view_0"])).max((3, 4, 5)) > 0
    assert np.argwhere(gradient).tolist() == [[0, 1, 2]]


def test_no_prediction_knows_its_target_or_what_lies_behind_it(tiny, tiny_batch):
    """By gradients: of rows 1 in every direction, with respect to the patches of all rows in that direction."""
    method, views, params, _ = prepare(tiny("cpc_image"), tiny_batch(1))

    def predictions(grid):
        outputs, _ = method.embed(params, {}, views | {"view_0": grid}, jax.random.key(2), PROGRESS, None)
        return outputs["prediction"][0, :, :, 1].sum((1, 2, 3))  # [4]

    slopes = np.abs(jax.jit(jax.jacrev(predictions))(views["view_0"]))[:, 0].max((3, 4, 5))  # [4, h, w]
    seen = [np.rot90(slope > 0, quarters).any(axis=1).tolist() for quarters, slope in enumerate(slopes)]
    assert seen == 4 * [[True, True, False]]


@pytest.mark.parametrize("directions", [1, 4])
def test_the_loss_is_the_mean_over_rows_below_among_all_patches(tiny, tiny_batch, directions):
    config = tiny("cpc_image")
    config.method.update(directions=directions, stride=1, ignore=1)  # 5 x 5 patches
    method, views, params, state = prepare(config, tiny_batch(2))
    loss, (outputs, _) = loss_and_outputs(method, views, params, state)
    ignore, steps, terms = config.method.ignore, config.method.steps, []
    for quarters in range(directions):
        target = np.rot90(np.asarray(outputs["target"], np.float64), quarters, (1, 2))
        predicted = np.asarray(outputs["prediction"], np.float64)[:, quarters]  # [b, K, h, w, D]
        everything = target.reshape(-1, target.shape[-1])
        for k in range(steps):
            ahead, found = ignore + 1 + k, []
            for i, row, column in np.ndindex(2, target.shape[1] - ahead, target.shape[2]):
                scores = config.method.scale * everything @ predicted[i, k, row, column]
                positive = config.method.scale * target[i, row + ahead, column] @ predicted[i, k, row, column]
                found.append(logsumexp(scores) - positive)
            terms.append(np.mean(found))
    assert loss == pytest.approx(np.mean(terms), rel=1e-4)


def test_columns_are_sequences_from_the_top_down():
    grid = jnp.arange(2 * 3 * 4).reshape(2, 3, 4, 1)
    assert columns(grid)[5, :, 0].tolist() == grid[1, :, 1, 0].tolist()


def test_the_first_prediction_may_be_some_frames_ahead():
    frames = 9 * jnp.eye(6)[None]
    assert losses.cpc(frames[:, None, 3:], frames, first=3) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match=r"\[b, S \+ K \+ 2, D\]"):
        losses.cpc(frames[:, None, 2:], frames, first=3)


def test_features_are_means_over_patches_and_pictures_have_three_columns(tiny, tiny_batch):
    config, batch = tiny("cpc_image"), tiny_batch(3)
    method, views, params, state = prepare(config, batch)
    grid = method.encode(params, state, {"image": jnp.asarray(batch["image"])}, layer="grid")
    features = method.encode(params, state, {"image": jnp.asarray(batch["image"])})
    np.testing.assert_allclose(features, grid.mean((1, 2)), rtol=1e-5)
    (picture,) = method.pictures(params, state, views, jax.random.key(0)).values()
    assert picture.shape == (3 * (4 + 2), 3 * (4 + 2), 3) and picture.dtype == np.uint8


def test_a_network_that_was_trained_on_grey_images_encodes_grey_images(tiny, tiny_batch):
    config, batch = tiny("cpc_image"), tiny_batch(3, channels=3)
    config.augment.update(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    luma = np.round(batch["image"] @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    grey = np.broadcast_to(luma[..., None], batch["image"].shape)

    def apart(probability):
        """How far the features of coloured images are from those of grey ones, of their size."""
        config.augment.greyscale_probability = probability
        method, _, params, state = prepare(config, batch)
        coloured, plain = (method.encode(params, state, {"image": jnp.asarray(x)}) for x in (batch["image"], grey))
        return np.abs(coloured - plain).max() / np.abs(plain).max()

    assert apart(1.0) < 0.02 < 0.1 < apart(0.5)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"model.norm": "batch"}, "statistics of a batch would tell a patch of the others"),
        ({"method.stride": 3}, "do not fill views of config.augment.size=8"),
        ({"method.steps": 4}, "the grid has 3 rows"),
        ({"method.directions": 2}, "expected 1 or 4"),
    ],
)
def test_wrong_settings_are_refused(tiny, changes, message):
    config = tiny("cpc_image")
    config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=message):
        methods.build(config)
