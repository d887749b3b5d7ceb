"""Rotation prediction: exact rotations, their classes, the paper's loss, features of inner layers, pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import losses, methods
from ssl_jax.augment.rotation import rotate
from ssl_jax.methods import rotation
from tests.methods.by_hand import PROGRESS, loss_and_outputs, prepare


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_multiples_of_90_degrees_move_pixels_alone(degrees):
    image = np.random.default_rng(0).random((5, 5, 3), np.float32)
    np.testing.assert_array_equal(rotate(jnp.asarray(image), degrees), np.rot90(image, degrees // 90))


def test_other_angles_turn_the_same_way():
    """A spot right of the centre goes to the upper right by 45 degrees; twice 45 is nearly 90."""
    image = jnp.zeros((9, 9, 1)).at[4, 7, 0].set(1.0)
    y, x = np.argwhere(np.asarray(rotate(image, 45))[..., 0] > 0.2).mean(axis=0)
    assert (y, x) == (pytest.approx(4 - 3 / 2**0.5, abs=0.3), pytest.approx(4 + 3 / 2**0.5, abs=0.3))
    spot = np.argwhere(np.asarray(rotate(image, 90))[..., 0] > 0.5)
    assert spot.tolist() == [[1, 4]]


def test_images_that_are_not_square_are_refused():
    with pytest.raises(ValueError, match="square ones are needed"):
        rotate(jnp.zeros((4, 5, 1)), 90)
    assert rotate(jnp.zeros((4, 5, 1)), 180).shape == (4, 5, 1)


@pytest.mark.parametrize(("angles", "degrees"), rotation.SETS.items())
def test_every_image_is_shown_by_all_angles_of_a_set(angles, degrees, tiny, tiny_batch):
    config, batch = tiny("rotation"), tiny_batch(2)
    config.method.angles = angles
    views = methods.build(config).views
    made = jax.vmap(views)(jax.random.split(jax.random.key(0), 2), batch)
    assert made["view_0"].shape[:2] == (2, len(degrees)) and made["target"].tolist() == 2 * [list(range(len(degrees)))]
    if degrees[0] == 0:  # one crop for all copies
        for copy, angle in zip(made["view_0"][0], degrees, strict=True):
            np.testing.assert_allclose(copy, rotate(made["view_0"][0, 0], angle), atol=1e-6)


def test_or_by_one_random_angle(tiny, tiny_batch):
    config, batch = tiny("rotation"), tiny_batch(64)
    config.method.copies, config.augment.pad = "one", 0
    made = jax.vmap(methods.build(config).views)(jax.random.split(jax.random.key(0), 64), batch)
    assert made["view_0"].shape[1] == 1 and set(made["target"].ravel().tolist()) == {0, 1, 2, 3}
    upright = [rotate(view, -90 * int(k)) for view, k in zip(made["view_0"][:, 0], made["target"][:, 0], strict=True)]
    config.method.copies = "all"
    all_copies = jax.vmap(methods.build(config).views)(jax.random.split(jax.random.key(0), 64), batch)
    np.testing.assert_array_equal(jnp.stack(upright), all_copies["view_0"][:, 0])


def test_the_loss_is_the_mean_over_copies_and_images(tiny, tiny_batch):
    method, views, params, state = prepare(tiny("rotation"), tiny_batch(4))
    loss, (outputs, _) = loss_and_outputs(method, views, params, state)
    logits = np.asarray(outputs["logits"], np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = -np.mean([np.log(shares[b, k, k]) for b in range(4) for k in range(4)])
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_held_out_images_leave_the_statistics_as_they_are(tiny, tiny_batch):
    method, views, params, state = prepare(tiny("rotation"), tiny_batch(4))
    outputs, same = method.embed(params, state, views, jax.random.key(2), PROGRESS, None, train=False)
    assert jax.tree.all(jax.tree.map(lambda a, b: a is b, same, state))
    fewer, _ = method.embed(
        params, state, jax.tree.map(lambda x: x[:2], views), jax.random.key(2), PROGRESS, None, train=False
    )
    np.testing.assert_allclose(fewer["logits"], outputs["logits"][:2], atol=1e-5)  # no row looks at another one


def test_features_are_an_inner_layer_unless_another_is_asked_for(tiny, tiny_batch):
    config, batch = tiny("rotation"), tiny_batch(2)
    method, _, params, state = prepare(config, batch)
    inputs = {"image": batch["image"]}
    inner = method.encode(params, state, inputs, layer="stage_2")
    assert inner.ndim == 4
    grid = config.method.grid
    np.testing.assert_array_equal(method.encode(params, state, inputs), rotation.max_pooled(inner, grid))
    config.method.layer = ""
    assert methods.build(config).encode(params, state, inputs).shape == (2, 32)


def test_pictures_are_the_images_and_a_row_for_each_layer(tiny, tiny_batch):
    method, views, params, state = prepare(tiny("rotation"), tiny_batch(3))
    picture = np.asarray(method.pictures(params, state, views, jax.random.key(0))["attention"])
    assert picture.dtype == np.uint8 and picture.shape == (8 * 4, 8 * 3, 3)
    assert all(picture[8 * i : 8 * i + 8].std() > 0 for i in range(4))


@pytest.mark.parametrize(("key", "value"), [("angles", "5"), ("copies", "some")])
def test_unknown_options_are_refused(key, value, tiny):
    config = tiny("rotation")
    config.method[key] = value
    with pytest.raises(ValueError, match=f"config.method.{key} is '{value}'"):
        methods.build(config)


def test_cross_entropy_of_labels_and_weights(x64):
    numbers = np.random.default_rng(0)
    logits, labels = numbers.normal(size=(6, 3, 5)) * 4, numbers.integers(0, 5, (6, 3))
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    rows = -np.log(np.take_along_axis(shares, labels[..., None], -1)[..., 0]).mean(axis=1)
    np.testing.assert_allclose(losses.cross_entropy(logits, labels, reduction="none"), rows, rtol=1e-12)
    weights = numbers.random(6)
    found = losses.cross_entropy(logits, labels, weights=weights)
    assert float(found) == pytest.approx(np.sum(weights * rows) / weights.sum(), rel=1e-12)
    gradient = jax.grad(lambda logits: losses.cross_entropy(logits, labels))(jnp.asarray(logits))
    np.testing.assert_allclose(gradient, (shares - np.eye(5)[labels]) / 18, rtol=1e-9, atol=1e-12)
    assert losses.cross_entropy(logits.astype(np.float16), labels).dtype == jnp.float32
    with pytest.raises(ValueError, match="one label for each row"):
        losses.cross_entropy(logits, labels[:, :2])
