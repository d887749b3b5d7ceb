"""Barlow Twins and VICReg against NumPy transcriptions of the papers' formulas, on every topology."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params
from jax.sharding import PartitionSpec as P

from ssl_jax import losses
from ssl_jax.collectives import axis_size, pmean

B = 16
TOPOLOGIES = [("single", 1), ("vmap", 4), ("shard_map", 2), ("shard_map", 8)]
WIDTHS = [5, 16, 40]  # fewer dimensions than rows, as many, and more: the two forms of the sum over [D, D]


def views(d):
    """Two views `[2, B, d]` that correlate, and so do dimensions; with means, and deviations on both sides of 1."""
    random = np.random.default_rng(0)
    common = random.normal(size=(B, d)) @ random.normal(size=(d, d)) / np.sqrt(d)
    return (common + 0.4 * random.normal(size=(2, B, d))) * np.linspace(0.3, 2.0, d) + np.linspace(-2, 5, d)


def numpy_barlow_twins(z_a, z_b, off_diagonal_weight=0.0051):
    """Equations 1 and 2 of arXiv 2103.03230 with the official batch norm: biased variance, epsilon 1e-5."""
    z_a, z_b = ((z - z.mean(axis=0)) / np.sqrt(((z - z.mean(axis=0)) ** 2).mean(axis=0) + 1e-5) for z in (z_a, z_b))
    c = z_a.T @ z_b / len(z_a)
    weights = np.where(np.eye(len(c)), 1, off_diagonal_weight)
    return (weights * (c - np.eye(len(c))) ** 2).sum()


def numpy_vicreg(z_a, z_b, invariance_weight=25.0, variance_weight=25.0, covariance_weight=1.0):
    """Equations 1 to 4 and 6 and algorithm 1 of arXiv 2105.04906, the variance halved as in the official code."""
    n, d = z_a.shape
    variance = covariance = 0
    for z in (z_a, z_b):
        z = z - z.mean(axis=0)
        c = z.T @ z / (n - 1)
        hinge = 1 - np.sqrt(np.diag(c) + 1e-4)
        variance += np.where(hinge.real > 0, hinge, 0).mean() / 2
        covariance += (c[~np.eye(d, dtype=bool)] ** 2).sum() / d
    invariance = ((z_a - z_b) ** 2).mean()
    return invariance_weight * invariance + variance_weight * variance + covariance_weight * covariance


LOSSES = {
    "barlow_twins": (losses.barlow_twins, numpy_barlow_twins, {}),
    "barlow_twins_heavy": (losses.barlow_twins, numpy_barlow_twins, {"off_diagonal_weight": 0.7}),
    "vicreg": (losses.vicreg, numpy_vicreg, {}),
    "vicreg_covariance": (
        losses.vicreg, numpy_vicreg, {"invariance_weight": 0.3, "variance_weight": 2.0, "covariance_weight": 5.0},
    ),
}  # fmt: skip


def complex_step(function, z):
    """The gradient of an analytic function at z, to the last digit: Im f(z + ih) / h."""
    gradient, h = np.zeros_like(z), 1e-30
    for index in np.ndindex(z.shape):
        moved = z.astype(complex)
        moved[index] += 1j * h
        gradient[index] = function(*moved).imag / h
    return gradient


@functools.cache
def expected(name, d):
    _, reference, options = LOSSES[name]
    function = functools.partial(reference, **options)
    return function(*views(d)), complex_step(function, views(d))


def evaluate(loss, z, topology, n):
    """The global loss, and its gradient with respect to both views of all devices, `[2, B, D]`."""
    if topology == "single":
        return jax.jit(jax.value_and_grad(lambda z: loss(*z)))(z)

    def per_device(z):
        value, gradient = jax.value_and_grad(lambda z: loss(*z, axis_name="data"))(z)
        return pmean(value, "data"), gradient / axis_size("data")

    if topology == "vmap":
        shards = z.reshape(2, n, -1, z.shape[-1]).swapaxes(0, 1)
        value, gradient = jax.jit(jax.vmap(per_device, axis_name="data"))(shards)
        return value[0], gradient.swapaxes(0, 1).reshape(z.shape)
    mesh = jax.make_mesh((n,), ("data",), devices=jax.devices()[:n], axis_types=(jax.sharding.AxisType.Auto,))
    rows = P(None, "data")
    mapped = jax.shard_map(per_device, mesh=mesh, in_specs=rows, out_specs=(P(), rows), check_vma=False)
    return jax.jit(mapped)(z)


@pytest.mark.parametrize("d", WIDTHS)
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(("topology", "n"), TOPOLOGIES)
def test_values_and_gradients_are_the_papers_on_any_topology(x64, topology, n, name, d):
    loss, _, options = LOSSES[name]
    value, gradient = evaluate(functools.partial(loss, **options), jnp.asarray(views(d)), topology, n)
    expected_value, expected_gradient = expected(name, d)
    assert value.dtype == jnp.float64
    assert float(value) == pytest.approx(expected_value, rel=1e-12)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-11, atol=1e-12 * np.abs(expected_gradient).max())


@pytest.mark.parametrize("d", WIDTHS)
@pytest.mark.parametrize("name", LOSSES)
def test_single_precision_is_near(name, d):
    loss, _, options = LOSSES[name]
    loss = functools.partial(loss, **options)
    value, gradient = evaluate(loss, jnp.asarray(views(d), jnp.float32), "vmap", 4)
    expected_value, expected_gradient = expected(name, d)
    assert value.dtype == gradient.dtype == jnp.float32
    assert float(value) == pytest.approx(expected_value, rel=1e-6)
    assert np.abs(gradient - expected_gradient).max() < 3e-6 * np.abs(expected_gradient).max()
    assert jax.eval_shape(loss, *jnp.asarray(views(d), jnp.bfloat16)).dtype == jnp.float32


@pytest.mark.parametrize("d", WIDTHS)
def test_means_far_from_zero_cost_no_digits(d):
    """Differences of squares would lose all of them: the mean is 1,000 deviations here."""
    z = np.float32(views(d)) + np.float32(1000)
    for loss, reference in ((losses.barlow_twins, numpy_barlow_twins), (losses.vicreg, numpy_vicreg)):
        assert float(loss(*jnp.asarray(z))) == pytest.approx(reference(*np.float64(z)), rel=2e-4)


def test_terms_add_up_to_the_losses(x64):
    z = jnp.asarray(views(5))
    barlow, vicreg = losses.barlow_twins_terms(*z), losses.vicreg_terms(*z)
    total = barlow["on_diagonal"] + 0.5 * barlow["off_diagonal"]
    assert float(losses.barlow_twins(*z, off_diagonal_weight=0.5)) == pytest.approx(float(total), rel=1e-12)
    total = 2 * vicreg["invariance"] + 3 * vicreg["variance"] + 4 * vicreg["covariance"]
    weighted = losses.vicreg(*z, invariance_weight=2.0, variance_weight=3.0, covariance_weight=4.0)
    assert float(weighted) == pytest.approx(float(total), rel=1e-12)


def test_barlow_twins_does_not_see_means_and_scales(x64):
    z_a, z_b = jnp.asarray(views(5))
    loss = functools.partial(losses.barlow_twins, epsilon=1e-30)
    scale, shift = jnp.array([[0.1, -3.0, 7.0, 1.0, 100.0]]), jnp.array([[1.0, 2.0, 3.0, -4.0, 0.0]])
    assert float(loss(z_a * scale + shift, z_b * scale)) == pytest.approx(float(loss(z_a, z_b)), rel=1e-10)
    assert float(losses.vicreg(z_a + shift, z_b + shift)) == pytest.approx(float(losses.vicreg(z_a, z_b)), rel=1e-10)
    assert float(losses.vicreg(2 * z_a, 2 * z_b)) > 2 * float(losses.vicreg(z_a, z_b))


@pytest.mark.parametrize("d", WIDTHS)
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_collapsed_embeddings_have_the_loss_of_the_formula_and_a_finite_gradient(d, value):
    z = jnp.full((2, B, d), value)
    barlow, gradient = evaluate(losses.barlow_twins, z, "vmap", 4)
    assert float(barlow) == pytest.approx(d, rel=1e-6) and np.isfinite(gradient).all()
    vicreg, gradient = evaluate(losses.vicreg, z, "vmap", 4)
    assert float(vicreg) == pytest.approx(25 * 0.99, rel=1e-5) and np.isfinite(gradient).all()


def largest(loss, b, d, n):
    """The number of values in the largest array of the backward pass on one of n devices."""

    def sizes(jaxpr):
        for equation in jaxpr.eqns:
            yield from (variable.aval.size for variable in equation.outvars)
            for inner in jaxprs_in_params(equation.params):
                yield from sizes(inner)

    z = jax.ShapeDtypeStruct((b, d), jnp.float32)
    traced = jax.make_jaxpr(jax.grad(functools.partial(loss, axis_name="data")), axis_env=[("data", n)])(z, z)
    return max(sizes(traced.jaxpr))


@pytest.mark.parametrize("loss", [losses.barlow_twins, losses.vicreg])
def test_the_smaller_of_the_two_matrices_is_made(loss):
    assert largest(loss, 4, 64, 8) == 32 * 64  # the embeddings of all devices; [4, 32] similarities
    assert largest(loss, 16, 64, 8) == 64 * 64  # 128 rows: [64, 64] sums


@pytest.mark.parametrize("loss", [losses.barlow_twins, losses.vicreg])
def test_wrong_arguments_get_one_sentence(loss):
    with pytest.raises(ValueError, match=r"z_a has shape \(4, 3\) and z_b has shape \(4, 2\)"):
        loss(jnp.ones((4, 3)), jnp.ones((4, 2)))
    with pytest.raises(ValueError, match=r"z_a has shape \(3,\)"):
        loss(jnp.ones(3), jnp.ones(3))
    with pytest.raises(ValueError, match="global batch is 1 row, which has no variance: pass at least 2"):
        loss(jnp.ones((1, 3)), jnp.ones((1, 3)))
    mapped = jax.vmap(functools.partial(loss, axis_name="data"), axis_name="data")
    assert mapped(*jnp.asarray(views(5), jnp.float32)[:, :2, None]).shape == (2,)  # one row a device is enough
