"""Autoencoders: the bound and its baseline by hand, noise, what encode gives, pictures, wrong settings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import losses, methods
from ssl_jax.augment.corruption import corrupt, dequantise
from tests.methods.by_hand import PROGRESS, loss_and_outputs, prepare


@pytest.fixture
def parts(tiny, tiny_batch):
    config = tiny("autoencoder")
    config.method.beta = 1.0
    return prepare(config, tiny_batch(4))


def test_the_loss_is_the_negative_bound_and_bits_are_those_of_grey_levels(parts):
    method, views, params, state = parts
    params["likelihood"] = {"log_scale": jnp.array([-0.5])}
    loss, (outputs, new) = loss_and_outputs(method, views, params, state)
    metrics = method.objective(params, outputs, new, PROGRESS, None)[2]
    target, prediction, mu, log_variance = (
        np.asarray(outputs[name], np.float64) for name in ("target", "prediction", "mu", "log_variance")
    )
    kl = 0.5 * np.sum(mu**2 + np.exp(log_variance) - 1 - log_variance, axis=1).mean()
    # In grey levels: views are (x - 0.5) / 0.5, so that a deviation s is one of 128 s levels.
    scale, errors = 128 * np.exp(-0.5), 128 * (target - prediction)
    density = -0.5 * (errors / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)
    bits = (kl - density.sum((1, 2, 3)).mean()) / (64 * np.log(2))
    assert metrics["kl"] == pytest.approx(kl, rel=1e-4)
    assert metrics["bits_per_dim"] == pytest.approx(bits, rel=1e-5)
    assert loss == pytest.approx(bits * np.log(2) - np.log(128), rel=1e-4)
    levels = 128 * target + 128
    nats = 0.5 * np.log(2 * np.pi * np.e * levels.var(axis=0))
    found = method.baselines(views, outputs)["bits_per_dim of a factorised Gaussian"]
    assert found == pytest.approx(nats.mean() / np.log(2), rel=1e-5)


def test_codes_are_drawn_from_the_posterior_and_encode_gives_its_mean(parts, tiny_batch):
    method, views, params, state = parts
    first, second = (
        method.embed(params, state, views, jax.random.key(k), PROGRESS, None, train=False)[0] for k in (2, 3)
    )
    np.testing.assert_array_equal(first["mu"], second["mu"])
    assert np.abs(first["prediction"] - second["prediction"]).max() > 0
    features = method.encode(params, state, {"image": jnp.asarray(tiny_batch(4)["image"])})
    assert features.shape == (4, 4)
    np.testing.assert_allclose(features, first["mu"], atol=0.1)  # views add the noise of one grey level


def test_the_divergence_counts_as_often_as_beta_says(tiny, tiny_batch):
    config, found = tiny("autoencoder"), []
    for beta in (1.0, 4.0):
        config.method.beta = beta
        method, views, params, state = prepare(config, tiny_batch(4))
        loss, (outputs, new) = loss_and_outputs(method, views, params, state)
        found.append((loss, method.objective(params, outputs, new, PROGRESS, None)[2]["kl"]))
    assert found[1][0] - found[0][0] == pytest.approx(3 * float(found[0][1]) / 64, rel=1e-4)


def test_a_denoising_one_sees_noise_and_is_asked_for_the_image(tiny, tiny_batch):
    config = tiny("autoencoder")
    config.method.kind = "denoising"
    method, views, params, state = prepare(config, tiny_batch(4))
    loss, (outputs, _) = loss_and_outputs(method, views, params, state)
    np.testing.assert_array_equal(outputs["target"], views["view_0"])
    assert loss == pytest.approx(float(np.mean((outputs["prediction"] - outputs["target"]) ** 2)), rel=1e-5)
    assert np.std((views["noisy"] - views["view_0"]) / 2) == pytest.approx(0.2, rel=0.2)
    noisy = method.embed(params, state, views | {"noisy": views["view_0"]}, jax.random.key(2), PROGRESS, None)[0]
    assert np.abs(noisy["prediction"] - outputs["prediction"]).max() > 0
    assert method.baselines(views, outputs)["psnr of the noisy image"] == pytest.approx(14, abs=1)  # 0.2^2
    assert set(params) == {"encoder", "decoder"}
    assert method.pictures(params, state, views, jax.random.key(0))["denoising"].shape == (40, 30, 3)


def test_noise_is_of_its_kind(key):
    image = jnp.full((64, 64, 1), 0.25)
    for kind, values in (("masking", {0.0, 0.25}), ("salt_and_pepper", {0.0, 0.25, 1.0})):
        noisy = np.asarray(corrupt(key, image, kind=kind, level=0.4))
        assert set(np.unique(noisy)) == values and (noisy != 0.25).mean() == pytest.approx(0.4, abs=0.03)
        assert kind == "masking" or (noisy == 1).mean() == pytest.approx(0.2, abs=0.02)
    assert np.std(corrupt(key, image, kind="gaussian", level=0.4)) == pytest.approx(0.4, rel=0.05)
    with pytest.raises(ValueError, match="kind of noise"):
        corrupt(key, image, kind="snow")
    for between in (10, 9.6, 10.4):  # views that are resampled are between grey levels
        levels = np.asarray(dequantise(key, jnp.full((64, 64, 1), between / 255))) * 256
        assert levels.min() >= 10 - 1e-4 and levels.max() < 11 + 1e-4
        assert levels.std() == pytest.approx(12**-0.5, rel=0.05)


def test_pictures_of_a_vae(parts):
    method, views, params, state = parts
    found = method.pictures(params, state, views, jax.random.key(0))
    shapes = {name: picture.shape for name, picture in found.items()}
    assert shapes == {"reconstruction": (40, 20, 3), "samples": (40, 80, 3), "interpolation": (40, 80, 3)}
    interpolation = found["interpolation"]
    np.testing.assert_array_equal(
        interpolation[:8, :8], interpolation[10:18, 70:78]
    )  # from each image to the one before
    assert len({picture[:8, :8].tobytes() for picture in np.split(found["samples"], 8, axis=1)}) == 8


NOISE = {"method.kind": "denoising"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"method.kind": "sparse"}, "expected 'denoising' or 'vae'"),
        ({"model.decoder.channels": (8,) * 4}, "a multiple of 16"),
        ({"augment.mean": None}, "that of every channel"),
        ({"method.beta": -1.0}, "method.beta is -1.0; expected a weight from 0 on"),
        ({"model.posterior.output_dim": 7}, "posterior.output_dim is 7; expected an even number"),
        (NOISE | {"method.noise": "snow"}, "method.noise is 'snow'; expected one of masking, gaussian"),
        (NOISE | {"method.level": -0.1}, "method.level is -0.1; expected a deviation from 0 on"),
        (NOISE | {"method.noise": "masking", "method.level": 1.0}, r"level is 1.0; expected the share .* in \[0, 1\)"),
        (NOISE | {"method.noise": "salt_and_pepper", "method.level": -0.1}, "level is -0.1; expected the share"),
    ],
)
def test_wrong_settings_get_one_sentence(changes, sentence, tiny):
    config = tiny("autoencoder")
    with config.ignore_type():
        config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=sentence):
        methods.build(config)


def test_mirror_images_and_shifts_have_the_grey_levels_of_images(tiny, tiny_batch):
    config, batch = tiny("autoencoder"), tiny_batch(4)
    config.augment.update(flip_probability=0.5, pad=1)
    views = np.asarray(prepare(config, batch)[1]["view_0"], np.float64)
    levels = np.floor(128 * views + 128 + 1e-4)  # views are (x - 0.5) / 0.5 of dequantised x
    assert set(np.unique(levels)) <= {0, *np.unique(batch["image"])}


def test_losses_on_devices_with_unequal_weight(x64):
    rng = np.random.default_rng(0)
    mu, log_variance, weights = rng.normal(size=(8, 3)), rng.normal(size=(8, 3)), rng.random(8)
    prediction, target, log_scale = rng.normal(size=(8, 2, 2, 3)), rng.normal(size=(8, 2, 2, 3)), rng.normal(size=3)
    scale = np.exp(log_scale)
    nll = np.sum(((target - prediction) / scale) ** 2 / 2 + np.log(scale * np.sqrt(2 * np.pi)), axis=(1, 2, 3))
    kl = 0.5 * np.sum(mu**2 + np.exp(log_variance) - 1 - log_variance, axis=1)
    found = {
        "nll": (losses.gaussian_nll, (prediction, target), (log_scale,), nll),
        "kl": (losses.gaussian_kl, (mu, log_variance), (), kl),
    }
    for loss, rows, shared, expected in found.values():
        np.testing.assert_allclose(loss(*rows, *shared, reduction="none"), expected, rtol=1e-12)
        shards = [jnp.asarray(x).reshape(4, 2, *x.shape[1:]) for x in (*rows, weights)]
        parts = jax.vmap(
            lambda x, y, w, loss=loss, shared=shared: loss(x, y, *shared, weights=w, axis_name="data"),
            axis_name="data",
        )(*shards)
        assert parts.mean() == pytest.approx(np.sum(weights * expected) / weights.sum(), rel=1e-12)
    with pytest.raises(ValueError, match="one scale a channel"):
        losses.gaussian_nll(prediction, target, log_scale[:2])
