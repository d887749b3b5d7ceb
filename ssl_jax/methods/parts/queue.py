"""A queue of earlier embeddings, as a ring in the method's state: the newest overwrite the oldest, in place.

The arrays are the same on every device, since what enters is gathered first. `queue_step` holds the step at which each
row came in, -1 for the random rows of the start, so that its age is known and the batch that made it can be made again.
"""

import jax
import jax.numpy as jnp
from jax import lax

from ssl_jax import collectives
from ssl_jax.losses.embeddings import normalise


def begin(key, size: int, dim: int, dtype) -> dict:
    """What `Method.init` puts into the state: K random unit vectors `[K, D]`, their steps `[K]` and the pointer."""
    return {
        "queue": normalise(jax.random.normal(key, (size, dim), dtype)),
        "queue_step": jnp.full(size, -1, jnp.int32),
        "queue_pointer": jnp.zeros((), jnp.int32),
    }


def push(state: dict, rows, step, axis_name: str | None) -> dict:
    """The state after the rows of all devices have replaced the oldest ones.

    Args:
      state: with the entries of `begin`.
      rows: list of `[b, D]`, of unit length; the global batches enter in turn. Their rows divide K.
      step: int32 scalar, the present step.
      axis_name: the device axis.

    >>> state = begin(jax.random.key(0), 4, 2, jnp.float32)
    >>> state = push(state, [jnp.ones((2, 2))], 7, None)
    >>> state["queue"][:2].tolist(), state["queue_step"].tolist(), int(state["queue_pointer"])
    ([[1.0, 1.0], [1.0, 1.0]], [7, 7, -1, -1], 2)
    """
    new = jnp.concatenate([collectives.all_gather(part, axis_name) for part in rows])
    start, came = state["queue_pointer"], jnp.full(len(new), step, jnp.int32)
    return state | {
        "queue": lax.dynamic_update_slice_in_dim(state["queue"], new, start, axis=0),
        "queue_step": lax.dynamic_update_slice_in_dim(state["queue_step"], came, start, axis=0),
        "queue_pointer": (start + len(new)) % len(state["queue"]),
    }
