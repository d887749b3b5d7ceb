"""The losses of generator and discriminator: the formulas, weights and devices, wrong arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import losses

RNG = np.random.default_rng(0)
REAL, FAKE, WEIGHTS = RNG.normal(size=(8, 3)), RNG.normal(size=(8, 3)), RNG.random(8)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_formulas(x64):
    tell = -np.log(sigmoid(REAL)) - np.log(1 - sigmoid(FAKE))
    deceive = -np.log(sigmoid(FAKE))
    assert losses.adversarial_discriminator(REAL, FAKE) == pytest.approx(tell.mean(), rel=1e-12)
    assert losses.adversarial_generator(FAKE) == pytest.approx(deceive.mean(), rel=1e-12)
    found = losses.adversarial_discriminator(REAL, FAKE, reduction="none")
    np.testing.assert_allclose(found, tell.mean(1), rtol=1e-12)
    weighted = losses.adversarial_generator(FAKE, weights=WEIGHTS)
    assert weighted == pytest.approx(np.sum(WEIGHTS * deceive.mean(1)) / WEIGHTS.sum(), rel=1e-12)
    gradient = jax.grad(lambda fake: losses.adversarial_generator(fake))(jnp.asarray(FAKE))
    np.testing.assert_allclose(gradient, (sigmoid(FAKE) - 1) / FAKE.size, rtol=1e-12)


def test_devices_with_unequal_weight(x64):
    whole = losses.adversarial_discriminator(REAL, FAKE, weights=WEIGHTS)
    shards = [jnp.asarray(x).reshape(4, 2, *x.shape[1:]) for x in (REAL, FAKE, WEIGHTS)]
    parts = jax.vmap(
        lambda real, fake, w: losses.adversarial_discriminator(real, fake, weights=w, axis_name="data"),
        axis_name="data",
    )(*shards)
    assert parts.mean() == pytest.approx(float(whole), rel=1e-12)


def test_certain_logits_are_finite():
    assert losses.adversarial_generator(jnp.full((1, 1), -1e4)) == 1e4
    assert losses.adversarial_discriminator(jnp.full((1, 1), 1e4), jnp.full((1, 1), -1e4)) == 0


def test_wrong_arguments_get_one_sentence():
    with pytest.raises(ValueError, match="real has shape"):
        losses.adversarial_discriminator(jnp.zeros((2, 1)), jnp.zeros((3, 1)))
    with pytest.raises(ValueError, match="fake has shape"):
        losses.adversarial_generator(jnp.zeros(3))
