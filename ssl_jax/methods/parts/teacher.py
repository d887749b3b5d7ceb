"""The momentum encoder of MoCo and of what came after it: a teacher whose parameters follow the trained ones.

Only parameters follow. The teacher's batch statistics are its own, from its own forward passes, as in the official code
of MoCo, BYOL and DINO.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

# Schedules of 1 - momentum: close to 1, float32 cannot resolve the momentum itself.
SCHEDULES = {
    "constant": lambda rate, fraction: rate + 0 * fraction,
    "cosine": lambda rate, fraction: rate * jnp.sin(math.pi / 2 * (1 - fraction)) ** 2,  # (1 + cos(pi fraction)) / 2
    "linear": lambda rate, fraction: rate * (1 - fraction),
}
LEAST_RATE = 1e-6  # below it rounding may hold a teacher in place


def schedule(config) -> Callable:
    """`(step, steps) -> 1 - momentum` from `config.method.momentum` and `.momentum_schedule`.

    "constant" (MoCo v1 and v2), or from the momentum to 1 at the end of the run: "cosine" (BYOL, MoCo v3, DINO) or
    "linear" (I-JEPA).

    Raises:
      ValueError: an unknown schedule, or a momentum outside of [0, 1].

    >>> from ml_collections import ConfigDict
    >>> rate = schedule(ConfigDict({"method": {"momentum": 0.99, "momentum_schedule": "cosine"}}))
    >>> [round(1 - float(rate(step, 100)), 6) for step in (0, 50, 100)]
    [0.99, 0.995, 1.0]
    """
    start, name = config.method.momentum, config.method.momentum_schedule
    if name not in SCHEDULES:
        raise ValueError(f"config.method.momentum_schedule is {name!r}; expected one of {', '.join(SCHEDULES)}")
    if not 0 <= start <= 1:
        raise ValueError(f"config.method.momentum is {start}; expected 0 (no memory) to 1 (frozen), such as 0.999")
    return lambda step, steps: SCHEDULES[name](1 - start, jnp.asarray(step, float) / steps)


def build(config, ahead: int = 1) -> tuple[Callable, Callable]:
    """`Method.after_update` and the teacher's part of `Method.signals`, for a state with a teacher (`begin`).

    After step k the teacher moves with the momentum of step k + `ahead`: 1 where the official code updates it at the
    start of the next step (MoCo), 0 where at the end of the same one (BYOL, DINO).
    """
    rate_at, constant = schedule(config), config.method.momentum_schedule == "constant"

    def after_update(params, state, progress):
        rate = rate_at(progress.step + ahead, progress.steps)
        teacher, change = follow(state["teacher"], _followed(params, state), rate)
        return params, state | {"teacher": teacher, "teacher_update": change}

    def signals(params, outputs, state, progress):
        judged = constant | (rate_at(progress.step - 1 + ahead, progress.steps) > LEAST_RATE)
        return {
            "teacher_distance": distance(_followed(params, state), state["teacher"]),
            "teacher_update": jnp.where(judged, state["teacher_update"], jnp.nan),
        }

    return after_update, signals


def begin(params, stats, names, dtype) -> dict:
    """What `Method.init` puts into the state: a teacher of the networks `names`, equal to the trained ones at first."""
    teacher, teacher_stats = ({name: tree[name] for name in names} for tree in (params, stats))
    return {"teacher": teacher, "teacher_stats": teacher_stats, "teacher_update": jnp.zeros((), dtype)}


def adopt(params, state):
    """`Method.adopt`: the teacher is a copy of the parameters and of their batch statistics."""
    stats = {name: state["batch_stats"][name] for name in state["teacher_stats"]}
    return state | {"teacher": _copied(_followed(params, state)), "teacher_stats": _copied(stats)}


def _copied(tree):
    return jax.tree.map(jnp.copy, tree)


def follow(teacher, params, rate):
    """One update of the teacher, `teacher + rate (params - teacher)`, leaf by leaf; `rate` is 1 - momentum.

    Returns:
      The new teacher, and the size of the change relative to it, `|new - teacher| / |teacher|`, a scalar.

    >>> teacher, change = follow({"w": jnp.ones(2)}, {"w": jnp.zeros(2)}, 0.25)
    >>> teacher["w"].tolist(), float(change)
    ([0.75, 0.75], 0.25)
    """

    def between(t, p):
        # From the nearer end, so that both ends are exact.
        return jnp.where(rate < 0.5, t + rate * (p - t), p - (1 - rate) * (p - t)).astype(t.dtype)

    new = jax.tree.map(between, teacher, params)
    return new, distance(new, teacher)


def distance(tree, other):
    """`|tree - other| / |other|` over all leaves together; 0 where both are zero."""
    apart = sum(jnp.sum(jnp.square(a - b)) for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True))
    size = sum(jnp.sum(jnp.square(b)) for b in jax.tree.leaves(other))
    return jnp.sqrt(apart / jnp.maximum(size, 1e-30))


def _followed(params, state) -> dict:
    """The parameters that have a teacher."""
    return {name: params[name] for name in state["teacher"]}
