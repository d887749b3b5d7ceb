"""The contrastive losses against NumPy transcriptions of the papers' formulas, on every topology."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from ssl_jax.collectives import axis_size, pmean
from ssl_jax.losses import info_nce, nt_xent, queue_info_nce

QUEUE = np.random.default_rng(4).normal(size=(7, 5))


def against_queue(query, key, **options):
    return queue_info_nce(query, key, jnp.asarray(QUEUE, jnp.result_type(float)), **options)


GATHERING = {"nt_xent": nt_xent, "info_nce": info_nce}
LOSSES = GATHERING | {"queue_info_nce": against_queue}
TOPOLOGIES = [("single", 1), ("pmap", 8)]
TOPOLOGIES += [("shard_map", n) for n in (1, 2, 4, 8)] + [("vmap", n) for n in (2, 4, 8)]
B, D, TEMPERATURE = 16, 5, 0.5
ROWS = np.random.default_rng(0).normal(size=(2, B, D))
FRACTIONAL = np.random.default_rng(1).uniform(0.2, 2.0, B)
# Uneven over the devices: of eight, one holds padding only and five hold none.
PADDING = np.ones(B)
PADDING[[1, 2, 3, 9]] = 0


def numpy_nt_xent(z_a, z_b, temperature, weights):
    """Per-example values, by equation 1 of arXiv 2002.05709, one anchor at a time."""
    z, w, b = np.concatenate([z_a, z_b]), np.tile(weights, 2), len(z_a)
    z = z / np.sqrt((z * z).sum(axis=1, keepdims=True))
    values = []
    for i in range(2 * b):
        j = (i + b) % (2 * b)
        similarity = np.exp(z @ z[i] / temperature)
        negatives = np.delete(w * similarity, [i, j]).sum()
        values.append(-np.log(similarity[j] / (similarity[j] + negatives)))
    return np.reshape(values, (2, b)).mean(axis=0)


def numpy_info_nce(query, key, temperature, weights):
    """Per-query values, by equation 4 of arXiv 1807.03748 with exp(cosine / temperature) for the density ratio."""
    query, key = (z / np.sqrt((z * z).sum(axis=1, keepdims=True)) for z in (query, key))
    values = []
    for i in range(len(query)):
        similarity = np.exp(key @ query[i] / temperature)
        negatives = np.delete(weights * similarity, i).sum()
        values.append(-np.log(similarity[i] / (similarity[i] + negatives)))
    return np.array(values)


def numpy_queue_info_nce(query, key, temperature, weights):
    """Per-query values, by equation 1 of arXiv 1911.05722: the sum has the positive and K negatives."""
    query, key, queue = (z / np.sqrt((z * z).sum(axis=1, keepdims=True)) for z in (query, key, QUEUE))
    positive = np.exp((query * key).sum(axis=1) / temperature)
    return -np.log(positive / (positive + np.exp(query @ queue.T / temperature).sum(axis=1)))


NUMPY_LOSSES = {"nt_xent": numpy_nt_xent, "info_nce": numpy_info_nce, "queue_info_nce": numpy_queue_info_nce}


def numpy_mean_and_grads(name, params, x_a, x_b, weights):
    """Weighted mean over the global batch, and its gradients by complex steps: exact to rounding, no subtraction."""
    leaves, tree = jax.tree.flatten((params, x_a, x_b))
    leaves = [np.asarray(leaf, complex) for leaf in leaves]

    def value():
        params, x_a, x_b = jax.tree.unflatten(tree, leaves)
        losses = NUMPY_LOSSES[name](x_a @ params["matrix"], x_b @ params["matrix"], params["temperature"], weights)
        return np.sum(weights * losses) / np.sum(weights)

    grads = [np.zeros(leaf.shape) for leaf in leaves]
    for leaf, grad in zip(leaves, grads, strict=True):
        for index in np.ndindex(leaf.shape):
            leaf[index] += 1e-30j
            grad[index] = value().imag / 1e-30
            leaf[index] = leaf[index].real
    return value().real, jax.tree.unflatten(tree, grads)


PARAMS = {"matrix": np.random.default_rng(2).normal(size=(D, D)) / D**0.5, "temperature": np.array(TEMPERATURE)}


@functools.cache
def expected(name, case):
    if case == "padded":  # the batch without its padding; the padding's own gradient is nought
        kept = PADDING > 0
        value, (params, *rows) = numpy_mean_and_grads(name, PARAMS, *ROWS[:, kept], np.ones(kept.sum()))
        padded = np.zeros_like(ROWS)
        padded[:, kept] = rows
        return value, (params, *padded)
    return numpy_mean_and_grads(name, PARAMS, *ROWS, FRACTIONAL if case == "weighted, in blocks" else np.ones(B))


def evaluate(kind, n, body, params, *batch):
    """`body(params, *local rows, axis_name=...) -> (replicated, rows)` on n devices, global arrays in and out."""
    if kind == "single":
        return jax.jit(functools.partial(body, axis_name=None))(params, *batch)
    body = functools.partial(body, axis_name="data")
    if kind == "shard_map":
        mesh = jax.make_mesh((n,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:n])
        specs = dict(in_specs=(P(), *(P("data") for _ in batch)), out_specs=(P(), P("data")), check_vma=False)
        return jax.jit(jax.shard_map(body, mesh=mesh, **specs))(params, *batch)
    in_axes = (None, *(0 for _ in batch))
    if kind == "pmap":
        mapped = jax.pmap(body, axis_name="data", in_axes=in_axes, devices=jax.devices()[:n])
    else:
        mapped = jax.jit(jax.vmap(body, axis_name="data", in_axes=in_axes))
    replicated, rows = mapped(params, *(x.reshape(n, -1, *x.shape[1:]) for x in batch))
    return jax.tree.map(lambda x: x[0], replicated), jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), rows)


def values_and_grads(params, x_a, x_b, fractional, padding, axis_name, cases):
    """Both losses in every case: the mean of the local values, parameter gradients averaged, row gradients over n."""
    options_of = {
        "plain": {},
        "padded": {"weights": padding},
        "weighted, in blocks": {"weights": fractional, "block_size": 3},
    }
    replicated, rows = {}, {}
    for name, loss in LOSSES.items():
        for case in cases:

            def local(params, x_a, x_b, loss=loss, options=options_of[case]):
                z_a, z_b = x_a @ params["matrix"], x_b @ params["matrix"]
                return loss(z_a, z_b, temperature=params["temperature"], axis_name=axis_name, **options)

            value, grads = jax.value_and_grad(local, argnums=(0, 1, 2))(params, x_a, x_b)
            replicated[name, case] = pmean((value, grads[0]), axis_name)
            # Inside the axis the gradient is that of the sum of all local values, n times the global loss.
            rows[name, case] = tuple(grad / axis_size(axis_name) for grad in grads[1:])
    return replicated, rows


def assert_close(actual, desired, tolerance, message=""):
    """Every leaf within `tolerance` of the leaf's norm."""
    for (path, want), got in zip(jax.tree.leaves_with_path(desired), jax.tree.leaves(actual), strict=True):
        error = np.linalg.norm(np.asarray(got, np.float64) - want) / np.linalg.norm(want)
        assert error <= tolerance, f"{message} {jax.tree_util.keystr(path)}: relative error {error:.1e}"


