"""DINO's loss and centre against algorithm 1 of the paper in NumPy, on every topology."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from ssl_jax.collectives import axis_size, pmean
from ssl_jax.losses import dino, update_centre

V, G, B, K = 4, 2, 16, 6
STUDENT_TEMPERATURE, TEACHER_TEMPERATURE, MOMENTUM = 0.3, 0.2, 0.9
NUMBERS = np.random.default_rng(0)
STUDENT, TEACHER = NUMBERS.normal(size=(V, B, K)), NUMBERS.normal(size=(G, B, K))
CENTRE = NUMBERS.normal(size=K)
WEIGHTS = NUMBERS.integers(0, 3, B).astype(float)  # uneven over the devices
TOPOLOGIES = [("single", 1), ("shard_map", 2), ("shard_map", 8), ("vmap", 2), ("vmap", 8)]


def softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


def paper(student, teacher, centre):
    """Algorithm 1, in loops over the pairs of crops; per-example values `[B]`."""
    pairs = []
    for g in range(len(teacher)):
        target = softmax((teacher[g] - centre) / TEACHER_TEMPERATURE)
        for v in range(len(student)):
            if v != g:
                pairs.append(-(target * np.log(softmax(student[v] / STUDENT_TEMPERATURE))).sum(axis=-1))
    return np.mean(pairs, axis=0)


@functools.cache
def expected(weighted):
    """The (weighted) mean and its gradient in the student's logits, by complex steps: exact to rounding."""
    weights = WEIGHTS if weighted else np.ones(B)

    def value(student):
        return np.sum(weights * paper(student, TEACHER, CENTRE)) / weights.sum()

    student, gradient = STUDENT.astype(complex), np.zeros(STUDENT.shape)
    for index in np.ndindex(STUDENT.shape):
        student[index] += 1e-30j
        gradient[index] = value(student).imag / 1e-30
        student[index] = student[index].real
    return value(STUDENT), gradient


def evaluate(kind, n, dtype, weighted):
    """Loss, gradients `[crops, B, K]` and the centre afterwards, of n devices with B / n examples each."""

    def body(student, teacher, weights, axis_name):
        centre = jnp.asarray(CENTRE, dtype)

        def local(student, teacher, centre):
            return dino(
                *(jnp.swapaxes(x, 0, 1) for x in (student, teacher)), centre, axis_name=axis_name,
                student_temperature=STUDENT_TEMPERATURE, teacher_temperature=TEACHER_TEMPERATURE,
                weights=weights if weighted else None,
            )  # fmt: skip

        loss, grads = jax.value_and_grad(local, argnums=(0, 1, 2))(student, teacher, centre)
        new = update_centre(centre, jnp.swapaxes(teacher, 0, 1), momentum=MOMENTUM, axis_name=axis_name)
        # Inside the axis the gradient is that of the sum of all local values, n times the global loss.
        rows = tuple(grad / axis_size(axis_name) for grad in grads[:2])
        return (pmean(loss, axis_name), grads[2], new), rows

    rows = [jnp.asarray(np.swapaxes(x, 0, 1), dtype) for x in (STUDENT, TEACHER)] + [jnp.asarray(WEIGHTS, dtype)]
    if kind == "single":
        whole, rows = jax.jit(functools.partial(body, axis_name=None))(*rows)
    elif kind == "shard_map":
        mesh = jax.make_mesh((n,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:n])
        specs = dict(in_specs=(P("data"),) * 3, out_specs=(P(), P("data")), check_vma=False)
        whole, rows = jax.jit(jax.shard_map(functools.partial(body, axis_name="data"), mesh=mesh, **specs))(*rows)
    else:
        mapped = jax.jit(jax.vmap(functools.partial(body, axis_name="data"), axis_name="data"))
        whole, rows = mapped(*(x.reshape(n, -1, *x.shape[1:]) for x in rows))
        for x in jax.tree.leaves(whole):
            np.testing.assert_allclose(x, np.broadcast_to(x[:1], x.shape), rtol=1e-12)  # the same on every device
        whole = jax.tree.map(lambda x: x[0], whole)
        rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), rows)
    return *whole, *(np.swapaxes(x, 0, 1) for x in rows)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("kind", "n"), TOPOLOGIES)
def test_loss_gradient_and_centre_are_the_papers_on_every_topology(x64, kind, n, weighted):
    loss, to_centre, centre, to_student, to_teacher = evaluate(kind, n, jnp.float64, weighted)
    value, gradient = expected(weighted)
    np.testing.assert_allclose(loss, value, rtol=1e-12)
    np.testing.assert_allclose(to_student, gradient, atol=1e-12 * np.abs(gradient).max())
    np.testing.assert_allclose(centre, MOMENTUM * CENTRE + (1 - MOMENTUM) * TEACHER.mean(axis=(0, 1)), rtol=1e-12)
    # The teacher and its centre are constants: exactly no gradient.
    assert not np.any(to_teacher) and not np.any(to_centre)


