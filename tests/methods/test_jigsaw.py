"""Jigsaw: permutations that differ as much as can be, what they do to patches, the head, pictures, wrong settings."""

import jax
import numpy as np
import pytest

from ssl_jax import methods
from ssl_jax.augment import puzzle
from ssl_jax.methods.parts import grids
from tests.methods.by_hand import PROGRESS, loss_and_outputs, prepare


def distances(orders):
    """Hamming distances of all pairs."""
    apart = (orders[:, None] != orders[None]).sum(-1)
    return apart[np.triu_indices(len(orders), 1)]


def test_permutations_differ_in_nearly_all_places():
    chosen = puzzle.permutations(9, 100)
    assert chosen.shape == (100, 9) and (np.sort(chosen, axis=1) == np.arange(9)).all()
    numbers = np.random.default_rng(0)
    random = np.stack([numbers.permutation(9) for _ in range(100)])
    assert distances(random).mean() < 8.05 < distances(chosen).mean()  # 8 * 100 / 99 can be reached at most
    assert distances(chosen).min() >= 2 and len({tuple(row) for row in chosen}) == 100
    np.testing.assert_array_equal(puzzle.permutations(9, 9, seed=1), puzzle.permutations(9, 9, seed=1))
    assert distances(puzzle.permutations(9, 9, seed=1)).min() == 9  # a Latin square
    assert len({tuple(row) for row in puzzle.permutations(3, 6)}) == 6  # all that there are
    with pytest.raises(ValueError, match="7 permutations of 3 patches .* expected 2 to 6"):
        puzzle.permutations(3, 7)


def test_the_target_is_the_permutation_of_the_patches(tiny, tiny_batch):
    config = tiny("jigsaw")
    config.method.jitter, config.augment.flip_probability = 0, 0.0
    config.augment.update(size=6, mean=None, std=None)
    batch = tiny_batch(64, size=6)
    method = methods.build(config)
    made = jax.vmap(method.views)(jax.random.split(jax.random.key(0), 64), batch)
    whole = batch["image"].astype(np.float32) / 255
    tiles = whole.reshape(64, 2, 3, 2, 3, 1).swapaxes(2, 3).reshape(64, 4, 3, 3, 1)
    orders = puzzle.permutations(4, 8)[np.asarray(made["target"])[:, 0]]
    expected = np.take_along_axis(tiles, orders[..., None, None, None], axis=1)
    np.testing.assert_allclose(made["view_0"], expected, atol=1e-6)
    assert set(np.asarray(made["target"]).ravel().tolist()) == set(range(8))


def test_standardised_patches_are_those_of_numpy_and_flat_ones_stay_flat(tiny, tiny_batch):
    config = tiny("jigsaw")
    config.method.update(jitter=0, normalise="standardise")
    config.augment.update(size=6, flip_probability=0.0, mean=3 * (0.5,), std=3 * (0.25,))
    batch = tiny_batch(8, size=6, channels=3)
    batch["image"][0, :3, :3] = 77
    method = methods.build(config)
    made = jax.vmap(method.views)(jax.random.split(jax.random.key(0), 8), batch)
    tiles = batch["image"].astype(np.float64).reshape(8, 2, 3, 2, 3, 3).swapaxes(2, 3).reshape(8, 4, 3, 3, 3)
    centred = tiles - tiles.mean((2, 3), keepdims=True)
    expected = centred / np.maximum(tiles.std((2, 3), keepdims=True), 1)  # of bytes: a grey level is 1
    orders = puzzle.permutations(4, 8)[np.asarray(made["target"])[:, 0]]
    expected = np.take_along_axis(expected, orders[..., None, None, None], axis=1)
    np.testing.assert_allclose(made["view_0"], expected, atol=1e-5)
    deviations = np.sort(np.asarray(made["view_0"]).std((2, 3)), axis=None)
    np.testing.assert_allclose(deviations, [0] * 3 + [1] * (8 * 4 * 3 - 3), atol=1e-5)


def test_standardised_patches_are_shown_around_grey(tiny):
    config = tiny("jigsaw")
    config.method.normalise = "standardise"
    picture = grids.shown(config)(np.float32([-1, 0, 1, 9]).reshape(1, 4, 1, 1, 1) * np.ones((3, 3, 1), np.float32))
    np.testing.assert_array_equal(picture[0, ::4, ::4, 0], [[78, 128], [178, 255]])


def test_the_loss_is_the_papers_and_the_head_sees_patches_in_their_places(tiny, tiny_batch):
    method, views, params, state = prepare(tiny("jigsaw"), tiny_batch(4))
    loss, (outputs, _) = loss_and_outputs(method, views, params, state)
    logits, target = np.asarray(outputs["logits"], np.float64)[:, 0], np.asarray(views["target"])
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    assert float(loss) == pytest.approx(-np.log(np.take_along_axis(shares, target, -1)).mean(), rel=1e-5)
    _, _, metrics = method.objective(params, outputs, state, PROGRESS, None)
    assert float(metrics["jigsaw_top1"]) == pytest.approx((logits.argmax(-1) == target[:, 0]).mean())
    assert float(metrics["chance_loss"]) == pytest.approx(np.log(8))
    assert float(method.baselines(views, outputs)["jigsaw_top1 of a guess"]) == pytest.approx(1 / 8)
    swapped = views | {"view_0": views["view_0"][:, ::-1]}
    other, _ = method.embed(params, state, swapped, jax.random.key(2), PROGRESS, None)
    np.testing.assert_allclose(other["features"], outputs["features"], rtol=1e-4, atol=1e-5)
    assert np.abs(other["logits"] - outputs["logits"]).max() > 1e-3


def test_pictures_undo_the_told_and_the_true_permutation(tiny, tiny_batch):
    config = tiny("jigsaw")
    config.augment.flip_probability = 0.0
    method, views, params, state = prepare(config, tiny_batch(3))
    (picture,) = method.pictures(params, state, views, jax.random.key(0)).values()
    assert picture.dtype == np.uint8 and picture.shape == (3 * 10, 3 * 10, 3)
    columns = picture.reshape(3, 10, 3, 10, 3).swapaxes(1, 2)[:, :, :8, :8]
    tiles = columns.reshape(3, 3, 2, 4, 2, 4, 3).swapaxes(3, 4).reshape(3, 3, 4, -1)
    orders = puzzle.permutations(4, 8)[np.asarray(views["target"])[:, 0]]
    for (given, _, true), order in zip(tiles, orders, strict=True):
        np.testing.assert_array_equal(true[order], given)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method.patch": 4}, "10 pixels on a side, but views have config.augment.size = 8"),
        ({"method.permutations": 25, "model.head.output_dim": 25}, "expected 2 to 24"),
        ({"method.permutations": 9}, "output_dim is 8 and config.method.permutations 9"),
        ({"method.grid": 4, "method.patch": 1, "method.gap": 0}, "config.method.grid is 4; expected 2 or 3"),
        ({"method.layer": "conv_5"}, "method.layer is 'conv_5'; expected '' or one of stem, stage_1, stage_2"),
    ],
)
def test_wrong_settings_are_refused(tiny, changes, message):
    config = tiny("jigsaw")
    config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=message):
        methods.build(config)