def check_topology(kind, n, dtype, tolerance, cases):
    body = functools.partial(values_and_grads, cases=cases)
    cast = functools.partial(jax.tree.map, lambda x: jnp.asarray(x, dtype))
    replicated, rows = evaluate(kind, n, body, *cast((PARAMS, *ROWS, FRACTIONAL, PADDING)))
    assert all(leaf.dtype == dtype for leaf in jax.tree.leaves((replicated, rows)))
    for (name, case), (value, params) in replicated.items():
        assert_close((value, (params, *rows[name, case])), expected(name, case), tolerance, f"{name}, {case}")


@pytest.mark.parametrize(("kind", "n"), TOPOLOGIES)
def test_values_and_gradients_are_the_papers_float64(kind, n, x64):
    check_topology(kind, n, np.float64, 1e-12, ("plain", "padded", "weighted, in blocks"))


@pytest.mark.parametrize(("kind", "n"), [("single", 1), ("shard_map", 8), ("pmap", 8), ("vmap", 4)])
def test_values_and_gradients_are_the_papers_float32(kind, n):
    check_topology(kind, n, np.float32, 1e-6, ("plain",))


def test_agree_with_optax(x64):
    z_a, z_b = jnp.asarray(ROWS)
    ours = nt_xent(z_a, z_b, temperature=TEMPERATURE)
    theirs = jax.jit(optax.losses.ntxent)(jnp.concatenate([z_a, z_b]), jnp.tile(jnp.arange(B), 2), TEMPERATURE)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    unit_a, unit_b = (z / jnp.linalg.norm(z, axis=1, keepdims=True) for z in (z_a, z_b))
    logits = unit_a @ unit_b.T / TEMPERATURE
    theirs = optax.losses.softmax_cross_entropy_with_integer_labels(logits, jnp.arange(B)).mean()
    np.testing.assert_allclose(info_nce(z_a, z_b, temperature=TEMPERATURE), theirs, rtol=1e-12)


