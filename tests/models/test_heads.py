"""Heads against the official description of SimCLR's projectors and a float64 NumPy forward pass."""

import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.models.heads import MLPHead, WeightNormDense
from ssl_jax.models.norm import BatchNorm

OUTPUT_NORM = partial(BatchNorm, use_bias=False)


def shapes(head, features):
    variables = jax.eval_shape(partial(head.init, train=True), jax.random.key(0), jnp.ones((4, features)))
    return {layer: {name: v.shape for name, v in leaves.items()} for layer, leaves in variables["params"].items()}


def hidden(i, d_in, d):
    return {f"dense_{i}": {"kernel": (d_in, d)}, f"norm_{i}": {"scale": (d,), "bias": (d,)}}


def test_simclr_v1_projector_is_the_official_one():
    """`tf2/model.py` with num_proj_layers=2: no dense bias; hidden norm with scale and bias, output norm with scale."""
    expected = hidden(1, 2048, 2048) | {"dense_2": {"kernel": (2048, 128)}, "norm_2": {"scale": (128,)}}
    assert shapes(MLPHead((2048,), 128, BatchNorm, OUTPUT_NORM), 2048) == expected


def test_simclr_v2_projector_is_the_official_one():
    """The same with num_proj_layers=3."""
    expected = hidden(1, 2048, 2048) | hidden(2, 2048, 2048)
    expected |= {"dense_3": {"kernel": (2048, 128)}, "norm_3": {"scale": (128,)}}
    assert shapes(MLPHead((2048, 2048), 128, BatchNorm, OUTPUT_NORM), 2048) == expected


def test_bias_stands_where_no_norm_follows_or_where_asked_for():
    biased_output = hidden(1, 512, 64) | {"dense_2": {"kernel": (64, 32), "bias": (32,)}}
    assert shapes(MLPHead((64,), 32, BatchNorm), 512) == biased_output
    plain = {"dense_1": {"kernel": (512, 64), "bias": (64,)}, "dense_2": {"kernel": (64, 32), "bias": (32,)}}
    assert shapes(MLPHead((64,), 32), 512) == plain
    assert shapes(MLPHead((), 32), 512) == {"dense_1": {"kernel": (512, 32), "bias": (32,)}}
    doubled = hidden(1, 512, 64) | {"dense_1": {"kernel": (512, 64), "bias": (64,)}, "dense_2": {"kernel": (64, 32)}}
    assert shapes(MLPHead((64,), 32, BatchNorm, use_bias=False, hidden_bias=True), 512) == doubled
    doubled["norm_2"] = {"scale": (32,)}  # and not the output
    assert shapes(MLPHead((64,), 32, BatchNorm, OUTPUT_NORM, hidden_bias=True), 512) == doubled


@pytest.mark.parametrize("norm, output_norm", [(BatchNorm, OUTPUT_NORM), (BatchNorm, None), (None, None)])
def test_values_equal_numpy(x64, key, norm, output_norm):
    r = np.random.default_rng(0)
    x = r.normal(size=(16, 6))
    head = MLPHead((5, 4), 3, norm, output_norm, dtype=jnp.float64)
    variables = jax.eval_shape(partial(head.init, train=True), key, x)
    variables = jax.tree.map(lambda v: r.normal(1, 0.5, v.shape), variables)
    y, _ = jax.jit(partial(head.apply, train=True, mutable=["batch_stats"]))(variables, x)

    expected, params = x, variables["params"]
    for i in (1, 2, 3):
        expected = expected @ params[f"dense_{i}"]["kernel"] + params[f"dense_{i}"].get("bias", 0)
        if f"norm_{i}" in params:
            expected = (expected - expected.mean(0)) / np.sqrt(expected.var(0) + 1e-5)
            expected = expected * params[f"norm_{i}"]["scale"] + params[f"norm_{i}"].get("bias", 0)
        if i < 3:
            expected = np.maximum(expected, 0)
    np.testing.assert_allclose(y, expected, rtol=1e-11, atol=1e-11)


