"""Split brain: each half sees its own channels alone, the losses are the paper's, features, baselines, pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import methods
from ssl_jax.data import sources
from ssl_jax.methods.parts import colour
from tests.methods.by_hand import loss_and_outputs, prepare


@pytest.fixture
def made(tiny, own_batch):
    """`made(loss)`: the parts of the smallest recipe on shapes."""

    def make(loss="classification"):
        config = tiny("split_brain")
        config.method.loss = loss
        return prepare(config, own_batch(config, 4)[0])

    return make


def test_each_half_sees_its_own_channels_alone(made):
    method, views, params, state = made()

    def prediction(lab, half):
        found = method.embed(params, state, views | {"view_0": lab}, jax.random.key(2), None, None)[0]
        return jnp.sum(found[half]["prediction"] ** 2)

    for half, mine in (("lightness", [True, False, False]), ("colour", [False, True, True])):
        seen = np.abs(jax.grad(prediction)(views["view_0"], half)).max((0, 1, 2))
        np.testing.assert_array_equal(seen > 0, mine)


def test_classification_is_cross_entropy_of_one_bin_of_each(made):
    method, views, params, state = made()
    loss, (outputs, _) = loss_and_outputs(method, views, params, state)
    lab = np.asarray(views["view_0"], np.float64)[:, ::2, ::2]
    distances = ((lab[..., None, 1:] - colour.BINS) ** 2).sum(-1)
    bins = {"lightness": distances.argmin(-1), "colour": np.minimum(lab[..., 0] // 2, 49).astype(int)}
    expected = 0
    for half, truth in bins.items():
        logits = np.asarray(outputs[half]["prediction"], np.float64)
        log_shares = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        expected -= np.take_along_axis(log_shares, truth[..., None], -1).mean()
    assert loss == pytest.approx(expected, rel=1e-5)
    assert [outputs[half]["prediction"].shape[-1] for half in bins] == [313, 50]


def test_regression_is_half_of_the_squared_distance(made):
    method, views, params, state = made("regression")
    loss, (outputs, _) = loss_and_outputs(method, views, params, state)
    lab = np.asarray(views["view_0"], np.float64)[:, ::2, ::2]
    wanted = {"lightness": lab[..., 1:] / 110, "colour": (lab[..., :1] - 50) / 50}
    errors = [np.asarray(outputs[half]["prediction"]) - true for half, true in wanted.items()]
    assert loss == pytest.approx(sum((error**2).sum(-1).mean() / 2 for error in errors), rel=1e-4)
    found = method.baselines(views, outputs)
    assert found["colour_loss of the mean"] == pytest.approx(wanted["lightness"].var((0, 1, 2)).sum() / 2, rel=1e-4)


def test_baselines_are_the_best_constants(made):
    method, views, params, state = made()
    _, (outputs, _) = loss_and_outputs(method, views, params, state)
    found = method.baselines(views, outputs)
    bins = np.asarray(colour.nearest(outputs["lightness"]["wanted"]))
    shares = np.bincount(bins.ravel()) / bins.size
    assert found["colour_top1 of the modal bin"] == pytest.approx(shares.max())
    assert found["colour_loss of the prior"] == pytest.approx(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())


def test_features_are_those_of_both_halves(made):
    method, views, params, state = made()
    inputs = {"image": np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)}
    layer = {half: method.encode(params, state, inputs, layer=f"{half}:stage_2") for half in ("lightness", "colour")}
    both = method.encode(params, state, inputs)
    np.testing.assert_allclose(both, np.concatenate([found.mean((1, 2)) for found in layer.values()], -1), rtol=1e-5)
    assert not np.allclose(*layer.values())
    assert method.encode(params, state, inputs, layer="stage_1").shape == (2, 8, 8, 2 * both.shape[1] // 4)


@pytest.mark.parametrize("loss", ["classification", "regression"])
def test_pictures_show_what_each_half_predicts(made, loss):
    method, views, params, state = made(loss)
    (picture,) = method.pictures(params, state, views, jax.random.key(2)).values()
    assert picture.dtype == np.uint8 and picture.shape == (4 * 10, 4 * 10, 3)
    assert np.ptp(picture[:8, :8].astype(int), axis=-1).max() <= 2  # grey


def test_images_without_colour_are_not_trained_on(tiny, tiny_batch):
    config, grey = tiny("split_brain"), tiny_batch(4)["image"]
    with pytest.raises(ValueError, match="1 channel were given, and colour is what is predicted"):
        prepare(config, tiny_batch(4))
    for images, sentence in ((grey, "1 channel were given"), (grey.repeat(3, -1), "All images of data are grey")):
        source = sources.from_arrays({"image": images}, name="data")
        with pytest.raises(ValueError, match=sentence):
            methods.read(source, config, train=True)
        assert methods.read(source, config, train=False) is source  # features of grey images may be asked for
    source = sources.from_arrays({"image": tiny_batch(4, channels=3)["image"]})
    assert methods.read(source, config, train=True) is source


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"loss": "adversarial"}, "method.loss is 'adversarial'; expected 'classification' or 'regression'"),
        ({"stride": 0}, "method.stride is 0; expected 1 or more pixels"),
        ({"layer": "conv_3"}, "method.layer is 'conv_3'; expected one of stem, stage_1, stage_2, of one half alone"),
        ({"layer": "colour:conv_3"}, "method.layer is 'colour:conv_3'"),
        ({"layer": "ab:stage_2"}, "method.layer is 'ab:stage_2'; .* behind lightness: or colour:"),
    ],
)
def test_wrong_settings_are_refused(tiny, changes, sentence):
    config = tiny("split_brain")
    config.method.update(changes)
    with pytest.raises(ValueError, match=sentence):
        methods.build(config)


def test_features_of_one_half_can_be_the_rule(tiny):
    config = tiny("split_brain")
    config.method.layer = "lightness:stage_2"
    methods.build(config)
