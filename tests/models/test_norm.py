"""Batch norm against a two-pass float64 NumPy reference, on one device and on many, in groups and whole."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from ssl_jax.models.norm import BatchNorm, shuffled_groups

SHAPE = (16, 2, 3, 5)
EPSILON = 1e-5


def rng(seed=0):
    return np.random.default_rng(seed)


def reference(x, ids, scale, bias, weights=None):
    """Two-pass batch norm of each group of rows; with `weights`, also the gradients of `sum(weights * y)`."""
    y, dx = np.zeros_like(x), np.zeros_like(x)
    means, unbiased, d_scale, d_bias = [], [], 0, 0
    for group in np.unique(ids):
        rows = ids == group
        flat = x[rows].reshape(-1, x.shape[-1])
        n, mean, var = len(flat), flat.mean(0), flat.var(0)
        normed = (flat - mean) / np.sqrt(var + EPSILON)
        y[rows] = (normed * scale + bias).reshape(x[rows].shape)
        means.append(mean)
        unbiased.append(var * n / (n - 1))
        if weights is not None:
            dy = weights[rows].reshape(flat.shape)
            d_scale, d_bias = d_scale + (dy * normed).sum(0), d_bias + dy.sum(0)
            centred = dy - dy.mean(0) - normed * (dy * normed).mean(0)
            dx[rows] = (scale / np.sqrt(var + EPSILON) * centred).reshape(x[rows].shape)
    statistics = {"mean": np.mean(means, 0), "var": np.mean(unbiased, 0)}
    return (y, statistics) if weights is None else (y, statistics, dx, d_scale, d_bias)


def blocks(batch, groups):
    return np.arange(batch) * groups // batch


def variables(channels, seed=1, dtype=np.float64):
    r = rng(seed)
    params = {"scale": r.uniform(0.5, 2, channels), "bias": r.normal(size=channels)}
    statistics = {"mean": r.normal(size=channels), "var": r.uniform(0.5, 2, channels)}
    return jax.tree.map(lambda v: jnp.asarray(v, dtype), {"params": params, "batch_stats": statistics})


def over_devices(topology, n, f):
    """`f(shared, x, ids)` per device with the batch over the axis "data"; per-row and replicated outputs."""
    if topology == "vmap":
        split = partial(jax.tree.map, lambda leaf: leaf.reshape(n, -1, *leaf.shape[1:]))

        def run(shared, *batch):
            rows, same = jax.vmap(partial(f, shared), axis_name="data")(*split(batch))
            return jax.tree.map(lambda v: v.reshape(-1, *v.shape[2:]), rows), jax.tree.map(lambda v: v[0], same)

        return jax.jit(run)
    mesh = jax.make_mesh((n,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:n])
    specs = dict(in_specs=(P(), P("data"), P("data")), out_specs=(P("data"), P()))
    return jax.jit(jax.shard_map(f, mesh=mesh, check_vma=False, **specs))


def training_step(norm, shared, x, weights, key=None):
    """Output, gradients by the project's rule (local loss, one pmean) and statistics of one device."""
    ids = None if key is None else shuffled_groups(key, len(x), norm.groups, norm.axis_name)

    def loss(params, x):
        y, updated = norm.apply({**shared, "params": params}, x, train=True, group_ids=ids, mutable=["batch_stats"])
        return jnp.mean(weights * y), (y, updated["batch_stats"])

    (d_params, dx), (y, statistics) = jax.grad(loss, argnums=(0, 1), has_aux=True)(shared["params"], x)
    return (y, dx), (jax.lax.pmean(d_params, norm.axis_name), statistics)


