"""CPC for sound: what contexts see, the loss, padding, features, metrics, pictures, the variant, wrong settings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import methods
from ssl_jax.evaluation.features import grid_pooled
from ssl_jax.models.audio import Audio
from ssl_jax.train import parallel
from ssl_jax.tuning import pooled_by
from tests.methods.by_hand import PROGRESS, loss_and_outputs, prepare

FRAMES, HOP, STEPS = 15, 200, 3


@pytest.fixture
def made(tiny, own_batch):
    """`made(**changes)`: the method on a batch of four windows."""

    def make(**changes):
        config = tiny("cpc_audio")
        config.train.batch_size = 4
        config.update_from_flattened_dict({"method.groups": 1} | changes)
        return prepare(config, own_batch(config, 4)[0])

    return make


@pytest.mark.parametrize(("strides", "cell"), [((2, 2), "gru"), ((3, 1), "lstm")])
def test_contexts_see_no_sample_that_is_new_in_a_later_frame(strides, cell, key):
    """Through gradients: of every sample by every frame and every context."""
    kernels = (4, 3)
    network = Audio(6, kernels, strides, "channel", cell, 5, jnp.float32)
    hop, audio = int(np.prod(strides)), jax.random.normal(key, (1, 24))
    params = network.init(key, audio)

    def seen(layer):
        total = lambda x: jnp.sum(jnp.abs(network.apply(params, x, layer=layer)[0]), axis=-1)  # noqa: E731
        gradient = jax.jit(jax.jacobian(total))(audio)
        return np.abs(np.asarray(gradient[:, 0])) > 0

    frames, contexts = seen("frames"), seen("context")
    front = -(-(kernels[1] - strides[1]) // 2) * strides[0] + -(-(kernels[0] - strides[0]) // 2)
    field = (kernels[1] - 1) * strides[0] + kernels[0]
    for t in range(24 // hop):
        allowed = np.arange(24) - (t * hop - front)
        assert not frames[t][(allowed < 0) | (allowed >= field)].any()
        assert not contexts[t][allowed >= field].any()
        assert contexts[t][: max(t * hop - front, 0)].any() or t < 2  # and they do see the past


def test_predictions_do_not_depend_on_the_frames_that_they_predict(made):
    """The gradient of what is predicted from c_t, by the frames: 0 after t."""
    method, views, params, state = made(**{"data.short": "join"})
    outputs, _ = method.embed(params, state, views, jax.random.key(2), PROGRESS, None)
    assert outputs["prediction"].shape == (4, STEPS, FRAMES - STEPS, 32) and outputs["targets"].shape == (4, FRAMES, 32)
    audio, t = views["view_0"], 4
    first_new = (t + 1) * HOP + 50 + 5 * 40  # behind all that frame t sees: its field of 50 + 5 x 40 samples
    changed = views | {"view_0": audio.at[:, first_new:].set(0.5)}
    other, _ = method.embed(params, state, changed, jax.random.key(2), PROGRESS, None)
    np.testing.assert_array_equal(other["prediction"][:, :, : t + 1], outputs["prediction"][:, :, : t + 1])
    assert (other["targets"][:, t + 3] != outputs["targets"][:, t + 3]).any()
    assert (other["prediction"][:, :, t + 4] != outputs["prediction"][:, :, t + 4]).any()


@pytest.mark.parametrize("negatives", ["both", "sequence", "batch"])
def test_the_loss_is_log_bilinear_infonce(negatives, made):
    method, views, params, state = made(**{"method.negatives": negatives})
    loss, (outputs, _) = loss_and_outputs(method, views, params, state)
    z, valid = np.asarray(outputs["targets"], np.float64), np.asarray(outputs["valid"])
    _, context = Audio(32, (50, 6), (40, 5), "channel", "gru", 8, jnp.float32).apply(
        {"params": params["encoder"]}, views["view_0"], layer="both"
    )
    c = np.asarray(context, np.float64)
    matrices = np.asarray(params["prediction"]["steps"]["kernel"], np.float64).reshape(8, STEPS, 32)
    by_step = []
    for k in range(1, STEPS + 1):
        found = []
        for i in range(4):
            for t in range(FRAMES - STEPS):
                if valid[i, t] and valid[i, t + k]:
                    scores = np.exp(np.einsum("c,cd,jud->ju", c[i, t], matrices[:, k - 1], z)) * valid
                    positive, own = scores[i, t + k], np.arange(4)[:, None] == i
                    scores = scores * {"both": 1, "sequence": own, "batch": ~own}[negatives]
                    scores[i, t + k] = 0
                    found.append(-np.log(positive / (positive + scores.sum())))
        by_step.append(np.mean(found))
    assert not valid.all()
    assert float(loss) == pytest.approx(np.mean(by_step), rel=1e-4)


def test_features_are_those_of_the_clip_without_its_padding(made):
    method, views, params, state = made()
    audio, length = np.asarray(views["view_0"][:1]), 7 * HOP
    padded = {"audio": jnp.asarray(np.pad(audio[:, :length], ((0, 0), (0, 5 * HOP)))), "length": jnp.array([length])}
    cut = {"audio": jnp.asarray(np.pad(audio[:, :length], ((0, 0), (0, HOP)))), "length": jnp.array([length])}
    found = method.encode(params, state, padded)
    assert found.shape == (1, 8) and found.dtype == jnp.float32
    np.testing.assert_allclose(found, method.encode(params, state, cut), rtol=1e-5)
    context = method.encode(params, state, padded, layer="context")
    assert context.shape == (1, 12, 8) and method.encode(params, state, padded, layer="frames").shape == (1, 12, 32)
    np.testing.assert_allclose(found, context[:, :7].mean(axis=1), rtol=1e-5)
    with pytest.raises(ValueError, match="no layer 'block'; the layers are frames, context"):
        method.encode(params, state, padded, layer="block")
    pooled = pooled_by(method, "context", grid_pooled, parallel.make("shard_map", 1, 1))
    np.testing.assert_allclose(pooled(params, state, padded), found, rtol=1e-5)
    np.testing.assert_allclose(pooled(params, state, cut), found, rtol=1e-5)


def test_negatives_of_a_speaker_need_speakers(made):
    example = {"audio": np.zeros(3_000, np.float32), "length": np.int32(3_000), "index": np.int32(0)}
    method, *_ = made(**{"method.same_speaker": True})
    with pytest.raises(ValueError, match="same_speaker is True and the data have no `speaker`"):
        method.views(jax.random.key(0), example)


def test_a_guess_stands_beside_the_accuracy_of_every_step(made):
    method, views, params, state = made()
    outputs, new = method.embed(params, state, views, jax.random.key(2), PROGRESS, None)
    _, _, metrics = method.objective(params, outputs, new, PROGRESS, None)
    names = {f"accuracy_{k}" for k in range(1, STEPS + 1)}
    assert metrics.keys() == names | {"chance_loss"}
    guess = method.baselines(views, outputs)
    assert guess.keys() == names | {"loss"} and guess["loss"] == pytest.approx(float(metrics["chance_loss"]))
    frames = int(outputs["valid"].sum())
    assert guess["accuracy_1"] == pytest.approx(1 / frames) and guess["loss"] == pytest.approx(np.log(frames), rel=1e-5)


def test_pictures_show_every_step_below_the_spectrogram(made):
    method, views, params, state = made()
    (picture,) = method.pictures(params, state, views, jax.random.key(2)).values()
    height = 64 + 4 * (STEPS + 1)
    assert picture.dtype == np.uint8 and picture.shape == (4 * height, 4 * FRAMES, 3)
    told = np.asarray(picture[64 : 64 + 4 * STEPS, :, 0])
    assert set(np.unique(told)) <= {0, 128, 255} and (told[:, -4 * STEPS :] == 128).all()


def test_the_variant_draws_negatives_and_drops_in_training_alone(made, key):
    changes = {"model.prediction": "transformer", "model.context": 32, "model.cell": "lstm", "method.drawn": 9}
    method, views, params, state = made(**changes | {"method.score": "mean", "method.same_speaker": True})
    embed = lambda key, train: method.embed(params, state, views, key, PROGRESS, None, train=train)[0]  # noqa: E731
    first, again, held_out = embed(key, True), embed(key, True), embed(key, False)
    other = embed(jax.random.key(7), True)
    np.testing.assert_array_equal(first["drawn"], again["drawn"])
    np.testing.assert_array_equal(first["prediction"], again["prediction"])
    for name in ("drawn", "prediction"):
        assert (first[name] != other[name]).any()
    assert (first["prediction"] != held_out["prediction"]).any()
    np.testing.assert_array_equal(held_out["prediction"], embed(jax.random.key(7), False)["prediction"])
    loss, _, _ = method.objective(params, first, state, PROGRESS, None)
    assert np.isfinite(float(loss)) and float(loss) < np.log(10) + 1
    assert "9 drawn from frames" in method.describe(4)["negatives"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model.norm": "batch"},
            "'batch'; expected one of none, channel: batch norm is refused, since its statistics",
        ),
        ({"model.cell": "rnn"}, "config.model.cell is 'rnn'"),
        ({"model.kernels": (3, 6)}, "no kernel below its stride"),
        ({"method.steps": 15}, "15 and config.data.window has 15 frames of 200 samples"),
        ({"method.negatives": "all"}, "expected one of both, sequence, batch"),
        ({"method.groups": 3}, "config.method.groups is 3 and config.train.batch_size 4"),
        ({"method.groups": 4, "method.negatives": "batch"}, "of two windows or more"),
        ({"model.prediction": "transformer"}, "which is 8, as wide as config.model.channels, 32"),
        ({"model": {"name": "resnet"}}, "expected 'audio'"),
    ],
)
def test_wrong_settings_are_refused(changes, message, tiny):
    config = tiny("cpc_audio")
    config.train.batch_size = 4
    if "model" in changes:
        config.model = tiny("simclr").model
    else:
        config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=message):
        methods.build(config)
