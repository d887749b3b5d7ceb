"""Cross-entropy with distributions as targets: the formula and its gradient, weights, devices, wrong arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import losses


def draw(b=8, n=3, k=5):
    rng = np.random.default_rng(0)
    return rng.normal(size=(b, n, k)), rng.dirichlet(np.ones(k), (b, n)), rng.random((b, n)), rng.random(b)


def test_formula_and_gradient(x64):
    logits, targets, places, weights = draw()
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    by_place = -(targets * np.log(shares)).sum(-1)
    loss = lambda logits: losses.soft_cross_entropy(logits, targets, place_weights=places)  # noqa: E731
    value, gradient = jax.value_and_grad(loss)(jnp.asarray(logits))
    assert value == pytest.approx((places * by_place).mean(), rel=1e-12)
    np.testing.assert_allclose(gradient, places[..., None] * (shares - targets) / by_place.size, atol=1e-14)
    assert losses.soft_cross_entropy(logits, targets) == pytest.approx(by_place.mean(), rel=1e-12)
    rows = losses.soft_cross_entropy(logits, targets, place_weights=places, reduction="none")
    np.testing.assert_allclose(rows, (places * by_place).mean(1), rtol=1e-12)
    weighted = losses.soft_cross_entropy(logits, targets, weights=weights)
    assert weighted == pytest.approx((weights * by_place.mean(1)).sum() / weights.sum(), rel=1e-12)


def test_one_right_class_is_cross_entropy(x64):
    logits, _, _, _ = draw()
    labels = np.random.default_rng(1).integers(0, 5, (8, 3))
    soft = losses.soft_cross_entropy(logits, jax.nn.one_hot(labels, 5))
    assert soft == pytest.approx(float(losses.cross_entropy(logits, jnp.asarray(labels))), rel=1e-12)


def test_devices_hold_their_share(x64):
    logits, targets, places, weights = draw()
    loss = lambda logits, q, v, w, axis: losses.soft_cross_entropy(  # noqa: E731
        logits, q, place_weights=v, weights=w, axis_name=axis
    )
    one, gradient = jax.value_and_grad(loss)(jnp.asarray(logits), targets, places, weights, None)
    shards = [jnp.asarray(x.reshape(4, -1, *x.shape[1:])) for x in (logits, targets, places, weights)]
    many, sharded = jax.vmap(jax.value_and_grad(lambda *x: loss(*x, "data")), axis_name="data")(*shards)
    assert many.mean() == pytest.approx(float(one), rel=1e-12)
    np.testing.assert_allclose(sharded.reshape(gradient.shape) / 4, gradient, atol=1e-14)


def test_wrong_arguments_get_one_sentence():
    x = jnp.zeros((2, 3, 4))
    with pytest.raises(ValueError, match="one distribution for each row of logits"):
        losses.soft_cross_entropy(x, x[..., 0])
    with pytest.raises(ValueError, match="place_weights has shape"):
        losses.soft_cross_entropy(x, x, place_weights=jnp.ones(2))
