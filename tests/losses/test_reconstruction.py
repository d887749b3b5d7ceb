"""The error of masked patches: the formula, its gradient, weights and devices, wrong arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import losses


def draw(seed=0, b=8, n=6, p=5):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(b, n, p)), rng.normal(size=(b, n, p)), rng.random((b, n)) < 0.5, rng.random(b)


@pytest.mark.parametrize("error, power", [("squared", 2), ("absolute", 1)])
def test_formula_and_gradient(x64, error, power):
    prediction, target, masked, weights = draw()
    loss = lambda p: losses.masked_reconstruction(p, target, masked, error=error)  # noqa: E731
    value, gradient = jax.value_and_grad(loss)(jnp.asarray(prediction))
    hidden = (prediction - target)[masked]
    assert value == pytest.approx(np.mean(np.abs(hidden) ** power), rel=1e-12)
    expected = np.zeros_like(prediction)
    expected[masked] = (2 * hidden if power == 2 else np.sign(hidden)) / hidden.size
    np.testing.assert_allclose(gradient, expected, atol=1e-14)
    by_example = losses.masked_reconstruction(prediction, target, masked, error=error, reduction="none")
    means = [np.mean(np.abs((p - t)[m]) ** power) for p, t, m in zip(prediction, target, masked, strict=True)]
    np.testing.assert_allclose(by_example, means, rtol=1e-12)
    weighted = losses.masked_reconstruction(prediction, target, masked, error=error, weights=weights)
    counts = weights * masked.sum(1)
    assert weighted == pytest.approx(np.sum(counts * means) / counts.sum(), rel=1e-12)


@pytest.mark.parametrize("devices", [2, 8])
def test_devices_with_unequal_numbers_of_masked_patches(x64, devices):
    prediction, target, masked, weights = draw(1)
    loss = lambda p, t, m, w, axis: losses.masked_reconstruction(p, t, m, weights=w, axis_name=axis)  # noqa: E731
    one, gradient = jax.value_and_grad(loss)(jnp.asarray(prediction), target, masked, weights, None)
    shards = [x.reshape(devices, -1, *x.shape[1:]) for x in (prediction, target, masked, weights)]
    per_device = jax.value_and_grad(lambda *args: loss(*args, "data"))
    many, sharded = jax.vmap(per_device, axis_name="data")(*map(jnp.asarray, shards))
    assert many.mean() == pytest.approx(float(one), rel=1e-12)
    np.testing.assert_allclose(sharded.reshape(gradient.shape) / devices, gradient, atol=1e-14)


def test_what_is_visible_may_be_anything():
    prediction = jnp.zeros((1, 2, 3)).at[0, 1].set(jnp.nan)
    loss, gradient = jax.value_and_grad(losses.masked_reconstruction)(
        prediction, jnp.ones((1, 2, 3)), jnp.array([[True, False]])
    )
    assert loss == 1 and np.isfinite(gradient[0, 0]).all()


def test_wrong_arguments_get_one_sentence():
    x = jnp.zeros((2, 3, 4))
    with pytest.raises(ValueError, match="cut both images into the same patches"):
        losses.masked_reconstruction(x, x[:, :2], jnp.ones((2, 3), bool))
    with pytest.raises(ValueError, match="error is 'huber', but must be 'squared' or 'absolute'"):
        losses.masked_reconstruction(x, x, jnp.ones((2, 3), bool), error="huber")


def test_weighted_pixels(x64):
    """The mean over pixels that count, each error multiplied by its importance; other pixels may be anything."""
    rng = np.random.default_rng(2)
    prediction, target = rng.normal(size=(2, 3, 4, 5, 3))
    importance = rng.choice([0.0, 1.0, 10.0], (3, 4, 5))
    errors = np.square(prediction - target).mean(-1) * importance
    expected = [row.sum() / (m > 0).sum() for row, m in zip(errors, importance, strict=True)]
    found = losses.weighted_reconstruction(prediction, target, importance, reduction="none")
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert losses.weighted_reconstruction(prediction, target, importance) == pytest.approx(np.mean(expected))
    gradient = jax.grad(losses.weighted_reconstruction)(jnp.asarray(prediction), target, importance)
    np.testing.assert_array_equal((np.asarray(gradient) != 0).all(-1), importance > 0)
    with pytest.raises(ValueError, match="one importance a pixel"):
        losses.weighted_reconstruction(prediction, target, importance[:, 1:])