@pytest.mark.parametrize("topology, n", [("shard_map", n) for n in (1, 2, 4, 8)] + [("vmap", n) for n in (2, 8)])
@pytest.mark.parametrize("groups, shuffled", [(1, False), (2, False), (8, False), (4, True)])
def test_values_gradients_and_statistics_equal_the_reference(x64, key, topology, n, groups, shuffled):
    norm = BatchNorm(axis_name="data", groups=groups)
    x, weights, shared = rng().normal(2, 3, SHAPE), rng(3).normal(size=SHAPE), variables(SHAPE[-1])
    step = partial(training_step, norm, key=key if shuffled else None)
    (y, dx), (d_params, statistics) = over_devices(topology, n, step)(shared, x, weights)

    ids = np.asarray(shuffled_groups(key, len(x), groups)) if shuffled else blocks(len(x), groups)
    scale, bias = np.asarray(shared["params"]["scale"]), np.asarray(shared["params"]["bias"])
    ref_y, ref_stats, ref_dx, ref_scale, ref_bias = reference(x, ids, scale, bias, weights / weights.size)
    close = partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12)
    close(y, ref_y)
    close(dx / n, ref_dx)
    close(d_params["scale"], ref_scale)
    close(d_params["bias"], ref_bias)
    for name, old in shared["batch_stats"].items():
        close(statistics[name], 0.9 * np.asarray(old) + 0.1 * ref_stats[name])


def test_permuted_ids_equal_permuted_images(x64, key):
    norm, x, shared = BatchNorm(groups=4), rng().normal(size=SHAPE), variables(SHAPE[-1])
    ids = np.asarray(shuffled_groups(key, len(x), 4))
    order = np.argsort(ids, kind="stable")
    apply = jax.jit(lambda x, ids: norm.apply(shared, x, train=True, group_ids=ids, mutable=["batch_stats"])[0])
    np.testing.assert_allclose(apply(x, ids)[order], apply(x[order], blocks(len(x), 4)), rtol=1e-12, atol=1e-12)
    assert np.bincount(ids).tolist() == [4] * 4 and (ids != blocks(len(x), 4)).any()