@pytest.mark.parametrize("name", GATHERING)
def test_gradient_flows_through_the_gathered_rows(name, x64):
    """The local value of device 0 alone moves with the rows of device 1, which it only knows as candidates."""

    def of_device_0(x_a, x_b):
        loss = functools.partial(LOSSES[name], temperature=TEMPERATURE, axis_name="data")
        return jax.vmap(loss, axis_name="data")(x_a.reshape(2, -1, D), x_b.reshape(2, -1, D))[0]

    gradients = jax.jit(jax.grad(of_device_0, argnums=(0, 1)))(*jnp.asarray(ROWS))
    assert jnp.linalg.norm(gradients[1][B // 2 :]) > 1e-2


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(("kind", "n"), [("single", 1), ("vmap", 4)])
def test_no_reduction_gives_the_values_of_the_examples(name, kind, n, x64):
    def body(params, z_a, z_b, weights, axis_name):
        options = dict(temperature=TEMPERATURE, axis_name=axis_name, reduction="none")
        return params, (LOSSES[name](z_a, z_b, **options), LOSSES[name](z_a, z_b, weights=weights, **options))

    _, (plain, weighted) = evaluate(kind, n, body, 0, *jnp.asarray(ROWS), jnp.asarray(FRACTIONAL))
    np.testing.assert_allclose(plain, NUMPY_LOSSES[name](*ROWS, TEMPERATURE, np.ones(B)), rtol=1e-12)
    np.testing.assert_allclose(weighted, NUMPY_LOSSES[name](*ROWS, TEMPERATURE, FRACTIONAL), rtol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_block_size_does_not_change_the_result(name, x64):
    z_a, z_b = jnp.asarray(ROWS[:, :7])
    weights = jnp.asarray(FRACTIONAL[:7])

    def value_and_grad(block_size):
        loss = functools.partial(LOSSES[name], block_size=block_size, weights=weights)
        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(z_a, z_b)

    whole = value_and_grad(None)
    for block_size in (1, 3, 7):
        assert_close(value_and_grad(block_size), jax.tree.map(np.asarray, whole), 1e-12, f"block_size {block_size}")


def arrays(jaxpr):
    """Every equation's outputs, through all nested jaxprs."""
    for equation in jaxpr.eqns:
        yield from ((equation, variable.aval) for variable in equation.outvars)
        nested = jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns"))
        for inner in nested:
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from arrays(inner)


def largest_array(name, b, n=1, **options):
    """Elements of the largest array in the value and gradient of a loss, traced on shapes alone."""
    loss = functools.partial(LOSSES[name], axis_name="data", **options)
    z = jax.ShapeDtypeStruct((b, 2), jnp.float32)
    traced = jax.make_jaxpr(jax.value_and_grad(loss, argnums=(0, 1)), axis_env=[("data", n)])(z, z)
    return max(aval.size for _, aval in arrays(traced.jaxpr))


@pytest.mark.parametrize(("name", "views"), [("nt_xent", 2), ("info_nce", 1)])
def test_blocks_bound_the_memory(name, views):
    candidates = views * 512
    assert largest_array(name, 512) == candidates**2
    assert largest_array(name, 512, block_size=32) == 32 * candidates

    def temporary(block_size):
        loss = functools.partial(LOSSES[name], block_size=block_size)
        z = jax.ShapeDtypeStruct((512, 2), jnp.float32)
        compiled = jax.jit(jax.value_and_grad(loss, argnums=(0, 1))).lower(z, z).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary(32) < temporary(None) / 6


@pytest.mark.parametrize(("name", "views"), [("nt_xent", 2), ("info_nce", 1)])
def test_default_block_size_follows_the_global_batch(name, views):
    """Up to 8,192 examples in one block and 1,024 anchors at a time beyond, on one device and on eight."""
    for n in (1, 8):
        assert largest_array(name, 8192 // n, n) == (views * 8192 // n) * (views * 8192)
        assert largest_array(name, 8200 // n, n) == 1024 * views * 8200


def test_matmuls_have_the_highest_precision():
    highest = (jax.lax.Precision.HIGHEST, jax.lax.Precision.HIGHEST)
    for loss in LOSSES.values():
        traced = jax.make_jaxpr(jax.grad(loss, argnums=(0, 1)))(*jnp.asarray(ROWS, jnp.float32))
        products = [equation for equation, _ in arrays(traced.jaxpr) if equation.primitive.name == "dot_general"]
        assert len(products) == (2 if loss is against_queue else 3)  # no gradient to a constant queue
        assert all(product.params["precision"] == highest for product in products)


@pytest.mark.parametrize("name", LOSSES)
def test_order_of_the_batch_does_not_matter(name, x64):
    """Permuting the pairs over four devices permutes the gradients and leaves the loss."""
    order = np.random.default_rng(3).permutation(B)

    def body(params, z_a, z_b, axis_name):
        value, grads = jax.value_and_grad(LOSSES[name], argnums=(0, 1))(z_a, z_b, axis_name=axis_name)
        return pmean(value, axis_name), grads

    value, grads = evaluate("vmap", 4, body, 0, *jnp.asarray(ROWS))
    permuted_value, permuted_grads = evaluate("vmap", 4, body, 0, *jnp.asarray(ROWS[:, order]))
    assert_close((permuted_value, permuted_grads), (value, tuple(grad[order] for grad in grads)), 1e-12)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_zero_vectors_are_finite(loss):
    z = jnp.asarray(ROWS, jnp.float32).at[:, 3].set(0)
    value, grads = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(*z)
    assert all(np.isfinite(leaf).all() for leaf in (value, *grads))


@pytest.mark.parametrize("loss", GATHERING.values(), ids=GATHERING)
def test_a_single_example_has_no_negatives(loss):
    value, grads = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(*jnp.asarray(ROWS[:, :1], jnp.float32))
    assert value == 0 and not jnp.any(grads[0]) and not jnp.any(grads[1])


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_low_precision_is_widened(loss):
    z = jnp.asarray(ROWS, jnp.bfloat16)
    value = loss(*z)
    assert value.dtype == jnp.float32
    np.testing.assert_array_equal(value, loss(*z.astype(jnp.float32)))
    # Logits of 1,000 do not overflow.
    assert jnp.isfinite(loss(*z, temperature=1e-3))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_transformations_compose(loss, x64):
    stack = jnp.asarray(ROWS).reshape(2, 4, 4, D)

    def checkpointed(z_a, z_b, temperature):
        return jax.checkpoint(functools.partial(loss, block_size=3))(z_a, z_b, temperature=temperature)

    value_and_grad = jax.jit(jax.vmap(jax.value_and_grad(checkpointed, argnums=(0, 1, 2)), in_axes=(0, 0, None)))
    got = value_and_grad(*stack, TEMPERATURE)
    plain = jax.jit(jax.value_and_grad(lambda z_a, z_b, t: loss(z_a, z_b, temperature=t), argnums=(0, 1, 2)))
    want = [plain(*stack[:, i], TEMPERATURE) for i in range(4)]
    assert_close(got, jax.tree.map(lambda *leaves: np.stack(leaves), *want), 1e-12)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        (((4,), (4,)), {}, r"has shape \(4,\) .* must be \[b, D\]"),
        (((4, 3), (5, 3)), {}, r"has shape \(4, 3\) and \w+ has shape \(5, 3\), .* equal b and D: pass"),
        (((4, 3), (4, 3)), {"temperature": 0}, "temperature is 0, but must be positive"),
        (((4, 3), (4, 3)), {"temperature": float("nan")}, "temperature is nan, but must be positive"),
        (((4, 3), (4, 3)), {"block_size": 0}, "block_size is 0, but must be a positive integer: pass"),
        (((4, 3), (4, 3)), {"block_size": 2.0}, "block_size is 2.0, but must be a positive integer: pass"),
        (((4, 3), (4, 3)), {"weights": np.ones((4, 1))}, r"weights has shape \(4, 1\), but .* needs \(4,\): pass"),
        (((4, 3), (4, 3)), {"reduction": "sum"}, "reduction is 'sum', but must be .mean. or .none.: pass"),
    ],
)
def test_wrong_use_gets_one_sentence(loss, shapes, options, message):
    with pytest.raises(ValueError, match=message) as error:
        loss(*map(jnp.ones, shapes), **options)
    assert "\n" not in str(error.value)
