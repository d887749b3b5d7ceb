"""Negative sampling and hierarchical softmax: the formulas, their gradients, devices, wrong arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import losses


def log_sigmoid(x):
    return -np.log1p(np.exp(-np.asarray(x, np.float64)))


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def draw(b=8, k=5):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=b, scale=3), rng.normal(size=(b, k), scale=3)
    return *scores, (rng.random(b) < 0.7).astype(float), rng.random((b, k))


def test_negative_sampling_and_its_gradient(x64):
    positive, negative, weights, others = draw()
    loss = lambda p, n: losses.negative_sampling(p, n, weights=weights, negative_weights=others)  # noqa: E731
    value, (to_positive, to_negative) = jax.value_and_grad(loss, (0, 1))(*map(jnp.asarray, (positive, negative)))
    expected = -np.sum(weights * log_sigmoid(positive)) - np.sum(others * log_sigmoid(-negative))
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(to_positive, -weights * (1 - sigmoid(positive)), atol=1e-14)
    np.testing.assert_allclose(to_negative, others * sigmoid(negative), atol=1e-14)


def test_hierarchical_softmax_and_its_gradient(x64):
    _, scores, _, weights = draw()
    codes = np.random.default_rng(1).integers(0, 2, scores.shape)
    loss = lambda s: losses.hierarchical_softmax(s, codes, weights=weights)  # noqa: E731
    value, gradient = jax.value_and_grad(loss)(jnp.asarray(scores))
    assert value == pytest.approx(-np.sum(weights * log_sigmoid((1 - 2 * codes) * scores)), rel=1e-12)
    np.testing.assert_allclose(gradient, -weights * (1 - codes - sigmoid(scores)), atol=1e-14)  # as word2vec.c has it


@pytest.mark.parametrize("devices", [2, 8])
def test_devices_add_up_to_the_global_sum(x64, devices):
    arrays = draw()

    def loss(p, n, w, v, axis):
        both = losses.negative_sampling(p, n, weights=w, negative_weights=v, axis_name=axis)
        return both + losses.hierarchical_softmax(n, (v > 0.5).astype(int), weights=v, axis_name=axis)

    one, gradient = jax.value_and_grad(loss)(*map(jnp.asarray, arrays), None)
    shards = [jnp.asarray(x.reshape(devices, -1, *x.shape[1:])) for x in arrays]
    many, sharded = jax.vmap(jax.value_and_grad(lambda *args: loss(*args, "data")), axis_name="data")(*shards)
    assert many.mean() == pytest.approx(float(one), rel=1e-12)
    np.testing.assert_allclose(sharded.reshape(gradient.shape) / devices, gradient, atol=1e-14)


def test_scores_in_half_precision_are_summed_in_float32():
    positive, negative, weights, others = draw()
    half = jnp.asarray(positive, jnp.bfloat16), jnp.asarray(negative, jnp.bfloat16)
    loss = losses.negative_sampling(*half, weights=weights, negative_weights=others)
    exact = losses.negative_sampling(*(x.astype(jnp.float32) for x in half), weights=weights, negative_weights=others)
    assert loss.dtype == jnp.float32 and float(loss) == pytest.approx(float(exact), rel=1e-6)


def test_wrong_arguments_get_one_sentence():
    s = jnp.zeros((2, 3))
    with pytest.raises(ValueError, match=r"positive has shape \(2,\) and weights has shape \(3,\).*: broadcast"):
        losses.negative_sampling(s[:, 0], s, weights=jnp.ones(3), negative_weights=jnp.ones((2, 3)))
    with pytest.raises(ValueError, match=r"scores has shape \(2, 3\), codes has shape \(3,\) and .*: broadcast"):
        losses.hierarchical_softmax(s, jnp.zeros(3, int), weights=jnp.ones((2, 3)))
