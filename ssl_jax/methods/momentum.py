"""The momentum encoder of MoCo and of what came after it: a teacher whose parameters follow the trained ones.

Only parameters follow. The teacher's batch statistics are its own, from its own forward passes, as in the official code
of MoCo, BYOL and DINO.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

SCHEDULES = {
    "constant": lambda start, fraction: start + 0 * fraction,
    "cosine": lambda start, fraction: 1 - (1 - start) * (1 + jnp.cos(math.pi * fraction)) / 2,
    "linear": lambda start, fraction: start + (1 - start) * fraction,
}


def schedule(config) -> Callable:
    """`(step, steps) -> momentum` from `config.method.momentum` and `.momentum_schedule`.

    "constant" (MoCo v1 and v2), or from the momentum to 1 at the end of the run: "cosine" (BYOL, MoCo v3, DINO) or
    "linear" (I-JEPA).

    Raises:
      ValueError: an unknown schedule, or a momentum outside of [0, 1].

    >>> from ml_collections import ConfigDict
    >>> momentum = schedule(ConfigDict({"method": {"momentum": 0.99, "momentum_schedule": "cosine"}}))
    >>> [round(float(momentum(step, 100)), 6) for step in (0, 50, 100)]
    [0.99, 0.995, 1.0]
    """
    start, name = config.method.momentum, config.method.momentum_schedule
    if name not in SCHEDULES:
        raise ValueError(f"config.method.momentum_schedule is {name!r}; expected one of {', '.join(SCHEDULES)}")
    if not 0 <= start <= 1:
        raise ValueError(f"config.method.momentum is {start}; expected 0 (no memory) to 1 (frozen), such as 0.999")
    return lambda step, steps: SCHEDULES[name](start, jnp.asarray(step, float) / steps)


def follow(teacher, params, momentum):
    """One update of the teacher: `momentum * teacher + (1 - momentum) * params`, leaf by leaf.

    Returns:
      The new teacher, and the size of the change relative to it, `|new - teacher| / |teacher|`, a scalar.

    >>> teacher, change = follow({"w": jnp.ones(2)}, {"w": jnp.zeros(2)}, 0.75)
    >>> teacher["w"].tolist(), float(change)
    ([0.75, 0.75], 0.25)
    """
    new = jax.tree.map(lambda t, p: (momentum * t + (1 - momentum) * p).astype(t.dtype), teacher, params)
    return new, distance(new, teacher)


def adopt(params, state):
    """`Method.adopt`: the teacher is a copy of those of the parameters that it has."""
    return state | {"teacher": {name: jax.tree.map(jnp.copy, params[name]) for name in state["teacher"]}}


def distance(tree, other):
    """`|tree - other| / |other|` over all leaves together; 0 where both are zero."""
    apart = sum(jnp.sum(jnp.square(a - b)) for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True))
    size = sum(jnp.sum(jnp.square(b)) for b in jax.tree.leaves(other))
    return jnp.sqrt(apart / jnp.maximum(size, 1e-30))
