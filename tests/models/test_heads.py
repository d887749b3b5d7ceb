"""Heads against the official description of SimCLR's projectors and a float64 NumPy forward pass."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.models.heads import MLPHead
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


def test_bias_stands_exactly_where_no_norm_follows():
    biased_output = hidden(1, 512, 64) | {"dense_2": {"kernel": (64, 32), "bias": (32,)}}
    assert shapes(MLPHead((64,), 32, BatchNorm), 512) == biased_output
    plain = {"dense_1": {"kernel": (512, 64), "bias": (64,)}, "dense_2": {"kernel": (64, 32), "bias": (32,)}}
    assert shapes(MLPHead((64,), 32), 512) == plain
    assert shapes(MLPHead((), 32), 512) == {"dense_1": {"kernel": (512, 32), "bias": (32,)}}


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