def test_single_precision_is_near():
    loss, _, centre, to_student, _ = evaluate("vmap", 4, jnp.float32, False)
    value, gradient = expected(False)
    np.testing.assert_allclose(loss, value, rtol=1e-6)
    np.testing.assert_allclose(to_student, gradient, atol=1e-6 * np.abs(gradient).max())
    np.testing.assert_allclose(centre, MOMENTUM * CENTRE + (1 - MOMENTUM) * TEACHER.mean(axis=(0, 1)), rtol=1e-6)


def test_low_precision_is_widened_first():
    half = [jnp.asarray(x, jnp.bfloat16) for x in (STUDENT, TEACHER)]
    wide = [x.astype(jnp.float32) for x in half]
    loss = dino(*half, jnp.zeros(K))
    assert loss.dtype == jnp.float32 and float(loss) == pytest.approx(float(dino(*wide, jnp.zeros(K))), rel=1e-6)
    assert update_centre(jnp.zeros(K), half[1]).dtype == jnp.float32


def test_defaults_and_per_example_values(x64):
    values = dino(jnp.asarray(STUDENT), jnp.asarray(TEACHER), jnp.asarray(CENTRE), reduction="none")
    assert values.shape == (B,)
    again = dino(
        jnp.asarray(STUDENT), jnp.asarray(TEACHER), jnp.asarray(CENTRE), student_temperature=0.1,
        teacher_temperature=0.04,
    )  # fmt: skip
    assert float(values.mean()) == pytest.approx(float(again), rel=1e-12)


def test_a_crop_does_not_predict_itself(x64):
    """With two crops each predicts the other alone: agreeing crosswise is best, with oneself worth nought."""
    a, b = 9 * np.eye(K)[0], 9 * np.eye(K)[1]
    student, teacher = jnp.asarray([[a], [b]]), jnp.asarray([[b], [a]])
    options = {"student_temperature": 1.0, "teacher_temperature": 1.0}
    crosswise = dino(student, teacher, jnp.zeros(K), **options)
    itself = dino(student, teacher[::-1], jnp.zeros(K), **options)
    entropy = -np.sum(softmax(a) * np.log(softmax(a)))
    assert float(crosswise) == pytest.approx(entropy, rel=1e-9) and float(itself) > 8


def test_identical_zero_and_extreme_logits_are_finite():
    for logits in (jnp.zeros((3, 2, K)), jnp.full((3, 2, K), 1e4), jnp.asarray([[[1e4, 0, 0]] * 2] * 3)):
        loss, gradient = jax.value_and_grad(lambda s: dino(s, s[:2], jnp.zeros(s.shape[-1])))(logits)
        assert np.isfinite(loss) and np.isfinite(gradient).all()
    assert float(dino(jnp.zeros((3, 2, K)), jnp.zeros((2, 2, K)), jnp.zeros(K))) == pytest.approx(np.log(K), rel=1e-6)


@pytest.mark.as_users
def test_no_pair_of_crops_is_held_in_memory():
    """What the compiled loss needs grows with V + G arrays of logits, not with V x G of them."""
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((10, 64, 4096), (2, 64, 4096), (4096,))]
    compiled = jax.jit(jax.grad(dino)).lower(*shapes).compile()
    logits = 64 * 4096 * 4
    assert compiled.memory_analysis().temp_size_in_bytes < 16 * logits


@pytest.mark.parametrize(
    ("student", "teacher", "centre", "options", "message"),
    [
        ((4, 3), (2, 3), (3,), {}, r"student_logits has shape \(4, 3\).* \[V, b, K\], \[G, b, K\] and \[K\]"),
        ((4, 3, 5), (2, 2, 5), (5,), {}, r"teacher_logits has shape \(2, 2, 5\)"),
        ((4, 3, 5), (2, 3, 5), (1, 5), {}, r"centre has shape \(1, 5\)"),
        ((1, 3, 5), (1, 3, 5), (5,), {}, "1 crops of the student and 1 of the teacher were given"),
        ((2, 3, 5), (3, 3, 5), (5,), {}, "2 crops of the student and 3 of the teacher"),
        ((4, 3, 5), (2, 3, 5), (5,), {"teacher_temperature": 0.0}, "teacher_temperature is 0.0, but must be positive"),
        ((4, 3, 5), (2, 3, 5), (5,), {"student_temperature": -1}, "student_temperature is -1, but must be positive"),
        ((4, 3, 5), (2, 3, 5), (5,), {"weights": np.ones(4)}, r"weights has shape \(4,\), but 3 examples"),
        ((4, 3, 5), (2, 3, 5), (5,), {"reduction": "sum"}, "reduction is 'sum'"),
    ],
)
def test_wrong_use_gets_one_sentence(student, teacher, centre, options, message):
    with pytest.raises(ValueError, match=message) as error:
        dino(jnp.zeros(student), jnp.zeros(teacher), jnp.zeros(centre), **options)
    assert "\n" not in str(error.value)
