"""Cross-entropy over a vocabulary: the formula and its gradients, in tiles and on devices with unequal weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from ssl_jax import losses


def draw(n=16, d=5, v=11):
    rng = np.random.default_rng(0)
    hidden, table, bias = rng.normal(size=(n, d)), rng.normal(size=(v, d)), rng.normal(size=v)
    return hidden, table, bias, rng.integers(0, v, n), (rng.random(n) < 0.6).astype(float)


@pytest.mark.parametrize("tile", [None, 5])
def test_formula_and_gradients(x64, tile):
    hidden, table, bias, targets, weights = draw()
    loss = lambda *trained: losses.vocabulary_cross_entropy(*trained, targets, weights, tile=tile)  # noqa: E731
    trained = tuple(map(jnp.asarray, (hidden, table, bias)))
    (value, (own, right)), gradients = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)(*trained)
    logits = hidden @ table.T + bias
    each = logsumexp(logits, axis=1) - logits[np.arange(16), targets]
    assert value == pytest.approx(np.sum(weights * each) / weights.sum(), rel=1e-12)
    np.testing.assert_allclose(own, each, rtol=1e-12)
    np.testing.assert_array_equal(right, logits.argmax(1) == targets)
    error = np.exp(logits - logsumexp(logits, axis=1, keepdims=True))
    error[np.arange(16), targets] -= 1
    error *= weights[:, None] / weights.sum()
    for gradient, expected in zip(gradients, (error @ table, error.T @ hidden, error.sum(0)), strict=True):
        np.testing.assert_allclose(gradient, expected, atol=1e-13)


@pytest.mark.parametrize("devices", [2, 8])
def test_the_normaliser_is_global(x64, devices):
    hidden, table, bias, targets, weights = draw()
    weights[:5] = 0
    one, _ = losses.vocabulary_cross_entropy(*map(jnp.asarray, (hidden, table, bias, targets, weights)))
    shards = [jnp.asarray(x.reshape(devices, -1, *x.shape[1:])) for x in (hidden, targets, weights)]

    def on_device(hidden, targets, weights):
        return losses.vocabulary_cross_entropy(
            hidden, jnp.asarray(table), jnp.asarray(bias), targets, weights, axis_name="data"
        )[0]

    assert jax.vmap(on_device, axis_name="data")(*shards).mean() == pytest.approx(float(one), rel=1e-12)


def test_no_array_of_all_logits_is_made():
    """The gradient's program holds tiles of [4, V] alone."""
    hidden, table, bias, targets, weights = draw(n=64, v=97)
    loss = lambda hidden, table: losses.vocabulary_cross_entropy(  # noqa: E731
        hidden, table, jnp.asarray(bias), targets, weights, tile=4
    )[0]
    text = str(jax.make_jaxpr(jax.grad(loss, argnums=(0, 1)))(jnp.asarray(hidden), jnp.asarray(table)))
    assert "4,97]" in text and "64,97]" not in text and "16,4,97]" not in text


def test_shapes_that_do_not_fit_are_refused():
    hidden, table, bias, targets, weights = draw()
    with pytest.raises(ValueError, match=r"\[n, D\], \[V, D\], \[V\]"):
        losses.vocabulary_cross_entropy(hidden, table[:, :3], bias, targets, weights)
