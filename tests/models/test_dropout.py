"""Stochastic depth: whose masks they are, what they multiply by, and when nothing is dropped."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from ssl_jax.models.dropout import DropPath


def drop(x, keys, rate=0.4, layer=0, train=True):
    return DropPath(rate, layer).apply({}, x, keys, train)


@pytest.fixture
def keys(key):
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(64))


@pytest.fixture
def x(key):
    return jax.random.uniform(key, (64, 3, 2), minval=1, maxval=2)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_whole_rows_are_dropped_or_divided_by_the_rate_of_keeping(keys, x, dtype):
    x = x.astype(dtype)
    y = drop(x, keys)
    kept = np.asarray(y != 0).reshape(64, -1)
    assert y.dtype == dtype and 0 < kept[:, 0].sum() < 64
    np.testing.assert_array_equal(kept, kept[:, :1] & np.ones_like(kept))
    np.testing.assert_array_equal(y, np.where(kept[:, :1, None], x / 0.6, 0).astype(dtype))


def test_the_expectation_is_the_input(key):
    rows, rate = 20_000, 0.3
    y = jax.jit(lambda keys: drop(jnp.ones((rows, 1)), keys, rate))(jax.random.split(key, rows))
    assert abs(y.mean() - 1) < 4 * (rate / (1 - rate) / rows) ** 0.5


def test_masks_belong_to_the_examples(keys, x):
    """Permuting, splitting or sharding the batch does the same to the output."""
    y = drop(x, keys)
    order = np.random.default_rng(0).permutation(64)
    np.testing.assert_array_equal(drop(x[order], keys[order]), y[order])
    np.testing.assert_array_equal(jnp.concatenate([drop(x[:16], keys[:16]), drop(x[16:], keys[16:])]), y)
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(AxisType.Auto,))
    on_8_devices = jax.jit(jax.shard_map(drop, mesh=mesh, in_specs=P("batch"), out_specs=P("batch")))
    np.testing.assert_array_equal(on_8_devices(x, keys), y)


def test_layers_draw_different_masks(keys, x):
    masks = np.stack([drop(x, keys, layer=layer)[:, 0, 0] > 0 for layer in range(4)])
    np.testing.assert_array_equal(masks[2], drop(x, keys, layer=2)[:, 0, 0] > 0)
    agreement = (masks[:, None] == masks[None]).mean(-1)[np.triu_indices(4, 1)]  # 0.52 if independent
    assert agreement.min() > 0.3 and agreement.max() < 0.75


def test_double_precision_drops_the_same_rows(keys, x):
    single = drop(x, keys)
    with jax.enable_x64(True):
        y = np.asarray(drop(x.astype("float64"), keys))
    assert y.dtype == "float64"
    np.testing.assert_array_equal(y == 0, single == 0)
    np.testing.assert_allclose(y, single, rtol=1e-6)


def test_nothing_is_dropped_outside_of_training_at_rate_0_and_in_initialisation(key, keys, x):
    for y in (
        drop(x, keys, train=False),
        drop(x, None, train=False),
        drop(x, keys, rate=0.0),
        drop(x, None, rate=0.0),
        DropPath(0.4).init_with_output(key, x, None, True)[0],
    ):
        np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize(
    "rate, keys, message",
    [
        (0.4, None, "rate 0.4 with train=True and no keys, and expects one key per example"),
        (1.0, None, "rate 1.0 and expects 0 <= rate < 1"),
        (-0.1, None, "rate -0.1 and expects 0 <= rate < 1"),
        (0.4, jax.random.split(jax.random.key(0), 3), r"key<fry> \[3\] as keys and expects typed keys \[64\]"),
        (0.4, jnp.ones(64, jnp.uint32), r"uint32 \[64\] as keys and expects typed keys \[64\]"),
    ],
)
def test_wrong_use_gets_one_sentence(x, rate, keys, message):
    with pytest.raises(ValueError, match=message):
        drop(x, keys, rate=rate)
