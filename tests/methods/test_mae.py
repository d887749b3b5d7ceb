"""MAE: what the encoder sees, which patches count, normalised targets, baselines, pictures, wrong settings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import methods
from ssl_jax.methods.parts import patches
from tests.methods.by_hand import PROGRESS, loss_and_outputs, prepare


@pytest.fixture
def parts(tiny, tiny_batch):
    return prepare(tiny("mae"), tiny_batch(4))


def test_patches_are_cut_and_joined():
    images = np.random.default_rng(0).normal(size=(2, 6, 9, 2))
    cut = patches.patchify(images, 3)
    assert cut.shape == (2, 6, 18)
    np.testing.assert_array_equal(cut[1, 4].reshape(3, 3, 2), images[1, 3:6, 3:6])
    np.testing.assert_array_equal(patches.unpatchify(cut, 3, 6, 9), images)


def test_targets_have_mean_0_and_unbiased_variance_1(x64):
    cut = np.random.default_rng(0).normal(3, 5, (2, 4, 12))
    mean, deviation = patches.statistics(jnp.asarray(cut))
    np.testing.assert_allclose(mean[..., 0], cut.mean(-1))
    np.testing.assert_allclose(deviation[..., 0], np.sqrt(cut.var(-1, ddof=1) + 1e-6))


def test_a_quarter_is_visible_by_a_random_order_of_each_example(parts):
    method, views, params, state = parts
    _, (outputs, _) = loss_and_outputs(method, views, params, state)
    masked = np.asarray(outputs["masked"])
    assert masked.shape == (4, 16) and (masked.sum(1) == 12).all()
    assert len({tuple(row) for row in masked}) > 1
    other, _ = method.embed(params, state, views, jax.random.key(3), PROGRESS, None)
    assert (other["masked"] != masked).any()
    order = np.asarray(patches.shuffled(jax.random.split(jax.random.key(0), 2000), 16))
    counts = np.bincount(order[:, :4].ravel(), minlength=16)
    assert (np.sort(order, axis=1) == np.arange(16)).all() and abs(counts / 2000 - 0.25).max() < 0.05
    assert (np.take_along_axis(order, np.asarray(patches.rank(order)), axis=1) == np.arange(16)).all()


def test_the_encoder_sees_visible_patches_and_the_loss_masked_ones_alone(parts):
    method, views, params, state = parts

    def embed(images):
        return method.embed(params, state, views | {"view_0": images}, jax.random.key(2), PROGRESS, None)[0]

    masked = np.asarray(embed(views["view_0"])["masked"])
    for name in ("prediction", "features"):
        gradient = jax.grad(lambda images, name=name: jnp.sum(embed(images)[name] ** 2))(views["view_0"])
        seen = np.abs(patches.patchify(gradient, 2)).max(-1) > 0
        np.testing.assert_array_equal(seen, ~masked)
    outputs = embed(views["view_0"])
    loss = lambda prediction: method.objective(  # noqa: E731
        params, outputs | {"prediction": prediction}, state, PROGRESS, None
    )[0]
    gradient = jax.grad(loss)(outputs["prediction"])
    np.testing.assert_array_equal(np.abs(gradient).max(-1) > 0, masked)


@pytest.mark.parametrize("normalise", [True, False])
def test_the_loss_is_the_papers(tiny, tiny_batch, normalise):
    config = tiny("mae")
    config.method.normalise = normalise
    method, views, params, state = prepare(config, tiny_batch(4))
    loss, (outputs, _) = loss_and_outputs(method, views, params, state)
    true = np.asarray(patches.patchify(views["view_0"], 2), np.float64)
    if normalise:
        true = (true - true.mean(-1, keepdims=True)) / np.sqrt(true.var(-1, ddof=1, keepdims=True) + 1e-6)
    error = (np.asarray(outputs["prediction"], np.float64) - true)[np.asarray(outputs["masked"])]
    assert loss == pytest.approx(np.mean(error**2), rel=1e-4)


def test_baselines_are_what_trivial_predictions_reach(parts):
    method, views, params, state = parts
    _, (outputs, _) = loss_and_outputs(method, views, params, state)
    found = method.baselines(views, outputs)
    wanted = np.asarray(outputs["target"], np.float64)[np.asarray(outputs["masked"])]
    assert found["loss of zero"] == pytest.approx(np.mean(wanted**2), rel=1e-5)
    assert set(found) == {"loss of zero", "loss of harmonic filling"}


def test_harmonic_filling_continues_a_gradient_and_keeps_what_is_visible():
    ramp = np.broadcast_to(np.linspace(0, 1, 16)[None, None, :, None], (1, 16, 16, 1)).astype(np.float32)
    hidden = np.zeros((1, 16, 16), bool)
    hidden[:, 5:11, 5:11] = True
    filled = patches.harmonic(jnp.asarray(ramp), jnp.asarray(hidden), steps=500)
    np.testing.assert_allclose(filled, ramp, atol=1e-4)  # a linear function is harmonic
    np.testing.assert_array_equal(filled[~hidden], ramp[~hidden])


def test_pictures_show_what_is_visible_what_is_predicted_and_the_truth(tiny, tiny_batch):
    config = tiny("mae")
    method, views, params, state = prepare(config, tiny_batch(4))
    (picture,) = method.pictures(params, state, views, jax.random.key(2)).values()
    assert picture.dtype == np.uint8 and picture.shape == (4 * 10, 3 * 10, 3)
    true = np.round(255 * (np.asarray(views["view_0"]) * config.augment.std[0] + config.augment.mean[0]))
    np.testing.assert_allclose(picture[:8, 20:28, 0], true[0, ..., 0], atol=1)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"method.mask_ratio": 1.0}, r"mask_ratio is 1.0 of 16 patches .* a ratio in \(0, 1\)"),
        ({"method.mask_ratio": 0.0}, "mask_ratio is 0.0"),
        ({"method.mask_ratio": 0.99}, "leaves some"),
        ({"model.patch_size": 3}, "patch_size 3"),
        ({"model.class_token": False, "model.pool": "mean"}, "class_token=True"),
        ({"model.decoder.heads": 3}, "decoder.heads is 3; expected a number of heads that divides .*width=64"),
        ({"model.decoder.heads": 0}, "decoder.heads is 0"),
        ({"model.decoder.depth": 0}, "decoder.depth is 0; expected 1 or more blocks"),
        ({"model.decoder.width": 62}, "decoder.width is 62; expected a multiple of 4"),
    ],
)
def test_wrong_settings_are_refused(tiny, changes, message):
    config = tiny("mae")
    config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=message):
        methods.build(config)