@pytest.mark.parametrize("n", [2, 8])
def test_shuffled_groups_do_not_depend_on_the_number_of_devices(key, n):
    ids = jax.vmap(lambda _: shuffled_groups(key, 16 // n, 4, "data"), axis_name="data")(jnp.zeros(n))
    np.testing.assert_array_equal(ids.reshape(-1), shuffled_groups(key, 16, 4))
    assert ids.dtype == jnp.int32


def test_running_statistics_are_used_in_evaluation(x64):
    norm, x, shared = BatchNorm(groups=3, axis_name="unbound"), rng().normal(size=SHAPE), variables(SHAPE[-1])
    y, updated = norm.apply(shared, x, train=False, mutable=["batch_stats"])
    params, stats = jax.tree.map(np.asarray, (shared["params"], shared["batch_stats"]))
    expected = (x - stats["mean"]) / np.sqrt(stats["var"] + EPSILON) * params["scale"] + params["bias"]
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)
    jax.tree.map(np.testing.assert_array_equal, updated["batch_stats"], shared["batch_stats"])


def test_initialisation_communicates_nothing_and_leaves_the_statistics(key):
    norm = BatchNorm(groups=8, axis_name="unbound", scale_init=jax.nn.initializers.zeros)
    shared = norm.init(key, jnp.full((3, 4), 7.0), train=True)
    expected = {"batch_stats": {"mean": 0, "var": 1}, "params": {"scale": 0, "bias": 0}}
    jax.tree.map(lambda got, value: np.testing.assert_array_equal(got, np.full(4, value, np.float32)), shared, expected)


def test_scale_and_bias_are_optional(key):
    names = {
        (scale, bias): set(BatchNorm(use_scale=scale, use_bias=bias).init(key, jnp.ones((2, 3)), train=True)["params"])
        for scale, bias in [(True, False), (False, True)]
    }
    assert names == {(True, False): {"scale"}, (False, True): {"bias"}}
    assert "params" not in BatchNorm(use_scale=False, use_bias=False).init(key, jnp.ones((2, 3)), train=True)


@pytest.mark.parametrize("groups", [1, 4])
def test_a_large_mean_costs_no_accuracy_once_the_running_mean_is_warm(groups):
    x = rng().normal(1000, 1, (64, 4, 4, 3)).astype(np.float32)
    shared = variables(3, dtype=np.float32)
    shared["batch_stats"]["mean"] = jnp.array([999.0, 1000.5, 1001.0])
    y, updated = BatchNorm(groups=groups).apply(shared, x, train=True, mutable=["batch_stats"])
    params = jax.tree.map(lambda v: np.asarray(v, np.float64), shared["params"])
    expected, stats = reference(x.astype(np.float64), blocks(64, groups), params["scale"], params["bias"])
    np.testing.assert_allclose(y, expected, atol=2e-5)
    batch_var = (updated["batch_stats"]["var"] - 0.9 * shared["batch_stats"]["var"]) / 0.1
    np.testing.assert_allclose(batch_var, stats["var"], rtol=1e-5)


def test_a_constant_channel_gives_the_bias_and_finite_gradients():
    shared, x = variables(3, dtype=np.float32), jnp.full((8, 3), 1000.1)
    f = lambda x: BatchNorm().apply(shared, x, train=True, mutable=["batch_stats"])[0]  # noqa: E731
    assert bool(jnp.isfinite(f(x)).all() and jnp.isfinite(jax.grad(lambda x: (f(x) ** 2).sum())(x)).all())


def test_bfloat16_input_has_float32_statistics(key):
    x = jnp.asarray(rng().normal(3, 1, (512, 3)), jnp.bfloat16)
    norm = BatchNorm()
    shared = norm.init(key, x, train=True)
    y, updated = norm.apply(shared, x, train=True, mutable=["batch_stats"])
    assert y.dtype == jnp.bfloat16 and BatchNorm(dtype=jnp.float32).apply(shared, x, train=False).dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves((shared, updated))} == {np.dtype("float32")}
    exact = np.asarray(x, np.float64)
    np.testing.assert_allclose(updated["batch_stats"]["mean"], 0.1 * exact.mean(0), 1e-5)
    np.testing.assert_allclose(updated["batch_stats"]["var"], 0.9 + 0.1 * exact.var(0, ddof=1), 1e-5)


@pytest.mark.parametrize("groups", [1, 4])
def test_one_collective_a_layer_and_no_matrix_product_for_one_group(groups):
    norm, shared = BatchNorm(axis_name="data", groups=groups), variables(5, dtype=np.float32)
    f = lambda x: norm.apply(shared, x, train=True, mutable=["batch_stats"])[0]  # noqa: E731
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    sharded = jax.shard_map(f, mesh=mesh, in_specs=P("data"), out_specs=P("data"), check_vma=False)
    program = str(jax.make_jaxpr(sharded)(jnp.ones(SHAPE)))
    assert len(re.findall(r"= (?:psum|all_gather|all_to_all|ppermute)", program)) == 1
    assert ("dot_general" in program) == (groups > 1)


@pytest.mark.parametrize(
    "groups, x, ids, message",
    [
        (3, jnp.ones((8, 2)), None, r"global batch of 8 rows and expects a multiple of groups=3"),
        (2, jnp.ones((8, 2)), jnp.zeros(4, int), r"group_ids \[4\] for 8 rows and expects \[8\]"),
        (1, jnp.ones(8), None, r"float32 \[8\] and expects floats \[b, \.\.\., C\]"),
        (1, jnp.ones((8, 2), int), None, r"int32 \[8, 2\] and expects floats"),
    ],
)
def test_wrong_use_gets_one_sentence(groups, x, ids, message):
    with pytest.raises(ValueError, match=message):
        BatchNorm(groups=groups).apply(variables(2, dtype=np.float32), x, train=True, group_ids=ids, mutable=True)