def test_kernels_start_at_standard_deviation_one_hundredth_and_biases_at_zero(key):
    params = MLPHead((256,), 64).init(key, jnp.ones((1, 256)), train=True)["params"]
    np.testing.assert_allclose(params["dense_1"]["kernel"].std(), 0.01, rtol=0.02)
    assert not params["dense_1"]["bias"].any()


def test_group_ids_reach_the_norms(key):
    head = MLPHead((8,), 4, partial(BatchNorm, groups=2), partial(OUTPUT_NORM, groups=2))
    x, ids = jax.random.normal(key, (8, 6)), jnp.array([0, 1, 1, 0, 1, 0, 0, 1])
    variables = jax.jit(partial(head.init, train=True))(key, x)
    apply = jax.jit(lambda x, ids: head.apply(variables, x, train=True, group_ids=ids, mutable=["batch_stats"])[0])
    order = jnp.argsort(ids)
    np.testing.assert_allclose(apply(x, ids)[order], apply(x[order], None), atol=1e-5)


def test_bfloat16_computation_keeps_float32_parameters_and_output(key):
    head, x = MLPHead((8,), 4, BatchNorm, OUTPUT_NORM, dtype=jnp.bfloat16), jnp.ones((4, 6))
    variables = jax.eval_shape(partial(head.init, train=True), key, x)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype("float32")}
    assert jax.eval_shape(partial(head.apply, train=False), variables, x).dtype == jnp.float32


def test_the_activation_is_the_one_asked_for(x64, key):
    x = np.random.default_rng(0).normal(size=(8, 6))
    head = MLPHead((5, 4), 3, activation=partial(nn.gelu, approximate=False), dtype=jnp.float64)
    y, variables = head.init_with_output(key, x, train=True)
    expected = x
    for i in (1, 2, 3):
        layer = jax.tree.map(np.asarray, variables["params"][f"dense_{i}"])
        expected = expected @ layer["kernel"] + layer["bias"]
        if i < 3:
            expected = expected * np.vectorize(lambda t: (1 + math.erf(t / math.sqrt(2))) / 2)(expected)
    np.testing.assert_allclose(y, expected, atol=1e-12)


@pytest.mark.parametrize("learn_gain", [False, True])
def test_the_last_layer_of_dino_is_a_product_with_columns_of_unit_length(x64, key, learn_gain):
    r = np.random.default_rng(0)
    x, layer = r.normal(size=(2, 5, 16)), WeightNormDense(12, learn_gain, jnp.float64)
    y, variables = layer.init_with_output(key, x)
    v = np.asarray(variables["params"]["kernel"])
    np.testing.assert_allclose(y, x @ (v / np.linalg.norm(v, axis=0)), atol=1e-12)
    assert 0.9 / 4 < np.abs(v).max() <= 1 / 4  # U(-a, a) with a = 1 / sqrt(16)
    assert set(variables["params"]) == ({"kernel", "gain"} if learn_gain else {"kernel"})
    if learn_gain:
        gain = r.normal(size=(1, 12))
        scaled = layer.apply({"params": {"kernel": v, "gain": gain}}, x)
        np.testing.assert_allclose(scaled, y * gain[None], atol=1e-12)


def test_a_column_of_zeros_is_no_division_by_zero():
    params = {"kernel": jnp.zeros((4, 3))}
    slope = jax.grad(lambda p: WeightNormDense(3).apply({"params": p}, jnp.ones((2, 4))).sum())(params)
    assert np.isfinite(slope["kernel"]).all()


def test_the_last_layer_in_half_precision_sums_and_returns_float32(key):
    layer, x = WeightNormDense(64, dtype=jnp.bfloat16), jax.random.normal(key, (8, 256))
    y, variables = layer.init_with_output(key, x)
    assert y.dtype == variables["params"]["kernel"].dtype == jnp.float32
    assert np.any(y != y.astype(jnp.bfloat16).astype(jnp.float32))
    np.testing.assert_allclose(y, WeightNormDense(64).apply(variables, x), atol=0.1)
