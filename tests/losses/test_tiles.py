"""The tiles of the global batch: who meets whom, how much is computed and kept, and the same bits on all devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import bits
from ssl_jax.collectives import axis_size, pmean
from ssl_jax.losses import clip, info_nce, nt_xent, queue_info_nce, sigmoid, sup_con
from ssl_jax.losses.tiled import ring
from ssl_jax.losses.tiled.logits import Operand, Request, counts_twice
from ssl_jax.losses.tiled.plan import ACCELERATOR, CPU, PLANS, plan_for
from tests.losses.references import LOSSES, assert_close, evaluate, unit


@pytest.mark.parametrize(("devices", "held"), [(1, 6), (2, 3), (4, 2), (3, 1), (1, 1)])
@pytest.mark.parametrize("symmetric", [False, True])
def test_every_tile_meets_every_other_once(devices, held, symmetric, x64):
    """Tile i is the number 2^i, and sums up the numbers that it meets; in a symmetric sweep, rows and columns do so."""
    total = devices * held
    number = 2.0 ** jnp.arange(total)
    request = Request(CPU, symmetric=symmetric, axis_name="data")

    def body(_, own, axis_name):
        twice = counts_twice(request, Operand(own, own, own, own))

        def meet(offset, row, row_sum, column, column_sum):
            return row_sum + column, column_sum + (row * twice(offset) if symmetric else row)

        offsets = total // 2 + 1 if symmetric else total
        rows, columns = ring.sweep(
            meet, own, jnp.zeros(held), own, jnp.zeros(held), offsets=offsets, axis_name=axis_name
        )
        return own, (rows + columns,) if symmetric else (rows, columns)

    _, sums = evaluate("vmap", devices, body, 0, number)
    for found in sums:
        np.testing.assert_array_equal(found, np.full(total, 2.0**total - 1))


def products(jaxpr) -> int:
    """Multiplications in matrix products, each as often as its loops run, of the more expensive branch."""
    count = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            depth = np.prod([equation.invars[0].aval.shape[axis] for axis in contracted])
            count += int(depth * np.prod(equation.outvars[0].aval.shape))
        elif equation.primitive.name == "cond":
            count += max(products(branch.jaxpr) for branch in equation.params["branches"])
        else:
            inner = [getattr(value, "jaxpr", value) for value in equation.params.values()]
            inside = sum(products(value) for value in inner if hasattr(value, "eqns"))
            count += inside * equation.params.get("length", 1)
    return count


B, D = 4096, 64
COUNTED = {  # B x B x D products; NT-Xent: of its 2B x 2B matrix
    "clip": (lambda x, y, t: clip(x, y, logit_scale=1 / t), 4, B),
    "info_nce": (lambda x, y, t: info_nce(x, y, temperature=t), 4, B),
    "sigmoid": (lambda x, y, t: sigmoid(x, y, logit_scale=1 / t, logit_bias=-1.0), 4, B),
    "nt_xent": (lambda x, y, t: nt_xent(x, y, temperature=t), 2, 2 * B),
    "sup_con": (lambda x, y, t: sup_con(x, jnp.zeros(len(x), int), temperature=t), 2, B),
    "queue_info_nce": (lambda x, y, t: queue_info_nce(x, y, jnp.ones((B, D)), temperature=t), 3, B),
}


@pytest.mark.parametrize("name", COUNTED)
def test_logits_are_computed_twice_and_used_at_once(name):
    loss, units, rows = COUNTED[name]
    z = jax.ShapeDtypeStruct((B, D), jnp.float32)
    traced = jax.make_jaxpr(jax.value_and_grad(loss, argnums=(0, 1, 2)))(z, z, jnp.float32(0.1))
    found = products(traced.jaxpr) / (rows * rows * D)
    over = 4 / (B / 512) if units == 2 else 0  # of T tiles in a symmetric sweep: at offsets 0 and T / 2, 4 / T
    assert units <= found <= units * (1 + 6 / D) + over


def sizes(jaxpr):
    for equation in jaxpr.eqns:
        yield from (variable.aval.size for variable in equation.outvars)
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            value = getattr(value, "jaxpr", value)
            if hasattr(value, "eqns"):
                yield from sizes(value)


@pytest.mark.parametrize("name", [name for name in COUNTED if name != "queue_info_nce"])
def test_nothing_is_larger_than_the_shard_or_a_tile(name):
    """On 8 devices: neither logits of the batch nor the gathered batch."""
    loss = functools.partial(jax.value_and_grad(on_axis(name), argnums=(0, 1)))
    z = jax.ShapeDtypeStruct((B // 8, D), jnp.float32)
    traced = jax.make_jaxpr(loss, axis_env=[("data", 8)])(z, z)
    assert max(sizes(traced.jaxpr)) <= max(CPU.largest_logits, 2 * B // 8 * D) < B * D


def on_axis(name):
    options = {"axis_name": "data"}
    return {
        "clip": lambda x, y: clip(x, y, logit_scale=10.0, **options),
        "info_nce": lambda x, y: info_nce(x, y, **options),
        "sigmoid": lambda x, y: sigmoid(x, y, logit_scale=10.0, logit_bias=-10.0, **options),
        "nt_xent": lambda x, y: nt_xent(x, y, **options),
        "sup_con": lambda x, y: sup_con(x + y, jnp.arange(len(x)), **options),
    }[name]


@pytest.mark.parametrize(
    ("plan", "bound", "passes"),
    [(CPU, "largest_logits", 2), (ACCELERATOR, "largest_gradient", 1)],
    ids=["cpu", "other"],
)
@pytest.mark.parametrize("name", ["clip", "sigmoid", "nt_xent", "sup_con"])
def test_large_tiles_are_met_in_parts(name, plan, bound, passes, monkeypatch, x64):
    """The same gradients, and no whole tile of them; on a CPU no whole tile of logits either."""
    monkeypatch.setitem(PLANS, "cpu", plan)
    x, y = np.random.default_rng(0).normal(size=(2, 64, 3))
    loss = {
        "clip": lambda x, y: clip(x, y, logit_scale=10.0, block_size=32),
        "sigmoid": lambda x, y: sigmoid(x, y, logit_scale=10.0, logit_bias=-1.0, block_size=32),
        "nt_xent": lambda x, y: nt_xent(x, y, block_size=16),
        "sup_con": lambda x, y: sup_con(x + y, jnp.arange(len(x)) % 9, block_size=32),
    }[name]
    whole = jax.grad(loss, argnums=(0, 1))(x, y)
    monkeypatch.setitem(PLANS, "cpu", plan._replace(**{bound: 8 * 32}))  # more than the embeddings have
    _, back = jax.vjp(loss, x, y)
    bounded = [jax.make_jaxpr(back)(1.0), jax.make_jaxpr(loss)(x, y)][:passes]
    assert all(max(sizes(traced.jaxpr)) <= 64 * 2 * 3 for traced in bounded)
    for found, wanted in zip(back(1.0), whole, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("backend", "devices", "size"), [("cpu", 1, 512), ("cpu", 4, 512), ("gpu", 1, 4096), ("tpu", 4, 1024)]
)
def test_tiles_are_the_same_on_all_cpus_and_few_elsewhere(backend, devices, size):
    found = set()

    def body(_, x, axis_name):
        found.add(ring.cut(len(x), axis_name, None, plan=plan_for(backend)).size)
        return (), ()

    evaluate("vmap", devices, body, 0, jnp.zeros((4096, 1)))
    assert found == {size}


# Rounding alone makes the gradients of `sigmoid` and `sup_con`, whose terms cancel, differ by 1.5e-6 in float32.
@pytest.mark.parametrize(("devices", "dtype", "tolerance"), [(1, np.float32, 4e-6), (4, np.float64, 1e-12)])
@pytest.mark.parametrize("name", [name for name in LOSSES if not name.startswith("dcl")])  # it sums as `nt_xent`
def test_both_plans_are_the_same_mathematics(name, devices, dtype, tolerance, monkeypatch):
    """Value and gradients, of the temperature too, of the plan for accelerators and of that for CPUs."""

    def body(_, x, y, axis_name):
        local = lambda x, y, t: LOSSES[name](x, y, temperature=t, axis_name=axis_name)  # noqa: E731
        value, (*gradients, of_temperature) = jax.value_and_grad(local, argnums=(0, 1, 2))(x, y, dtype(0.2))
        return pmean((value, of_temperature), axis_name), gradients

    with jax.enable_x64(dtype == np.float64):
        views = jnp.asarray(np.random.default_rng(0).normal(size=(2, 1024, 5)), dtype)
        wanted = jax.device_get(evaluate("vmap", devices, body, 0, *views))
        monkeypatch.setitem(PLANS, "cpu", ACCELERATOR)
        found = jax.device_get(evaluate("vmap", devices, body, 0, *views))
    assert_close(found, wanted, tolerance)


def compiled(batch, devices, name="clip"):
    """Value and gradient of a loss under shard_map."""
    z = jax.ShapeDtypeStruct((batch, bits.WIDTH), jnp.float32)
    return bits.program(name, devices).lower(jnp.float32(1), z, z).compile()


@pytest.mark.as_users
def test_memory_is_linear_in_the_batch():
    few, many = (compiled(batch, 8).memory_analysis().temp_size_in_bytes for batch in (32768, 131072))
    assert few <= 8.5 * 2**20 and many <= 34 * 2**20 and many < 4.1 * few


@pytest.mark.as_users
@pytest.mark.parametrize(("name", "batch"), [("clip", 512), ("nt_xent", 4096)])
def test_all_gradients_and_the_value_are_the_same_bits_on_any_number_of_devices(name, batch):
    views = bits.pair(batch, bits.VIEWS["alike"])
    results = {n: jax.device_get(compiled(batch, n, name)(jnp.float32(10), *views)) for n in (1, 2, 4, 8)}
    for n in (2, 4, 8):
        for found, wanted in zip(jax.tree.leaves(results[n]), jax.tree.leaves(results[1]), strict=True):
            np.testing.assert_array_equal(found, wanted)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(sorted(LOSSES)), rows=st.integers(1, 4), devices=st.sampled_from([1, 2, 4]),
    block_size=st.sampled_from([1, 2, 3]), temperature=st.sampled_from([0.02, 0.1, 0.5]), seed=st.integers(0, 99),
    precision=st.sampled_from([(jnp.bfloat16, 2e-2), (np.float32, 1e-4), (np.float64, 1e-11)]),
)  # fmt: skip
def test_any_tiles_have_the_gradients_of_one_block(name, rows, devices, block_size, temperature, seed, precision):
    """Weights of nought among them, and any dtype; the one block is in float64."""
    dtype, tolerance = precision
    numbers = np.random.default_rng(seed)
    z = numbers.normal(size=(2, rows * devices, 5)).astype(dtype)
    weights = numbers.integers(0, 3, rows * devices).astype(np.float32)
    weights[0] = 1

    def body(_, z_a, z_b, weights, axis_name, block_size=block_size):
        def local(z_a, z_b, temperature):
            options = dict(temperature=temperature, axis_name=axis_name, block_size=block_size, weights=weights)
            return LOSSES[name](z_a, z_b, **options)

        value, grads = jax.value_and_grad(local, argnums=(0, 1, 2))(z_a, z_b, temperature)
        return pmean((value, grads[2]), axis_name), [grad / axis_size(axis_name) for grad in grads[:2]]

    with jax.enable_x64(True):
        found = evaluate("vmap", devices, body, 0, *jnp.asarray(z), jnp.asarray(weights))
        whole = functools.partial(body, axis_name=None, block_size=rows * devices)
        wanted = whole(0, *jnp.asarray(z, jnp.float64), jnp.asarray(weights))
    found, wanted = jax.device_get((found, wanted))
    scale = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(wanted))
    for leaf, want in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert np.linalg.norm(leaf - want) <= tolerance * max(np.linalg.norm(want), 1e-2 * scale)


def from_the_negatives(name, z_a, z_b, temperature):
    """`log(1 + sum of negatives / positive)` of every example, in extended precision."""
    z_a, z_b = unit(z_a), unit(z_b)
    candidates = np.concatenate([z_b, z_a]) if name == "nt_xent" else z_b
    values = []
    for anchors, partners in [(z_a, z_b), (z_b, z_a)][: 2 if name == "nt_xent" else 1]:
        logits = (anchors @ candidates.T - np.sum(anchors * partners, axis=1, keepdims=True)) / temperature
        example = np.arange(len(candidates)) % len(z_a)
        negatives = np.where(example[None] != np.arange(len(z_a))[:, None], np.exp(logits), 0).sum(axis=1)
        values.append(np.log1p(negatives))
    return sum(values) / len(values)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    rows=st.integers(1, 5), devices=st.sampled_from([1, 3]), block_size=st.sampled_from([1, 2, 4]),
    width=st.integers(1, 6), temperature=st.sampled_from([0.005, 0.02, 0.5]), noise=st.sampled_from([0.0, 0.1, 2.0]),
    dtype=st.sampled_from([np.float32, np.float64]), name=st.sampled_from(["nt_xent", "info_nce"]),
)  # fmt: skip
def test_any_shape_is_the_papers_formula(rows, devices, block_size, width, temperature, noise, dtype, name):
    """Aligned pairs, too, of which next to nothing is left to the loss. float32 embeddings are exact in float64."""
    numbers = np.random.default_rng(rows * width)
    z_a = numbers.normal(size=(rows * devices, width)).astype(np.float32)
    z_b = (z_a + noise * numbers.normal(size=z_a.shape)).astype(np.float32)
    loss = {"nt_xent": nt_xent, "info_nce": info_nce}[name]

    def body(_, z_a, z_b, axis_name):
        options = dict(temperature=temperature, axis_name=axis_name, block_size=block_size, reduction="none")
        return 0, loss(z_a, z_b, **options)

    with jax.enable_x64(dtype == np.float64):
        found = evaluate("vmap", devices, body, 0, jnp.asarray(z_a, dtype), jnp.asarray(z_b, dtype))[1]
    wanted = from_the_negatives(name, *np.longdouble([z_a, z_b]), temperature)
    # Logits are rounded at the size of the scale; what is below the smallest float is nought.
    tolerance = np.finfo(dtype).eps * 8 / temperature
    np.testing.assert_allclose(found, np.float64(wanted), rtol=tolerance, atol=4 * np.finfo(dtype).tiny)
