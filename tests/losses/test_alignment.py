"""The losses of BYOL and SimSiam against NumPy transcriptions of the papers' formulas, on every topology."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from ssl_jax.collectives import pmean
from ssl_jax.losses import byol, simsiam

LOSSES = {"byol": byol, "simsiam": simsiam}
B, D = 16, 5
PREDICTIONS, TARGETS = np.random.default_rng(0).normal(size=(2, B, D))
MATRIX = np.random.default_rng(1).normal(size=(D, D))  # a parameter that both sides depend on
WEIGHTS = {"plain": None, "weighted": np.random.default_rng(2).uniform(0, 2, B), "padded": np.ones(B)}
WEIGHTS["padded"][[1, 2, 3, 9]] = 0  # uneven over the devices: of eight, one holds padding only


def numpy_byol(p, t):
    """Equation 2 of arXiv 2006.07733, before the mean over examples."""
    p, t = p / np.sqrt((p * p).sum(axis=1, keepdims=True)), t / np.sqrt((t * t).sum(axis=1, keepdims=True))
    return ((p - t) ** 2).sum(axis=1)


def numpy_simsiam(p, t):
    """Equation 1 of arXiv 2011.10566."""
    return -(p * t).sum(axis=1) / np.sqrt((p * p).sum(axis=1)) / np.sqrt((t * t).sum(axis=1))


NUMPY_LOSSES = {"byol": numpy_byol, "simsiam": numpy_simsiam}


@functools.cache
def expected(name, case):
    """The mean over the global batch and its gradients by complex steps: exact to rounding, no subtraction."""
    leaves = [np.asarray(leaf, complex) for leaf in (MATRIX, PREDICTIONS, TARGETS)]

    def value():
        matrix, predictions, targets = leaves
        return np.average(NUMPY_LOSSES[name](predictions @ matrix, targets @ matrix), weights=WEIGHTS[case])

    gradients = [np.zeros(leaf.shape) for leaf in leaves]
    for leaf, gradient in zip(leaves, gradients, strict=True):
        for index in np.ndindex(leaf.shape):
            leaf[index] += 1e-30j
            gradient[index] = value().imag / 1e-30
            leaf[index] = leaf[index].real
    return value().real, *gradients


def local(matrix, predictions, targets, weights, axis_name, cases):
    """Every loss in every case on one device: its mean over devices, the parameter's gradient averaged once."""
    found = {}
    for name, loss in LOSSES.items():
        for case in cases:

            def of_rows(matrix, predictions, targets, loss=loss, weights=weights[case]):
                return loss(predictions @ matrix, targets @ matrix, weights=weights, axis_name=axis_name)

            value, gradients = jax.value_and_grad(of_rows, argnums=(0, 1, 2))(matrix, predictions, targets)
            found[name, case] = (*pmean((value, gradients[0]), axis_name), *gradients[1:])
    return {name: values[:2] for name, values in found.items()}, {name: values[2:] for name, values in found.items()}


def on_devices(kind, n, dtype, cases=tuple(WEIGHTS)):
    """`local` with the rows spread over n devices, its results as those of one device."""
    matrix, *rows = (jnp.asarray(leaf, dtype) for leaf in (MATRIX, PREDICTIONS, TARGETS))
    rows.append({case: None if WEIGHTS[case] is None else jnp.asarray(WEIGHTS[case], dtype) for case in cases})
    body = functools.partial(local, axis_name=None if kind == "single" else "data", cases=cases)
    if kind == "single":
        return jax.jit(body)(matrix, *rows)
    if kind == "shard_map":
        mesh = jax.make_mesh((n,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:n])
        specs = dict(in_specs=(P(), P("data"), P("data"), P("data")), out_specs=(P(), P("data")), check_vma=False)
        means, gradients = jax.jit(jax.shard_map(body, mesh=mesh, **specs))(matrix, *rows)
    else:
        split = jax.tree.map(lambda x: x.reshape(n, -1, *x.shape[1:]), rows)
        mapped = jax.jit(jax.vmap(body, axis_name="data", in_axes=(None, 0, 0, 0)))(matrix, *split)
        means = jax.tree.map(lambda x: x[0], mapped[0])
        gradients = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), mapped[1])
    # Inside the axis the gradient is that of the sum of all local values, n times the global loss.
    return means, jax.tree.map(lambda x: x / n, gradients)


