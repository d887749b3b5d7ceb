"""Colorization: lightness alone is seen, the loss is the paper's, baselines, pictures, photographs, wrong settings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import methods
from ssl_jax.augment.lab import rgb_to_lab
from ssl_jax.methods.parts import colour
from tests.methods.by_hand import loss_and_outputs, prepare


@pytest.fixture
def made(tiny, own_batch):
    """`made(**method_keys)`: the parts of the smallest recipe on shapes, its facts and its config."""

    def make(**keys):
        config = tiny("colorization")
        config.method.update(keys)
        batch, facts = own_batch(config, 4)
        return *prepare(config, batch, facts), facts, config

    return make


def test_the_network_sees_lightness_alone(made):
    method, views, params, state, *_ = made()

    def outputs(lab, name):
        found = method.embed(params, state, views | {"view_0": lab}, jax.random.key(2), None, None)[0]
        return jnp.sum(found[name] ** 2)

    for name in ("prediction", "features"):
        seen = np.abs(jax.grad(outputs)(views["view_0"], name)).max((0, 1, 2))
        assert seen[0] > 0 and (seen[1:] == 0).all(), name


@pytest.mark.parametrize("keys", [{}, {"grey": 60.0}, {"uniform": 1.0}])
def test_the_loss_is_equation_2_with_the_weights_of_equation_4(made, keys):
    method, views, params, state, facts, config = made(**keys)
    loss, (outputs, _) = loss_and_outputs(method, views, params, state)
    ab = np.asarray(views["view_0"], np.float64)[:, ::2, ::2, 1:]
    logits = np.asarray(outputs["prediction"], np.float64)
    target = np.asarray(colour.soft_encode(jnp.asarray(ab, jnp.float32), 5, 5.0), np.float64)
    cross_entropy = -(target * (logits - np.log(np.exp(logits).sum(-1, keepdims=True)))).sum(-1)
    weights = colour.rebalancing(facts, 5.0, config.method.uniform)[target.argmax(-1)]
    counted = np.abs(ab).max((1, 2, 3)) > config.method.grey
    assert 0 < counted.sum() and (counted.sum() < 4) == (config.method.grey == 60)
    assert loss == pytest.approx(np.mean(cross_entropy * weights * counted[:, None, None]), rel=1e-4)
    metrics = method.objective(params, outputs, state, None, None)[2]
    assert metrics["cross_entropy"] == pytest.approx(cross_entropy.mean(), rel=1e-4)


def test_balanced_accuracy_is_that_of_places_by_the_inverse_share_of_their_colour(made):
    method, views, params, state, facts, _ = made()
    _, (outputs, _) = loss_and_outputs(method, views, params, state)
    truth = np.asarray(colour.nearest(outputs["colour"]))
    told = np.where(np.random.default_rng(0).random(truth.shape) < 0.5, truth, 0)
    share = np.asarray(facts["histogram"], np.float64)[truth]
    weights = np.where(share >= 1e-4, 1 / np.maximum(share, 1e-4), 0)

    def balanced(bins):
        logits = jax.nn.one_hot(bins, 313)
        metrics = method.objective(params, outputs | {"prediction": logits}, state, None, None)[2]
        return metrics["balanced_top1"] / metrics["balanced_top1_weight"]

    assert balanced(truth) == pytest.approx(1, rel=1e-5)
    assert balanced(told) == pytest.approx((weights * (told == truth)).sum() / weights.sum(), rel=1e-4)
    assert set(method.baselines(views, outputs)) >= {"balanced_top1 of the modal bin"}


def test_regression_is_half_of_the_squared_distance(made):
    method, views, params, state, *_ = made(loss="regression")
    loss, (outputs, _) = loss_and_outputs(method, views, params, state)
    ab = np.asarray(views["view_0"], np.float64)[:, ::2, ::2, 1:]
    error = np.asarray(outputs["prediction"], np.float64) - ab / 110
    assert loss == pytest.approx(np.mean((error**2).sum(-1)) / 2, rel=1e-4)
    metrics = method.objective(params, outputs, state, None, None)[2]
    assert metrics["squared_error"] == pytest.approx(np.mean((error**2).sum(-1)) * 110**2, rel=1e-4)


def test_baselines_are_the_best_constants(made):
    method, views, params, state, facts, _ = made()
    _, (outputs, _) = loss_and_outputs(method, views, params, state)
    found = method.baselines(views, outputs)
    ab = np.asarray(outputs["colour"], np.float64)
    target = np.asarray(colour.soft_encode(outputs["colour"], 5, 5.0), np.float64)
    prior = np.log(np.maximum(facts["soft"], 1e-12))
    assert found["cross_entropy of the prior"] == pytest.approx(-(target * prior).sum(-1).mean(), rel=1e-4)
    modal = (target.argmax(-1) == facts["histogram"].argmax()).mean()
    assert found["top1 of the modal bin"] == pytest.approx(modal)
    distance = ((ab - facts["mean"]) ** 2).sum(-1).mean()
    assert found["squared_error of the mean colour"] == pytest.approx(distance, rel=1e-4)


def test_coarse_maps_are_brought_to_the_labels(made):
    method, views, params, state, *_ = made(stride=1)
    _, (outputs, _) = loss_and_outputs(method, views, params, state)
    assert outputs["prediction"].shape == (4, 8, 8, 313) and outputs["colour"].shape == (4, 8, 8, 2)


def test_features_are_of_any_layer_and_of_grey_images(made):
    method, views, params, state, *_ = made()
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    assert method.encode(params, state, {"image": images}).shape == (2, 32)
    assert method.encode(params, state, {"image": images}, layer="stage_1").shape == (2, 8, 8, 16)
    assert method.encode(params, state, {"image": images[..., :1]}).shape == (2, 32)


def test_pictures_show_grey_colours_and_the_truth(made):
    for loss, columns in (("classification", 5), ("regression", 3)):
        method, views, params, state, *_ = made(loss=loss)
        (picture,) = method.pictures(params, state, views, jax.random.key(2)).values()
        assert picture.dtype == np.uint8 and picture.shape == (4 * 10, columns * 10, 3)
        assert np.ptp(picture[:8, :8].astype(int), axis=-1).max() <= 2  # grey
        truth = colour.to_pixels(views["view_0"][..., :1], views["view_0"][..., 1:])
        np.testing.assert_array_equal(picture[:8, -10:-2], truth[0])


def test_photographs_keep_their_size_and_their_lightness(made):
    _, views, params, state, _, config = made()
    run = methods.load("colorization").colouriser(config)
    grey = np.random.default_rng(0).integers(60, 200, (1, 20, 31, 1), dtype=np.uint8)
    found = run(params, state, grey, 0.38)
    assert found.shape == (1, 20, 31, 3) and found.dtype == np.uint8
    lightness = [rgb_to_lab(jnp.float32(np.broadcast_to(x, found.shape) / 255))[..., 0] for x in (found, grey)]
    assert np.median(np.abs(lightness[0] - lightness[1])) < 0.5  # equal but where sRGB lacks the colour


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"method.loss": "huber"}, "method.loss is 'huber'; expected 'classification' or 'regression'"),
        ({"augment.mean": (0.5,), "augment.std": (0.5,)}, "augment.mean is set"),
        ({"method.map": "conv_8"}, "layer 'conv_8'"),
        ({"method.layer": "conv_7"}, "method.layer is 'conv_7'; expected one of stem, stage_1, stage_2"),
        ({"method.stride": 0}, "method.stride is 0; expected 1 or more pixels"),
        ({"method.neighbours": 0}, "method.neighbours is 0; expected 1 to 313 bins"),
        ({"method.neighbours": 314}, "method.neighbours is 314"),
        ({"method.sigma": 0.0}, "method.sigma is 0.0; expected a deviation above 0"),
        ({"method.uniform": 1.5}, r"method.uniform is 1.5; expected a share in \[0, 1\]"),
        ({"method.uniform": -0.1}, "method.uniform is -0.1"),
        ({"method.temperature": 0.0}, "method.temperature is 0.0; expected a number above 0"),
    ],
)
def test_wrong_settings_are_refused(tiny, own_batch, changes, message):
    config = tiny("colorization")
    batch, facts = own_batch(config, 4)
    config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=message):
        prepare(config, batch, facts)


def test_wrong_settings_are_refused_before_colours_are_counted(tiny, own_batch):
    config = tiny("colorization")
    config.method.neighbours = 0
    with pytest.raises(ValueError, match="method.neighbours is 0"):
        own_batch(config, 4)
