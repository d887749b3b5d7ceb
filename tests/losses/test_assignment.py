"""Assignments and the swapped prediction of SwAV against transcriptions of the paper in NumPy, on every topology."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from ssl_jax.collectives import axis_size, pmean
from ssl_jax.losses import sinkhorn, swav

B, V, A, K, EPSILON, TEMPERATURE = 16, 3, 2, 5, 0.05, 0.1
SCORES = np.random.default_rng(0).uniform(-1, 1, (B, V, K))  # examples first, to be shared out between devices
PADDING = np.ones(B)
PADDING[[1, 2, 3, 9]] = 0  # of eight devices, one holds padding only and five hold none
TOPOLOGIES = [("single", 1), ("vmap", 2), ("vmap", 8), ("shard_map", 4)]


def numpy_sinkhorn(scores, epsilon=EPSILON, iterations=3):
    """Algorithm 1 of arXiv 2006.09882, appendix A, line by line; examples are its columns."""
    q = np.exp(scores / epsilon).T
    q = q / q.sum()
    prototypes, examples = q.shape
    for _ in range(iterations):
        q = q / q.sum(axis=1, keepdims=True) / prototypes
        q = q / q.sum(axis=0, keepdims=True) / examples
    return (q / q.sum(axis=0, keepdims=True)).T


def numpy_swav(scores, assignments):
    """Per-example values and their gradient, from equations 2 and 6: every crop is predicted from every other."""
    p = np.exp(scores / TEMPERATURE)
    p = p / p.sum(axis=-1, keepdims=True)
    values, gradient = np.zeros(len(scores)), np.zeros_like(scores)
    for i in range(assignments.shape[1]):
        for v in range(scores.shape[1]):
            if v != i:
                values -= (assignments[:, i] * np.log(p[:, v])).sum(axis=1)
                gradient[:, v] += (p[:, v] - assignments[:, i]) / TEMPERATURE
    pairs = assignments.shape[1] * (scores.shape[1] - 1)
    return values / pairs, gradient / pairs / len(scores)


def on_devices(kind, n, body, *arrays):
    """`body(*local rows, axis_name=...) -> replicated, rows`, whole arrays in and out."""
    arrays = [jnp.asarray(array, float) for array in arrays]
    if kind == "single":
        return jax.jit(partial(body, axis_name=None))(*arrays)
    body = partial(body, axis_name="data")
    if kind == "shard_map":
        mesh = jax.make_mesh((n,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:n])
        specs = dict(in_specs=P("data"), out_specs=(P(), P("data")), check_vma=False)
        return jax.jit(jax.shard_map(body, mesh=mesh, **specs))(*arrays)
    replicated, rows = jax.jit(jax.vmap(body, axis_name="data"))(*(x.reshape(n, -1, *x.shape[1:]) for x in arrays))
    return jax.tree.map(lambda x: x[0], replicated), jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), rows)


def everything(scores, weights, axis_name):
    """Replicated: the loss. By rows: the assignments, those without the padding, per-example losses, the gradient."""
    scores = jnp.swapaxes(scores, 0, 1)

    def loss(scores, **options):
        assignments = [sinkhorn(crop, axis_name=axis_name) for crop in scores[:A]]
        return swav(scores, assignments, axis_name=axis_name, **options), assignments

    (value, assignments), gradient = jax.value_and_grad(loss, has_aux=True)(scores)
    weighted = loss(scores, weights=weights)[0]
    rows = {
        "assignments": jnp.stack(assignments, axis=1),
        "without padding": sinkhorn(scores[0], weights=weights, axis_name=axis_name),
        "losses": loss(scores, reduction="none")[0],
        "gradient": jnp.swapaxes(gradient, 0, 1) / axis_size(axis_name),
    }
    return pmean((value, weighted), axis_name), rows


@pytest.mark.parametrize(("kind", "n"), TOPOLOGIES)
@pytest.mark.parametrize("wide", [True, False])
def test_values_and_gradients_are_the_papers(kind, n, wide):
    with jax.enable_x64(wide):
        (value, weighted), rows = jax.device_get(on_devices(kind, n, everything, SCORES, PADDING))
    close = partial(np.testing.assert_allclose, rtol=0, atol=1e-12 if wide else 2e-6)
    assignments = np.stack([numpy_sinkhorn(SCORES[:, i]) for i in range(A)], axis=1)
    losses, gradient = numpy_swav(SCORES, assignments)
    close(rows["assignments"], assignments)
    close(rows["losses"], losses, atol=1e-11 if wide else 1e-5)
    close(rows["gradient"], gradient)
    assert value == pytest.approx(losses.mean(), rel=1e-12 if wide else 1e-6)
    assert weighted == pytest.approx(losses[PADDING > 0].mean(), rel=1e-12 if wide else 1e-6)
    # Rows of weight 0 take no share: the others' assignments are those of a batch without them.
    close(rows["without padding"][PADDING > 0], numpy_sinkhorn(SCORES[PADDING > 0, 0]))
    assert np.isfinite(rows["without padding"]).all()


def test_every_prototype_gets_an_equal_share(x64):
    scores = jnp.asarray(SCORES[:, 0])
    for iterations in (1, 3, 100):
        np.testing.assert_allclose(sinkhorn(scores, iterations=iterations).sum(axis=1), 1, rtol=1e-14)
    np.testing.assert_allclose(sinkhorn(scores, iterations=100).sum(axis=0), B / K, rtol=0.02)
    assert np.ptp(sinkhorn(scores, iterations=3).sum(axis=0)) < np.ptp(sinkhorn(scores, iterations=1).sum(axis=0))
    np.testing.assert_allclose(sinkhorn(scores, iterations=0), jax.nn.softmax(scores / EPSILON), rtol=1e-14)


def test_weights_count_examples(x64):
    counts = np.random.default_rng(1).integers(1, 4, B)
    repeated = np.repeat(np.arange(B), counts)
    many = sinkhorn(jnp.asarray(SCORES[repeated, 0]))
    np.testing.assert_allclose(sinkhorn(jnp.asarray(SCORES[:, 0]), weights=counts)[repeated], many, rtol=1e-11)


@pytest.mark.parametrize(("factor", "epsilon"), [(1, 1e-3), (1, 1e-6), (1e30, 0.05), (-1e30, 0.05), (0, 0.05)])
def test_scores_of_any_size_are_finite(factor, epsilon):
    scores = jnp.asarray(factor * SCORES, jnp.float32).swapaxes(0, 1)
    if factor:
        with np.errstate(all="ignore"):
            as_written = numpy_sinkhorn(np.float32(scores[0]), epsilon)
        assert not np.isfinite(as_written).all()
    assignments = [sinkhorn(crop, epsilon=epsilon) for crop in scores[:A]]
    loss, gradient = jax.value_and_grad(lambda scores: swav(scores, assignments))(scores)
    assert all(np.isfinite(x).all() for x in (*assignments, loss, gradient))
    np.testing.assert_allclose(jnp.sum(assignments[0], axis=1), 1, rtol=1e-5)
    if factor == 0:  # examples that nothing tells apart
        assert float(loss) == pytest.approx(np.log(K), rel=1e-6)
        np.testing.assert_allclose(assignments[0], 1 / K, rtol=1e-6)


def test_no_gradient_flows_through_assignments():
    scores = jnp.asarray(SCORES, jnp.float32).swapaxes(0, 1)
    coefficients = jnp.arange(B * K, dtype=jnp.float32).reshape(B, K)
    np.testing.assert_array_equal(jax.grad(lambda s: jnp.sum(coefficients * sinkhorn(s)))(scores[0]), 0)
    np.testing.assert_array_equal(jax.grad(lambda q: swav(scores, q))(scores[:A]), 0)


def test_no_crop_predicts_itself():
    scores = jnp.asarray(SCORES, jnp.float32).swapaxes(0, 1)
    gradient = jax.grad(swav)(scores, [sinkhorn(scores[0])])
    np.testing.assert_array_equal(gradient[0], 0)
    assert np.abs(gradient[1:]).min(axis=(1, 2)).all()


def test_half_precision_is_widened():
    scores = jnp.asarray(SCORES, jnp.bfloat16).swapaxes(0, 1)
    assignments = [sinkhorn(crop) for crop in scores[:A]]
    assert {x.dtype for x in (*assignments, swav(scores, assignments))} == {jnp.dtype("float32")}


ONES = jnp.ones((2, 4, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sinkhorn(ONES), r"scores has shape \(2, 4, 3\), but must be \[b, K\]"),
        (lambda: sinkhorn(ONES[0], epsilon=0), "epsilon is 0, but must be positive"),
        (lambda: sinkhorn(ONES[0], iterations=-1), "iterations is -1, but must be an integer from 0 on"),
        (lambda: sinkhorn(ONES[0], weights=jnp.ones(3)), r"weights has shape \(3,\), but 4 examples need \(4,\)"),
        (lambda: swav(ONES[:1], ONES[:1]), "1 crops have scores and 1 assignments, but at least 2 need scores"),
        (lambda: swav(ONES, ONES[:0]), "2 crops have scores and 0 assignments"),
        (lambda: swav(ONES[:2], [ONES[0]] * 3), "2 crops have scores and 3 assignments"),
        (lambda: swav([ONES[0], ONES[0, :3]], [ONES[0]]), r"scores\[1\] has shape \(3, 3\) and .* must be \[b, K\]"),
        (lambda: swav(ONES, ONES[:, :, :2]), r"assignments\[1\] has shape \(4, 2\), but must be"),
        (lambda: swav(ONES, ONES / 3, temperature=-1), "temperature is -1, but must be positive"),
        (lambda: swav(ONES, ONES / 3, reduction="sum"), "reduction is 'sum', but must be"),
    ],
)
def test_wrong_use_gets_one_sentence(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
