"""What a run consists of at one step: everything that a checkpoint must hold for the run to continue exactly."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from ssl_jax.methods.api import Progress
from ssl_jax.train.tables import names, take, without

PyTree = Any


@flax.struct.dataclass
class TrainState:
    """The state of a run; replicated on every device, never stacked.

    Attributes:
      step: int32 scalar, the number of steps done.
      params: what the gradient trains.
      method: batch statistics, EMA target, queue, ...: the method's own state.
      optimizer: the optax state.
      probe: the online probe, `{}` without labels or without features.
      key: the run's PRNG key; step s uses `fold_in(key, s)`, so the key itself never changes.
    """

    step: jax.Array
    params: PyTree
    method: PyTree
    optimizer: PyTree
    probe: PyTree
    key: jax.Array


def sample_views(method, key, batch, rows: int = 2):
    """A few rows of `batch` after `method.views`: what `method.init` and shape inference need."""
    few = {name: jnp.asarray(value[:rows]) for name, value in batch.items()}
    return jax.vmap(method.views)(jax.random.split(key, rows), few)


def create(method, optimizer, probe, seed: int, batch, batch_size: int) -> TrainState:
    """The state before the first step.

    Args:
      method: the `Method`.
      optimizer: optax transformation.
      probe: online probe with `init(features) -> state`, or None.
      seed: `config.seed`; parameters, views and dropout all derive from it.
      batch: dict of arrays `[b, ...]` as the pipeline gives them; only shapes and dtypes matter.
      batch_size: rows of the global batch.

    Returns:
      A `TrainState`; call it under `jax.jit`, or `jax.eval_shape` for shapes alone.
    """
    init_key, key = jax.random.split(jax.random.key(seed))
    viewed = sample_views(method, init_key, batch)
    params, state = method.init(init_key, viewed)
    probe_state = {}
    if probe is not None:
        progress = Progress(jnp.zeros((), jnp.int32), steps=1)
        # Shapes of a whole batch: batch norm in groups takes no fewer rows.
        rows = {name: jax.ShapeDtypeStruct((batch_size, *few.shape[1:]), few.dtype) for name, few in viewed.items()}

        def embed(rows):
            return method.embed(take(method, params, rows)[0], state, rows, init_key, progress, None)[0]

        outputs = jax.eval_shape(embed, rows)
        probe_state = probe.init(outputs["features"].shape[-1]) if "features" in outputs else {}
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        method=state,
        optimizer=optimizer.init(without(params, names(method, viewed))),
        probe=probe_state,
        key=key,
    )

