"""Schedules: functions of hyper-parameters that return a pure, traceable `step -> value`.

A step is the number of optimizer updates already made (an integer, or an array of them; the first update sees step 0).
A value has jax's default float type: float32, or float64 under x64.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import optax

Schedule = Callable[[jax.typing.ArrayLike], jax.Array]


def constant(value: float, *, warmup_steps: int = 0, start: float = 0.0) -> Schedule:
    """`value` at every step, after an optional linear warm-up from `start`.

    >>> float(constant(0.5)(100))
    0.5
    """
    return _warmed_up(lambda step: jnp.full_like(step, value), value, warmup_steps, start)


def linear(start: float, end: float, steps: int) -> Schedule:
    """From `start` to `end` in equal increments: `start + (end - start) min(k / steps, 1)`.

    >>> float(linear(0.0, 1.0, 4)(1))
    0.25
    """
    _check_steps(steps)
    # Not optax.linear_schedule: it computes downwards from `end`, which leaves few digits in a warm-up's first steps.
    return _in_floats(lambda step: start + (end - start) * jnp.minimum(step / steps, 1.0))


def cosine(start: float, end: float, steps: int) -> Schedule:
    """From `start` to `end` along half a cosine: `end + (start - end) (1 + cos(pi k / steps)) / 2`, then `end`.

    >>> round(float(cosine(0.99, 1.0, 100)(50)), 6)
    0.995

    Reference: Grill et al. 2020 (arXiv:2006.07733), section 3.2.
    """
    _check_steps(steps)
    decay = optax.cosine_decay_schedule(1.0, steps)
    return _in_floats(lambda step: end + (start - end) * decay(step))


def warmup_cosine(
    peak: float,
    steps: int,
    warmup_steps: int = 0,
    *,
    end: float = 0.0,
    start: float = 0.0,
    steps_per_epoch: float | None = None,
) -> Schedule:
    """Linear warm-up from `start` to `peak`, then half a cosine to `end`, which it reaches at `steps`.

    With K = steps and W = warmup_steps:  `start + (peak - start) k / W` for k < W, so that the first update has the
    rate `start`, then `end + (peak - end) (1 + cos(pi (k - W) / (K - W))) / 2`.

    Args:
      peak: the value at step `warmup_steps`.
      steps: length of the run, warm-up included, in optimizer steps.
      warmup_steps: length of the warm-up in optimizer steps, below `steps`; 0 means none.
      end: the last value.
      start: the first value of the warm-up.
      steps_per_epoch: where given, the cosine moves once an epoch, as in MoCo v1/v2 and SimSiam: k is the first step of
        the current epoch. It may be fractional (examples / batch size). The warm-up still rises at every step.

    Returns:
      `step -> value`.

    Raises:
      ValueError: the warm-up does not leave a step for the cosine.

    >>> schedule = warmup_cosine(4.8, steps=1000, warmup_steps=100)
    >>> [round(float(schedule(k)), 2) for k in (0, 50, 100, 550, 1000)]
    [0.0, 2.4, 4.8, 2.4, 0.0]

    Reference: WarmUpAndCosineDecay in google-research/simclr, tf2/model.py; adjust_learning_rate in
    facebookresearch/moco, main_moco.py, for the form stepped per epoch.
    """
    if warmup_steps >= steps:
        raise ValueError(
            f"A warm-up of {warmup_steps} steps must be shorter than the run of {steps} steps: "
            "shorten the warm-up or lengthen the run."
        )
    decay = cosine(peak, end, steps - warmup_steps)

    def after(step):
        if steps_per_epoch:
            step = step // steps_per_epoch * steps_per_epoch
        return decay(jnp.maximum(step - warmup_steps, 0))

    return _warmed_up(after, peak, warmup_steps, start)


def linear_decay(
    peak: float, steps: int, warmup_steps: int = 0, *, end: float = 0.0, start: float = 0.0
) -> Schedule:
    """Linear warm-up from `start` to `peak`, then in equal steps to `end`, which it reaches at `steps`.

    >>> schedule = linear_decay(1.0, steps=10, warmup_steps=2)
    >>> [float(schedule(k)) for k in (0, 1, 2, 6, 10)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if warmup_steps >= steps:
        raise ValueError(
            f"A warm-up of {warmup_steps} steps must be shorter than the run of {steps} steps: "
            "shorten the warm-up or lengthen the run."
        )
    fall = linear(peak, end, steps - warmup_steps)
    return _warmed_up(lambda step: fall(jnp.maximum(step - warmup_steps, 0)), peak, warmup_steps, start)


def overlapped_linear_decay(
    peak: float, steps: int, warmup_steps: int = 0, *, end: float = 0.0, start: float = 0.0
) -> Schedule:
    """BERT's: a linear decay from `peak` at step 0 to `end` at `steps`, in whose place the warm-up stands at first.

    The rate falls from almost `peak` to `peak (1 - warmup_steps / steps)` where the warm-up ends.

    >>> schedule = overlapped_linear_decay(1.0, steps=10, warmup_steps=2)
    >>> [round(float(schedule(k)), 2) for k in (0, 1, 2, 5, 10)]
    [0.0, 0.5, 0.8, 0.5, 0.0]

    Source: google-research/bert, optimization.py, `create_optimizer`.
    """
    return _warmed_up(linear(peak, end, steps), peak, warmup_steps, start)


def step_decay(
    peak: float, boundaries: Sequence[int], factor: float = 0.1, *, warmup_steps: int = 0, start: float = 0.0
) -> Schedule:
    """`peak`, multiplied by `factor` once from each of `boundaries` (in steps) on, after an optional linear warm-up.

    >>> schedule = step_decay(1.0, (120, 160), 0.1)
    >>> [round(float(schedule(k)), 4) for k in (119, 120, 160)]
    [1.0, 0.1, 0.01]

    Reference: He et al. 2020 (MoCo), section 4: times 0.1 at epochs 120 and 160 of 200.
    """
    decay = optax.piecewise_constant_schedule(peak, {boundary: factor for boundary in boundaries})
    return _warmed_up(decay, peak, warmup_steps, start)


def _warmed_up(after: Schedule, peak: float, warmup_steps: int, start: float) -> Schedule:
    """`start` to `peak` over the first `warmup_steps`, then `after`, which sees the step of the whole run."""
    if not warmup_steps:
        return _in_floats(after)
    rise = linear(start, peak, warmup_steps)
    return _in_floats(lambda step: jnp.where(step < warmup_steps, rise(step), after(step)))


def _in_floats(schedule: Schedule) -> Schedule:
    # An optimizer counts in int32, which would hold the arithmetic at float32 even under x64.
    return lambda step: jnp.asarray(schedule(jnp.asarray(step, float)), float)


def _check_steps(steps: int) -> None:
    if steps <= 0:
        raise ValueError(f"A schedule over {steps} steps was asked for: give a positive number of steps.")