def check(kind, n, dtype, tolerance):
    means, gradients = on_devices(kind, n, dtype)
    for name, case in means:
        for got, want in zip((*means[name, case], *gradients[name, case]), expected(name, case), strict=True):
            error = np.linalg.norm(np.asarray(got, np.float64) - want) / np.linalg.norm(want)
            assert got.dtype == dtype and error <= tolerance, (name, case, error)


@pytest.mark.parametrize(
    ("kind", "n"), [("single", 1), ("vmap", 2), ("vmap", 4), ("vmap", 8), ("shard_map", 2), ("shard_map", 8)]
)
def test_values_and_gradients_are_the_papers_on_any_number_of_devices(kind, n, x64):
    check(kind, n, jnp.float64, 1e-12)


def test_float32_agrees_to_its_rounding():
    check("single", 1, jnp.float32, 1e-6)
    check("vmap", 8, jnp.float32, 1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_values_of_the_examples_are_without_their_weights(name, x64):
    p, t = jnp.asarray(PREDICTIONS), jnp.asarray(TARGETS)
    values = LOSSES[name](p, t, reduction="none", weights=jnp.asarray(WEIGHTS["weighted"]))
    np.testing.assert_allclose(values, NUMPY_LOSSES[name](PREDICTIONS, TARGETS), rtol=1e-12)


def test_the_two_losses_differ_by_scale_and_offset():
    p, t = jnp.asarray(PREDICTIONS, jnp.float32), jnp.asarray(TARGETS, jnp.float32)
    assert float(byol(p, t)) == pytest.approx(2 + 2 * float(simsiam(p, t)), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_a_stopped_target_gets_no_gradient_and_one_that_is_not_gets_it(name):
    p, t = jnp.asarray(PREDICTIONS, jnp.float32), jnp.asarray(TARGETS, jnp.float32)
    stopped = jax.grad(lambda t: LOSSES[name](p, jax.lax.stop_gradient(t)))(t)
    assert not np.any(stopped)
    assert np.all(np.any(jax.grad(lambda t: LOSSES[name](p, t))(t), axis=1))


@pytest.mark.parametrize("name", LOSSES)
def test_zero_and_identical_rows_are_finite(name):
    p = jnp.asarray(PREDICTIONS, jnp.float32).at[3].set(0)
    same = {"byol": 0, "simsiam": -1}[name]
    values = LOSSES[name](p, p, reduction="none")
    np.testing.assert_allclose(np.delete(values, 3), same, atol=1e-6)
    assert np.all(np.asarray(byol(p, p, reduction="none")) >= 0)
    # A zero row has no direction: it counts as apart from everything.
    assert float(LOSSES[name](p, jnp.asarray(TARGETS, jnp.float32), reduction="none")[3]) == pytest.approx(same + 1)
    for target in (p, jnp.zeros_like(p), jnp.asarray(TARGETS, jnp.float32)):
        value, gradients = jax.value_and_grad(LOSSES[name], argnums=(0, 1))(p, target)
        assert np.isfinite(value) and all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_is_widened(name):
    p, t = jnp.asarray(PREDICTIONS, jnp.bfloat16), jnp.asarray(TARGETS, jnp.bfloat16)
    value = LOSSES[name](p, t)
    wide = NUMPY_LOSSES[name](np.float64(p), np.float64(t)).mean()
    assert value.dtype == jnp.float32 and float(value) == pytest.approx(wide, abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        (((4, 3), (4, 2)), {}, r"prediction has shape \(4, 3\) and target has shape \(4, 2\), but must be"),
        (((4,), (4,)), {}, r"prediction has shape \(4,\)"),
        (((4, 3), (4, 3)), {"weights": jnp.ones(3)}, r"weights has shape \(3,\), but 4 examples need \(4,\)"),
        (((4, 3), (4, 3)), {"reduction": "sum"}, "reduction is 'sum', but must be"),
    ],
)
def test_wrong_use_gets_one_sentence(name, shapes, options, message):
    with pytest.raises(ValueError, match=message) as error:
        LOSSES[name](*(jnp.ones(shape) for shape in shapes), **options)
    assert "\n" not in str(error.value)
