"""Schedules against the formulas of the papers and official repositories, in float64 NumPy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.train import schedules


def values(schedule, steps):
    return np.array([schedule(step) for step in steps])


def simclr(step, peak, total, warmup):
    """WarmUpAndCosineDecay of google-research/simclr, tf2/model.py, with the cosine of tf.keras CosineDecay."""
    if step < warmup:
        return step / warmup * peak
    done = min(step - warmup, total - warmup) / (total - warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * done))


def test_warmup_cosine_is_simclr_at_every_step():
    # 100 epochs of ImageNet at batch 4096: 3,127 steps of warm-up and 31,279 steps in all.
    steps = jnp.array([0, 1, 2, 1563, 3126, 3127, 3128, 17000, 30000, 31279, 40000])
    ours = schedules.warmup_cosine(4.8, 31279, 3127)(steps)
    assert ours[0] == 0.0 and ours[5] == np.float32(4.8)
    np.testing.assert_allclose(ours, [simclr(k, 4.8, 31279, 3127) for k in steps.tolist()], rtol=1e-5, atol=1e-6)


def test_warmup_cosine_starts_and_ends_where_asked():
    ours = values(schedules.warmup_cosine(1.0, 20, 5, start=0.1, end=0.01), [0, 1, 5, 20, 30])
    np.testing.assert_allclose(ours, [0.1, 0.28, 1.0, 0.01, 0.01], rtol=1e-6)


@pytest.mark.parametrize("steps_per_epoch", [7, 2.5])
def test_cosine_per_epoch_is_a_staircase(steps_per_epoch):
    """MoCo, main_moco.py: lr * 0.5 * (1 + cos(pi * epoch / epochs)) with the integer epoch."""
    epochs = 8
    steps = int(epochs * steps_per_epoch)
    ours = values(schedules.warmup_cosine(0.03, steps, steps_per_epoch=steps_per_epoch), range(steps))
    epoch = np.arange(steps) // steps_per_epoch
    np.testing.assert_allclose(ours, 0.03 * 0.5 * (1 + np.cos(np.pi * epoch / epochs)), rtol=1e-5)
    assert len(np.unique(ours)) == epochs


def test_warm_up_rises_at_every_step_where_the_cosine_moves_per_epoch():
    ours = values(schedules.warmup_cosine(1.0, 40, 4, steps_per_epoch=10), range(12))
    np.testing.assert_allclose(ours[:4], [0, 0.25, 0.5, 0.75], rtol=1e-6)
    np.testing.assert_allclose(ours[4:10], 1.0, rtol=1e-6)
    np.testing.assert_allclose(ours[10:], 0.5 * (1 + np.cos(np.pi * 6 / 36)), rtol=1e-6)


def test_step_decay_multiplies_from_each_boundary_on():
    """MoCo v1: .03, times .1 at epochs 120 and 160 of 200."""
    ours = values(schedules.step_decay(0.03, (1200, 1600), 0.1), [0, 1199, 1200, 1599, 1600, 2000])
    np.testing.assert_allclose(ours, [0.03, 0.03, 0.003, 0.003, 0.0003, 0.0003], rtol=1e-6)
    # A warm-up does not move the boundaries.
    ours = values(schedules.step_decay(1.0, (6,), 0.5, warmup_steps=4), [0, 2, 4, 5, 6])
    np.testing.assert_allclose(ours, [0, 0.5, 1, 1, 0.5], rtol=1e-6)


def test_cosine_is_the_momentum_of_byol_and_moco_v3():
    steps = np.arange(0, 1001, 50)
    expected = 1 - (1 - 0.996) * (np.cos(np.pi * steps / 1000) + 1) / 2
    np.testing.assert_allclose(schedules.cosine(0.996, 1.0, 1000)(steps), expected, rtol=1e-6)


def test_linear_decay_rises_and_falls_in_equal_steps():
    ours = values(schedules.linear_decay(0.05, 100, end=5e-6), [0, 25, 50, 100, 120])
    np.testing.assert_allclose(ours, [0.05, 0.03750125, 0.0250025, 5e-6, 5e-6], rtol=1e-4)
    ours = values(schedules.linear_decay(1.0, 8, 4), range(9))
    np.testing.assert_allclose(ours, [0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25, 0], atol=1e-7)
    with pytest.raises(ValueError, match="must be shorter than the run"):
        schedules.linear_decay(1.0, 4, 4)


def test_linear_and_constant():
    np.testing.assert_allclose(values(schedules.linear(0.9, 1.0, 10), [0, 5, 10, 11]), [0.9, 0.95, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(values(schedules.constant(0.3), [0, 9]), 0.3, rtol=1e-6)
    np.testing.assert_allclose(
        values(schedules.constant(0.3, warmup_steps=3), range(5)), [0, 0.1, 0.2, 0.3, 0.3], rtol=1e-6
    )


ALL = {
    "constant": schedules.constant(0.1, warmup_steps=2),
    "linear": schedules.linear(0.0, 1.0, 5),
    "cosine": schedules.cosine(0.0, 1.0, 5),
    "warmup_cosine": schedules.warmup_cosine(1.0, 8, 2, steps_per_epoch=3),
    "step_decay": schedules.step_decay(1.0, (3,), 0.1),
}


@pytest.mark.parametrize("name", ALL)
def test_traced_steps_give_the_same_float32_scalars(name):
    eager = [ALL[name](step) for step in range(8)]
    traced = jax.lax.map(ALL[name], jnp.arange(8))
    assert traced.dtype == jnp.float32 and all(value.dtype == jnp.float32 and value.shape == () for value in eager)
    np.testing.assert_allclose(traced, eager, rtol=1e-6)


def test_double_precision_under_x64(x64):
    # The dtype in which optimizers count.
    ours = schedules.warmup_cosine(4.8, 1000, 100)(jnp.arange(1000, dtype=jnp.int32))
    assert ours.dtype == jnp.float64
    np.testing.assert_allclose(ours, [simclr(k, 4.8, 1000, 100) for k in range(1000)], rtol=1e-12)


def test_impossible_lengths_are_refused():
    with pytest.raises(ValueError, match="warm-up of 10 steps must be shorter than the run of 10 steps"):
        schedules.warmup_cosine(1.0, 10, 10)
    with pytest.raises(ValueError, match="positive number of steps"):
        schedules.cosine(0.0, 1.0, 0)
    with pytest.raises(ValueError, match="positive number of steps"):
        schedules.linear(0.0, 1.0, -1)
