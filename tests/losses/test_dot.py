"""InfoNCE of dot products, which have no bound: values and gradients in float64, in tiles, on devices, very large."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.losses import info_nce

dot = partial(info_nce, similarity="dot", temperature=1.0)


def reference(query, key, weights):
    """The mean of -log(exp(s_ii) / sum_k w_k exp(s_ik)), w_i = 1 for the own key, and its gradients, in float64."""
    scores = query @ key.T
    w = np.where(np.eye(len(query), dtype=bool), 1.0, weights[None])
    top = scores.max(axis=1, keepdims=True)
    terms = w * np.exp(scores - top)
    rows = np.log(terms.sum(axis=1)) + top[:, 0] - np.diag(scores)
    share = weights / weights.sum()
    slopes = share[:, None] * (terms / terms.sum(axis=1, keepdims=True) - np.eye(len(query)))
    return np.sum(share * rows), slopes @ key, slopes.T @ query


@pytest.mark.parametrize("size", [1.0, 12.0])  # products up to about 4 and 600: far beyond what exp can hold
@pytest.mark.parametrize(("devices", "block_size"), [(1, None), (1, 3), (4, None), (4, 2)])
def test_values_and_gradients_are_those_of_the_formula(devices, block_size, size, x64):
    numbers = np.random.default_rng(0)
    query, key = size * numbers.normal(size=(2, 12, 5))
    weights = numbers.random(12)

    def local(query, key, weights):
        axis_name = "data" if devices > 1 else None
        value, slopes = jax.value_and_grad(dot, argnums=(0, 1))(
            query, key, weights=weights, axis_name=axis_name, block_size=block_size
        )
        return (value, slopes) if devices == 1 else (jax.lax.pmean(value, "data"), slopes)

    if devices == 1:
        value, slopes = local(query, key, weights)
    else:
        split = lambda x: x.reshape(devices, -1, *x.shape[1:])  # noqa: E731
        value, slopes = jax.vmap(local, axis_name="data")(split(query), split(key), split(weights))
        value = value[0]
    expected, *gradients = reference(query, key, weights)
    assert float(value) == pytest.approx(expected, rel=1e-12)
    for found, gradient in zip(slopes, gradients, strict=True):  # a device's gradient is n times its share of the mean
        np.testing.assert_allclose(np.reshape(found, (12, 5)) / devices, gradient, rtol=1e-9, atol=1e-12)


def test_large_batches_go_in_tiles_and_stay_finite():
    query, key = 15 * jax.random.normal(jax.random.key(0), (2, 600, 8))
    value, slopes = jax.value_and_grad(dot, argnums=(0, 1))(query, key)
    whole = dot(query, key, block_size=600)
    assert np.isfinite(float(value)) and float(value) == pytest.approx(float(whole), rel=1e-5)
    assert all(bool(jnp.isfinite(slope).all()) for slope in slopes)


def test_the_length_of_an_embedding_counts():
    z = jnp.eye(4)
    assert float(dot(3 * z, z)) < float(dot(z, z)) == pytest.approx(float(info_nce(z, z, temperature=1.0)), rel=1e-6)
    assert float(dot(z, z, reduction="none").std()) == 0
    with pytest.raises(ValueError, match="similarity is 'product'"):
        info_nce(z, z, similarity="product")
