"""The momentum encoder: its schedules against the papers' formulas, its update, its errors."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from ssl_jax.methods.api import Progress
from ssl_jax.methods.parts import teacher
from ssl_jax.methods.parts import teacher as parts


def config(value=0.99, schedule="constant"):
    return ConfigDict({"method": {"momentum": value, "momentum_schedule": schedule}})


def test_schedules_are_the_papers(x64):
    steps = 200
    rates = {name: teacher.schedule(config(0.99, name)) for name in ("constant", "cosine", "linear")}
    constant, cosine, linear = (lambda *a, rate=rate: 1 - rate(*a) for rate in rates.values())
    for step in (0, 1, 50, 100, 199, 200):
        assert float(constant(jnp.int32(step), steps)) == pytest.approx(0.99, abs=1e-15)
        # adjust_moco_momentum of the official MoCo v3 code, and I-JEPA's generator
        expected = 1.0 - 0.5 * (1.0 + math.cos(math.pi * step / steps)) * (1.0 - 0.99)
        assert float(cosine(jnp.int32(step), steps)) == pytest.approx(expected, abs=1e-14)
        assert float(linear(jnp.int32(step), steps)) == pytest.approx(0.99 + step * (1 - 0.99) / steps, abs=1e-14)


def test_the_teacher_is_the_weighted_mean_of_all_parameters_it_has_seen(x64):
    seen = [{"a": jnp.full(3, value), "b": {"c": jnp.array([value, -value])}} for value in (1.0, 3.0, 7.0)]
    teacher = seen[0]
    for params in seen[1:]:
        teacher, change = parts.follow(teacher, params, 0.25)
    expected = 0.75 * (0.75 * 1.0 + 0.25 * 3.0) + 0.25 * 7.0
    np.testing.assert_allclose(teacher["a"], expected, rtol=1e-15)
    np.testing.assert_allclose(teacher["b"]["c"], [expected, -expected], rtol=1e-15)
    before = 0.75 * 1.0 + 0.25 * 3.0
    assert float(change) == pytest.approx(abs(expected - before) / before)


def test_a_frozen_teacher_does_not_change_and_one_without_memory_is_the_encoder():
    teacher, params = {"w": jnp.ones(2)}, {"w": jnp.full(2, 0.1)}
    kept, change = parts.follow(teacher, params, 0.0)
    assert np.array_equal(kept["w"], teacher["w"]) and float(change) == 0
    assert np.array_equal(parts.follow(teacher, params, 1.0)[0]["w"], params["w"])


def test_the_end_of_a_long_run_is_exact_and_not_called_frozen():
    """1000 epochs of ImageNet: in float32 the momentum itself is 1 for hundreds of steps before the end."""
    steps = 312_780
    after_update, signals = teacher.build(config(0.996, "cosine"))
    rate = teacher.schedule(config(0.996, "cosine"))
    expected = (1 - 0.996) * (1 + math.cos(math.pi * (steps - 100) / steps)) / 2
    assert float(rate(jnp.int32(steps - 100), steps)) == pytest.approx(expected, rel=1e-3)
    state = teacher.begin({"w": jnp.ones(3)}, {"w": {}}, ("w",), jnp.float32)
    params = {"w": jnp.full(3, 1.01)}
    for step, judged in ((steps // 2, True), (steps - 100, False)):
        progress = Progress(jnp.int32(step), steps)
        found = signals(params, {}, after_update(params, state, progress)[1], progress)
        assert bool(jnp.isfinite(found["teacher_update"])) == judged and found["teacher_distance"] > 0
    frozen, watch = teacher.build(config(1.0, "constant"))
    found = watch(params, {}, frozen(params, state, progress)[1], progress)
    assert found["teacher_update"] == 0


def test_distance_is_relative_and_of_all_leaves_together(x64):
    tree = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([0.0])}
    other = {"a": jnp.array([0.0, 0.0]), "b": jnp.array([4.0])}
    assert float(teacher.distance(tree, other)) == pytest.approx(5 / 4)
    zero = jax.tree.map(jnp.zeros_like, tree)
    assert float(teacher.distance(zero, zero)) == 0


@pytest.mark.parametrize(
    ("value", "schedule", "message"),
    [
        (0.99, "cosin", "momentum_schedule is 'cosin'; expected one of constant, cosine, linear"),
        (1.01, "constant", "momentum is 1.01; expected 0 .no memory. to 1 .frozen."),
        (-0.1, "linear", "momentum is -0.1; expected 0"),
    ],
)
def test_wrong_use_gets_one_sentence(value, schedule, message):
    with pytest.raises(ValueError, match=message):
        teacher.schedule(config(value, schedule))
