"""Context prediction: pairs and their targets, what reaches the network, fusion, loss, puzzles, wrong settings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import methods
from ssl_jax.augment import puzzle
from tests.methods.by_hand import PROGRESS, loss_and_outputs, prepare


def with_view(tiny, **changes):
    """The smallest config on 24 x 24 pixels without mirroring."""
    config = tiny("context_prediction")
    config.augment.update(size=24, flip_probability=0.0, mean=None, std=None)
    config.method.update(grid=2, patch=6, gap=2, jitter=1)
    config.method.update(changes)
    return config


def view(config, batch):
    made = jax.vmap(methods.build(config).views)
    return jax.tree.map(np.asarray, made(jax.random.split(jax.random.key(1), len(batch["index"])), batch))


@pytest.mark.parametrize(("pairs", "grid", "count"), [("all", 2, 12), ("all", 3, 40), ("each", 3, 8), ("centre", 3, 8)])
def test_targets_say_where_the_second_patch_lies(pairs, grid, count, tiny):
    """Channels hold the row and the column of each pixel, so that patches say where they come from."""
    rows, columns = np.meshgrid(np.arange(24), np.arange(24), indexing="ij")
    image = np.stack([10 * rows, 10 * columns, 0 * rows], axis=-1).astype(np.uint8)
    batch = {"image": np.stack(6 * [image]), "index": np.arange(6, dtype=np.int32)}
    made = view(with_view(tiny, pairs=pairs, grid=grid, patch=5), batch)
    assert made["pairs"].shape == (6, count, 2) and made["view_0"].shape == (6, grid * grid, 5, 5, 3)
    place = made["view_0"].mean((2, 3))[..., :2] * 25.5
    for example in range(6):
        first, second = (place[example][made["pairs"][example, :, i]] for i in (0, 1))
        seen = np.round((second - first) / 7)  # patches are 5 + 2 apart, jitter moves two by up to 2
        np.testing.assert_array_equal(seen, np.array(puzzle.DIRECTIONS)[made["target"][example]])
    if pairs == "each":
        assert (made["target"] == np.arange(8)).all() and len({tuple(row) for row in made["pairs"][:, :, 0]}) > 1


@pytest.mark.parametrize("colours", ["keep", "drop_gaussian", "drop_uniform", "project"])
def test_counters_of_shortcuts_reach_the_network(colours, tiny, tiny_batch):
    batch = tiny_batch(4, size=24, channels=3)
    made = view(with_view(tiny, colours=colours), batch)["view_0"]
    plain = view(with_view(tiny), batch)["view_0"]
    if colours == "project":
        np.testing.assert_allclose(made @ np.array([-1, 2, -1]), 0, atol=1e-5)
        np.testing.assert_allclose(made.sum(-1), plain.sum(-1), atol=1e-5)
    elif colours == "keep":
        np.testing.assert_array_equal(made, plain)
    else:
        same = (made == plain).all((2, 3))
        assert (same.sum(-1) == 1).all() and len(set(np.argmax(same, -1).ravel())) > 1  # a channel of each patch
        assert np.abs(made[np.broadcast_to(~same[:, :, None, None], made.shape)]).max() < 0.05


def test_normalised_patches_show_neither_their_colour_nor_their_contrast(tiny, tiny_batch):
    batch = tiny_batch(3, size=24, channels=3)
    config = with_view(tiny, normalise="contrast", pixelate_probability=1.0, least_pixels=9)
    made = view(config, batch)["view_0"]
    np.testing.assert_allclose(made.mean((2, 3)), 0, atol=1e-3)
    np.testing.assert_allclose((made**2).mean((2, 3, 4)) ** 0.5, 50, rtol=1e-3)
    method = methods.build(config)
    views = jax.tree.map(jnp.asarray, view(config, batch))
    params, state = method.init(jax.random.key(0), views)
    features = method.encode(params, state, {"image": batch["image"]})
    darker = method.encode(params, state, {"image": (batch["image"] // 2).astype(np.uint8)})
    np.testing.assert_allclose(features, darker, rtol=0.1, atol=0.05 * np.abs(features).max())


def test_each_patch_passes_the_encoder_alone_and_a_pair_sees_its_two(tiny, tiny_batch):
    method, views, params, state = prepare(tiny("context_prediction"), tiny_batch(4))

    def logits(images, pairs):
        batch = views | {"view_0": images, "pairs": pairs}
        return method.embed(params, state, batch, jax.random.key(2), PROGRESS, None, train=False)[0]["logits"]

    before, changed = views["view_0"], views["view_0"].at[1, 2].add(1.0)
    moved = np.abs(logits(changed, views["pairs"]) - logits(before, views["pairs"])).max(-1) > 1e-6
    np.testing.assert_array_equal(moved[1], (views["pairs"][1] == 2).any(-1))
    assert not np.delete(moved, 1, axis=0).any()
    there, back = logits(before, views["pairs"]), logits(before, views["pairs"][..., ::-1])
    assert np.abs(there - back).max() > 1e-3  # which patch is the first one matters


def test_the_loss_is_the_mean_over_pairs_and_images(tiny, tiny_batch):
    method, views, params, state = prepare(tiny("context_prediction"), tiny_batch(4))
    loss, (outputs, _) = loss_and_outputs(method, views, params, state)
    logits, target = np.asarray(outputs["logits"], np.float64), np.asarray(views["target"])
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    assert float(loss) == pytest.approx(-np.log(np.take_along_axis(shares, target[..., None], -1)).mean(), rel=1e-5)
    _, _, metrics = method.objective(params, outputs, state, PROGRESS, None)
    told = logits.argmax(-1) == target
    assert float(metrics["context_top1"]) == pytest.approx(told.mean())
    of_directions = [float(metrics[f"context_top1_{name}"]) for name in puzzle.NAMES]
    np.testing.assert_allclose(of_directions, [told[target == d].mean() for d in range(8)], rtol=1e-6)
    assert float(metrics["chance_loss"]) == pytest.approx(np.log(8))


@pytest.mark.parametrize(("pairs", "guess"), [("each", 1 / 8), ("all", 1 / 6)])
def test_the_baseline_is_the_best_guess(pairs, guess, tiny, tiny_batch):
    config = tiny("context_prediction")
    config.method.pairs = pairs
    method, views, params, state = prepare(config, tiny_batch(4))
    assert float(method.baselines(views, {})["context_top1 of a guess"]) == pytest.approx(guess)


def test_features_are_the_mean_of_an_inner_layer_unless_another_is_asked_for(tiny, tiny_batch):
    config, batch = tiny("context_prediction"), tiny_batch(2)
    method, _, params, state = prepare(config, batch)
    inputs = {"image": batch["image"]}
    maps = method.encode(params, state, inputs, layer="stage_2")
    np.testing.assert_allclose(method.encode(params, state, inputs), maps.mean((1, 2)), rtol=1e-5)
    config.method.layer = ""
    assert methods.build(config).encode(params, state, inputs).shape == (2, 32)


def test_pictures_are_puzzles_given_solved_and_true(tiny, tiny_batch):
    method, views, params, state = prepare(tiny("context_prediction"), tiny_batch(3))
    (picture,) = method.pictures(params, state, views, jax.random.key(0)).values()
    side = 2 * (3 + 1)
    assert picture.dtype == np.uint8 and picture.shape == (3 * (side + 2), 3 * (side + 2), 3)
    columns = picture.reshape(3, side + 2, 3, side + 2, 3).swapaxes(1, 2)[:, :, :side, :side]
    tiles = columns.reshape(3, 3, 2, 4, 2, 4, 3).swapaxes(3, 4).reshape(3, 3, 4, -1)
    for given, solved, true in tiles:  # the same patches, in other places
        assert sorted(map(tuple, given)) == sorted(map(tuple, solved)) == sorted(map(tuple, true))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method.patch": 4}, "10 pixels on a side, but views have config.augment.size = 8"),
        ({"method.grid": 1}, "2 or more patches"),
        ({"method.pairs": "some"}, "config.method.pairs is 'some'"),
        ({"method.pairs": "centre"}, "'centre' with a grid of 3"),
        ({"method.normalise": "std"}, "config.method.normalise is 'std'"),
        ({"method.colours": "grey"}, "config.method.colours is 'grey'"),
        ({"model.head.output_dim": 9}, "output_dim is 9; expected 8"),
        ({"method.layer": "conv_5"}, "method.layer is 'conv_5'; expected '' or one of stem, stage_1, stage_2"),
    ],
)
def test_wrong_settings_are_refused(tiny, changes, message):
    config = tiny("context_prediction")
    config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=message):
        methods.build(config)
