"""The contrastive losses against NumPy transcriptions of the papers' formulas, on every topology."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssl_jax.collectives import axis_size, pmean
from ssl_jax.losses import clip, dclw, info_nce, nt_xent, queue_info_nce, sigmoid, sup_con
from tests.losses.references import (
    FRACTIONAL,
    LOSSES,
    NUMPY_LOSSES,
    PADDING,
    PARAMS,
    QUEUE,
    ROWS,
    TEMPERATURE,
    B,
    D,
    assert_close,
    evaluate,
    expected,
    numpy_dcl,
    unit,
)  # fmt: skip

# Each in the gathered form, which a batch of this size has by default, and in tiles, which do not divide the batch.
CASES = {
    "plain": {},
    "padded": {"weights": PADDING},
    "weighted": {"weights": FRACTIONAL, "block_size": 3},
    "padded, in tiles": {"weights": PADDING, "block_size": 2},
}


def values_and_grads(params, x_a, x_b, fractional, padding, axis_name, cases):
    """Every loss in every case: the mean of the local values, parameter gradients averaged, row gradients over n."""
    local_weights = {"padded": padding, "weighted": fractional, "padded, in tiles": padding}
    replicated, rows = {}, {}
    for name, loss in LOSSES.items():
        for case in cases:
            options = CASES[case] | ({"weights": local_weights[case]} if case in local_weights else {})

            def local(params, x_a, x_b, loss=loss, options=options):
                z_a, z_b = x_a @ params["matrix"], x_b @ params["matrix"]
                return loss(z_a, z_b, temperature=params["temperature"], axis_name=axis_name, **options)

            value, grads = jax.value_and_grad(local, argnums=(0, 1, 2))(params, x_a, x_b)
            replicated[name, case] = pmean((value, grads[0]), axis_name)
            # Inside the axis the gradient is that of the sum of all local values, n times the global loss.
            rows[name, case] = tuple(grad / axis_size(axis_name) for grad in grads[1:])
    return replicated, rows


def check_topology(kind, n, dtype, tolerance, cases):
    body = functools.partial(values_and_grads, cases=cases)
    cast = functools.partial(jax.tree.map, lambda x: jnp.asarray(x, dtype))
    replicated, rows = evaluate(kind, n, body, *cast((PARAMS, *ROWS, FRACTIONAL, PADDING)))
    assert all(leaf.dtype == dtype for leaf in jax.tree.leaves((replicated, rows)))
    for (name, case), (value, params) in replicated.items():
        wanted = expected(name, case.removesuffix(", in tiles"))
        assert_close((value, (params, *rows[name, case])), wanted, tolerance, f"{name}, {case}")


@pytest.mark.parametrize(
    ("kind", "n", "cases"),
    [
        ("single", 1, ("plain", "weighted")),
        ("vmap", 4, ("padded, in tiles",)),
        ("pmap", 8, ("padded",)),
        ("shard_map", 8, ("weighted",)),
    ],
)
def test_values_and_gradients_are_the_papers_float64(kind, n, cases, x64):
    check_topology(kind, n, np.float64, 1e-12, cases)


@pytest.mark.parametrize(("kind", "n"), [("single", 1), ("shard_map", 8)])
def test_values_and_gradients_are_the_papers_float32(kind, n):
    check_topology(kind, n, np.float32, 1e-6, ("weighted",))


def test_agree_with_optax(x64):
    z_a, z_b = jnp.asarray(ROWS)
    ours = nt_xent(z_a, z_b, temperature=TEMPERATURE)
    theirs = jax.jit(optax.losses.ntxent)(jnp.concatenate([z_a, z_b]), jnp.tile(jnp.arange(B), 2), TEMPERATURE)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    unit_a, unit_b = (z / jnp.linalg.norm(z, axis=1, keepdims=True) for z in (z_a, z_b))
    logits = unit_a @ unit_b.T / TEMPERATURE
    theirs = optax.losses.softmax_cross_entropy_with_integer_labels(logits, jnp.arange(B)).mean()
    np.testing.assert_allclose(info_nce(z_a, z_b, temperature=TEMPERATURE), theirs, rtol=1e-12)


@pytest.mark.parametrize("block_size", [None, 4])
def test_rows_have_the_cotangent_of_the_device_that_owns_them(block_size, x64):
    """Of device 0's value alone, rows of device 1 have a gradient too: it knows them as candidates."""

    def of_device_0(_, x_a, x_b, axis_name):
        def local(x_a, x_b):
            values = info_nce(x_a, x_b, axis_name=axis_name, block_size=block_size, reduction="none")
            return jnp.sum(values) * (jax.lax.axis_index(axis_name) == 0)

        return 0, jax.grad(local, argnums=(0, 1))(x_a, x_b)

    _, (of_queries, of_keys) = evaluate("vmap", 2, of_device_0, 0, *jnp.asarray(ROWS))

    def of_its_queries(x_a, x_b):
        return jnp.sum(info_nce(x_a, x_b, reduction="none")[: B // 2])

    wanted = jax.grad(of_its_queries, argnums=(0, 1))(*jnp.asarray(ROWS))
    assert not of_queries[B // 2 :].any() and np.linalg.norm(of_keys[B // 2 :]) > 1e-2
    assert_close((of_queries, of_keys), jax.tree.map(np.asarray, wanted), 1e-12)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(("kind", "n"), [("vmap", 4)])
def test_no_reduction_gives_the_values_of_the_examples(name, kind, n, x64):
    def body(params, z_a, z_b, weights, axis_name):
        options = dict(temperature=TEMPERATURE, axis_name=axis_name, reduction="none")
        return params, (LOSSES[name](z_a, z_b, **options), LOSSES[name](z_a, z_b, weights=weights, **options))

    _, (plain, weighted) = evaluate(kind, n, body, 0, *jnp.asarray(ROWS), jnp.asarray(FRACTIONAL))
    np.testing.assert_allclose(plain, NUMPY_LOSSES[name](*ROWS, TEMPERATURE, np.ones(B)), rtol=1e-12)
    np.testing.assert_allclose(weighted, NUMPY_LOSSES[name](*ROWS, TEMPERATURE, FRACTIONAL), rtol=1e-12)


@pytest.mark.parametrize("name", ["nt_xent", "clip", "sigmoid", "dclw"])
def test_order_of_the_batch_does_not_matter(name, x64):
    """Permuting the pairs over four devices permutes the gradients and leaves the loss."""
    order = np.random.default_rng(3).permutation(B)

    def body(params, z_a, z_b, axis_name):
        loss = functools.partial(LOSSES[name], axis_name=axis_name, block_size=2)
        value, grads = jax.value_and_grad(loss, argnums=(0, 1))(z_a, z_b)
        return pmean(value, axis_name), grads

    value, grads = evaluate("vmap", 4, body, 0, *jnp.asarray(ROWS))
    permuted_value, permuted_grads = evaluate("vmap", 4, body, 0, *jnp.asarray(ROWS[:, order]))
    assert_close((permuted_value, permuted_grads), (value, tuple(grad[order] for grad in grads)), 1e-12)


def test_views_are_classes_of_their_own(x64):
    """NT-Xent is SupCon with the example as the class, for any number of views and any order of the rows."""
    z = jnp.asarray(np.random.default_rng(6).normal(size=(3, 8, D)))
    order = np.random.default_rng(7).permutation(24)
    rows, labels = z.reshape(24, D)[order], jnp.tile(jnp.arange(8), 3)[order]
    wanted = jax.jit(sup_con)(rows, labels)
    np.testing.assert_allclose(jax.jit(nt_xent)(*z), wanted, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(functools.partial(nt_xent, block_size=3))(*z), wanted, rtol=1e-12)


def test_a_row_without_positives_counts_as_nought(x64):
    z = jnp.asarray(ROWS[0, :4])
    values = sup_con(z, jnp.array([1, 1, 2, 3]), reduction="none")
    assert values[0] > 0 and not values[2:].any()
    np.testing.assert_allclose(sup_con(z, jnp.array([1, 1, 2, 3])), values.sum() / 4)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_degenerate_batches_are_finite(loss):
    """Zero vectors, identical embeddings, a single example; both with one exponential and with running maxima."""
    zero = jnp.asarray(ROWS, jnp.float32).at[:, 3].set(0)
    for block_size in (None, 5):

        def of(z_a, z_b, temperature, block_size=block_size):
            return loss(z_a, z_b, temperature=temperature, block_size=block_size)

        run = jax.jit(jax.value_and_grad(of, argnums=(0, 1, 2)))
        for temperature in (0.1, 0.01):
            for z in (zero, jnp.ones((2, B, D)), jnp.zeros((2, B, D)).at[:, 0].set(1)):
                assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(run(*z, temperature)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(run(*zero[:, :1], 0.1)))


@pytest.mark.parametrize("name", ["nt_xent", "info_nce", "clip"])
@pytest.mark.parametrize("block_size", [None, 1])
def test_a_single_example_has_no_negatives(name, block_size):
    run = jax.value_and_grad(functools.partial(LOSSES[name], block_size=block_size), argnums=(0, 1))
    value, grads = jax.jit(run)(*jnp.asarray(ROWS[:, :1], jnp.float32))
    assert value == 0 and not jnp.any(grads[0]) and not jnp.any(grads[1])


def test_a_queue_is_constant():
    gradient = jax.grad(queue_info_nce, argnums=2)(*jnp.asarray(ROWS, jnp.float32), jnp.asarray(QUEUE, jnp.float32))
    assert not gradient.any()


@pytest.mark.parametrize("name", ["nt_xent", "info_nce", "queue_info_nce", "clip", "sigmoid", "dcl"])
def test_low_precision_is_widened(name):
    loss = LOSSES[name]
    z = jnp.asarray(ROWS, jnp.bfloat16)
    value = loss(*z)
    assert value.dtype == jnp.float32
    np.testing.assert_array_max_ulp(value, loss(*z.astype(jnp.float32)), maxulp=1)  # not every processor adds alike
    # Logits of 1,000 do not overflow.
    assert jnp.isfinite(loss(*z, temperature=1e-3))


@pytest.mark.parametrize("name", LOSSES)
def test_sides_of_any_dtypes_have_the_gradients_of_their_numbers(name):
    """In tiles: bfloat16 is multiplied as it comes, two dtypes become one, and float16 is none to lose gradients in."""
    wide = jax.jit(jax.value_and_grad(functools.partial(LOSSES[name], block_size=3), argnums=(0, 1)))
    for of_a, of_b, tolerance in [
        (jnp.bfloat16, jnp.bfloat16, 1e-2), (jnp.bfloat16, jnp.float32, 5e-3), (jnp.float32, jnp.bfloat16, 5e-3),
        (jnp.float16, jnp.float16, 1e-3),
    ]:  # fmt: skip
        z_a, z_b = jnp.asarray(ROWS[0], of_a), jnp.asarray(ROWS[1], of_b)
        value, grads = wide(z_a, z_b)
        wanted_value, wanted = wide(z_a.astype(jnp.float32), z_b.astype(jnp.float32))
        assert value.dtype == jnp.float32 and (grads[0].dtype, grads[1].dtype) == (of_a, of_b)
        adds = name in ("nt_xent of three views", "sup_con")  # the two views, which rounds
        np.testing.assert_allclose(value, wanted_value, rtol=1e-3 if adds else 2e-6)
        norms = zip(grads, wanted, strict=True) if name != "queue_info_nce" else [(grads[0], wanted[0])]
        for grad, want in norms:
            assert_close(grad.astype(jnp.float32), np.asarray(want), tolerance, f"{of_a}, {of_b}")


@pytest.mark.parametrize("name", LOSSES)
def test_a_wider_temperature_does_not_change_how_embeddings_are_scaled(name, x64):
    z = jnp.asarray(ROWS, jnp.float32)
    values = [LOSSES[name](*z, temperature=t, block_size=3) for t in (0.5, jnp.float64(0.5))]
    np.testing.assert_allclose(*values, rtol=1e-6)


def test_numbers_that_are_arrays_may_be_constants_of_a_jitted_function():
    z, scale = jnp.asarray(ROWS, jnp.float32), jnp.float32(2)
    value = jax.jit(lambda x, y: clip(x, y, logit_scale=scale, block_size=4))(*z)
    np.testing.assert_allclose(value, clip(*z, logit_scale=2.0), rtol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_padding_has_no_gradient_at_low_temperatures(name):
    """Not even a copy of a row, or the only positive of one: the largest logits there are."""
    z = jnp.asarray(ROWS, jnp.float32).at[:, 12:].set(ROWS[:, :4])
    weights = np.where(np.arange(B) < 12, 1, 0)
    for block_size in (None, 5):
        loss = functools.partial(LOSSES[name], temperature=0.005, block_size=block_size)
        run = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
        value, grads = run(*z, weights=weights)
        wanted, wanted_grads = run(*z[:, :12])
        np.testing.assert_allclose(value, wanted, rtol=1e-4)
        for grad, want in zip(grads, wanted_grads, strict=True):
            assert not grad[12:].any()
            np.testing.assert_allclose(grad[:12], want, rtol=1e-3, atol=1e-4 * float(jnp.abs(want).max()))


def test_the_only_positive_may_be_padding(x64):
    """The row counts as one without positives."""
    z, labels = jnp.asarray(ROWS[0]), jnp.arange(B) % 15  # the first and the last row are of one class
    for temperature in (0.5, 0.005):
        run = jax.value_and_grad(functools.partial(sup_con, labels=labels, temperature=temperature))
        value, grad = run(z, weights=jnp.ones(B).at[-1].set(0))
        assert value == 0 and not grad.any()


def test_labels_of_64_bits_are_compared_whole(x64):
    z = jnp.asarray(ROWS[0, :4])
    wanted = sup_con(z, jnp.array([0, 1, 0, 1]))
    np.testing.assert_allclose(sup_con(z, jnp.array([0, 1 << 32, 0, 1 << 32])), wanted, rtol=1e-14)


@pytest.mark.parametrize("sigma", [0.0002, 0.05, 30.0])
def test_any_width_of_the_pair_weights(sigma, x64):
    z = ROWS[:, :8]
    agreement = np.exp((unit(z[0]) * unit(z[1])).sum(axis=1) / np.longdouble(sigma))
    wanted = numpy_dcl(*z, TEMPERATURE, np.ones(8), np.float64(2 - agreement / agreement.mean())).mean()

    def body(_, z_a, z_b, axis_name):
        return dclw(z_a, z_b, temperature=TEMPERATURE, sigma=sigma, axis_name=axis_name)[None], (z_a,)

    values, _ = evaluate("vmap", 4, body, 0, *jnp.asarray(z))
    np.testing.assert_allclose(values, wanted, rtol=1e-11)


@pytest.mark.parametrize("name", ["nt_xent", "clip", "queue_info_nce", "sigmoid", "sup_con"])
def test_transformations_compose(name, x64):
    loss = LOSSES[name]
    stack = jnp.asarray(ROWS).reshape(2, 4, 4, D)

    def checkpointed(z_a, z_b, temperature):
        return jax.checkpoint(lambda *z, t: loss(*z, temperature=t, block_size=3))(z_a, z_b, t=temperature)

    value_and_grad = jax.jit(jax.vmap(jax.value_and_grad(checkpointed, argnums=(0, 1, 2)), in_axes=(0, 0, None)))
    got = value_and_grad(*stack, TEMPERATURE)
    plain = jax.jit(jax.value_and_grad(lambda z_a, z_b, t: loss(z_a, z_b, temperature=t), argnums=(0, 1, 2)))
    want = [plain(*stack[:, i], TEMPERATURE) for i in range(4)]
    assert_close(got, jax.tree.map(lambda *leaves: np.stack(leaves), *want), 1e-12)


@pytest.mark.parametrize("name", ["nt_xent", "info_nce", "queue_info_nce", "dcl", "dclw"])
@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        (((4,), (4,)), {}, r"has shape \(4,\) .* must be \[b, D\]"),
        (((4, 3), (5, 3)), {}, r"has shape \(4, 3\) and \w+ has shape \(5, 3\), .* one size above 0: pass"),
        (((0, 3), (0, 3)), {}, r"\(0, 3\), .* above 0"),
        (((4, 3), (4, 3)), {"temperature": 0}, "temperature is 0, but must be positive"),
        (((4, 3), (4, 3)), {"temperature": jnp.float32(-1)}, "temperature is -1.0, but must be positive"),
        (((4, 3), (4, 3)), {"temperature": float("nan")}, "temperature is nan, but must be positive"),
        (((4, 3), (4, 3)), {"block_size": 0}, "block_size is 0, but must be a positive integer: pass"),
        (((4, 3), (4, 3)), {"block_size": 2.0}, "block_size is 2.0, but must be a positive integer: pass"),
        (((4, 3), (4, 3)), {"weights": np.ones((4, 1))}, r"weights has shape \(4, 1\), but 4 .* need \(4,\): pass"),
        (((4, 3), (4, 3)), {"reduction": "sum"}, "reduction is 'sum', but must be .mean. or .none.: pass"),
    ],
)
def test_wrong_use_gets_one_sentence(name, shapes, options, message):
    with pytest.raises(ValueError, match=message) as error:
        LOSSES[name](*map(jnp.ones, shapes), **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z: clip(z, z, logit_scale=0), "logit_scale is 0, but must be positive: CLIP begins"),
        (lambda z: sigmoid(z, z[:3], logit_scale=1, logit_bias=0), r"image has shape \(4, 3\) and text has .*: pass"),
        (lambda z: sup_con(z[0], jnp.zeros(3, int)), r"z has shape \(3,\), but must be \[b, D\], where .*: pass"),
        (lambda z: sup_con(z, jnp.zeros(3, int)), r"labels has shape \(3,\), .*: pass the class"),
        (lambda z: sup_con(z, jnp.zeros(4)), r"labels is of float32, but must hold integers: pass"),
        (lambda z: dclw(z, z, sigma=-1), "sigma is -1, but must be positive: the paper takes"),
        (lambda z: nt_xent(z, z, z[:2]), r"others\[0\] has shape \(2, 3\), but must be"),
    ],
)
def test_wrong_use_of_the_others_gets_one_sentence(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call(jnp.ones((4, 3)))
    assert "\n" not in str(error.value)
