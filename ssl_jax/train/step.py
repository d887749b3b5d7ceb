"""The train step of every method: views, embeddings, loss, one gradient, one average, one update.

Written per device: under `shard_map` and `pmap` each device holds rows of the global batch and `axis_name` is the
mesh axis; on one device `axis_name` is None and the same code sees the whole batch.
"""

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax

from ssl_jax import collectives
from ssl_jax.methods.api import Method, Progress
from ssl_jax.train.nonfinite import advance_counts, first_nonfinite
from ssl_jax.train.state import TrainState
from ssl_jax.train.tables import reduce, take, update, without


def make_step(
    method: Method,
    optimizer: optax.GradientTransformation,
    learning_rate: Callable,
    *,
    steps: int,
    steps_per_epoch: float = math.inf,
    probe=None,
    signals: Callable | None = None,
    signals_every: int = 1,
    skip_nonfinite: bool = False,
    gradient_fn: Callable | None = None,
    tables: Mapping[str, float] = {},  # noqa: B006  read only
) -> Callable:
    """The per-device step `(state, batch, axis_name) -> state, metrics`.

    Args:
      method: the `Method`.
      optimizer: optax transformation, already scheduled.
      learning_rate: step -> learning rate, for the metrics.
      steps: steps of the whole run.
      steps_per_epoch: steps of an epoch, for methods whose schedules go by epochs.
      probe: online probe with `update(probe_state, features, labels, axis_name) -> probe_state, metrics`, or None.
      signals: `(z_a [B, D], z_b [B, D]) -> dict of scalars`, health signals of the global batch, or None.
      signals_every: signals are computed at every step whose count, from 1, is divisible by it (nan elsewhere).
      skip_nonfinite: where the loss or a gradient is not finite, keep the state; only the step and the clocks of
        schedules go on.
      gradient_fn: what is done instead of `gradient_of_batch`, such as the same in microbatches, see `microbatches.py`.
      tables: table -> factor of its learning rate, see `tables.py`; `optimizer` is that of the other parameters.

    Returns:
      The step. `batch`: dict of `[b, ...]` with `index` int32, each row's position in the global batch. Metrics are
      equal on every device: float scalars, and `nonfinite` int32: the position in `nonfinite.leaf_names(params)` of the
      first value that is not finite, -1 if all are.
    """

    gradient_fn = gradient_fn or gradient_of_batch

    def step(state: TrainState, batch, axis_name=None):
        progress = Progress(state.step, steps, steps_per_epoch)
        (loss, aux), gradients = gradient_fn(method, state, batch, progress, axis_name)
        method_state, outputs, metrics, ids = aux
        # The one gradient rule: local losses average to the global loss, so their gradients average to its gradient.
        gradients, ids = reduce(gradients, ids, axis_name)
        metrics = collectives.pmean({"loss": loss, **metrics}, axis_name)
        gradient_norm, nonfinite = first_nonfinite(metrics["loss"], gradients)

        trained = without(state.params, tables)
        updates, optimizer_state = optimizer.update(without(gradients, tables), state.optimizer, trained)
        params = state.params | optax.apply_updates(trained, updates)
        for name, factor in tables.items():
            rate = factor * learning_rate(state.step)
            params[name] = update(state.params[name], ids[name], gradients[name], rate)
        params, method_state = method.after_update(params, method_state, progress)

        metrics |= {"learning_rate": learning_rate(state.step), "gradient_norm": gradient_norm, "nonfinite": nonfinite}
        probe_state = state.probe
        if probe is not None and "features" in outputs:
            features = jax.lax.stop_gradient(outputs["features"])
            probe_state, probe_metrics = probe.update(probe_state, features, batch["label"], axis_name)
            metrics |= probe_metrics
        if signals is not None and {"z_a", "z_b"} <= outputs.keys():
            pair = jax.lax.stop_gradient((outputs["z_a"], outputs["z_b"]))
            pair = collectives.all_gather(pair, axis_name)  # outside the branch, which must not communicate
            metrics |= every(signals_every, state.step + 1, signals, *pair)
        if signals is not None:
            own = every(
                signals_every, state.step + 1, lambda *a: method.signals(*a, progress),
                state.params, jax.lax.stop_gradient(outputs), state.method,
            )  # fmt: skip
            metrics |= collectives.pmean(own, axis_name)
        new = state.replace(params=params, method=method_state, optimizer=optimizer_state, probe=probe_state)
        if skip_nonfinite:
            kept = state.replace(optimizer=advance_counts(state.optimizer, optimizer_state))
            new = jax.tree.map(lambda new, kept: jnp.where(nonfinite < 0, new, kept), new, kept)
        return new.replace(step=state.step + 1), metrics

    return step


def gradient_of_batch(method: Method, state: TrainState, batch, progress: Progress, axis_name):
    """`(local loss, (method state, outputs, metrics, ids)), local gradients` of this device's rows, encoded at once.

    `ids` are those of the rows of tables, see `tables.py`; {} without tables.
    """
    key, viewed = views_of_step(method, state.key, state.step, batch)

    def local_loss(params):
        outputs, method_state = method.embed(params, state.method, viewed, key, progress, axis_name)
        loss, method_state, metrics = method.objective(params, outputs, method_state, progress, axis_name)
        return loss, (method_state, outputs, metrics, ids)

    params, ids = take(method, state.params, viewed)
    return jax.value_and_grad(local_loss, has_aux=True)(params)


def views_of_step(method: Method, run_key, step, batch):
    """The key of a step, and what `method.views` makes of its batch: at any time, and on any device, the same."""
    key = jax.random.fold_in(run_key, step)
    # One key per example, from its position in the global batch: the same on any number of devices.
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, batch["index"])
    return key, jax.vmap(method.views)(keys, batch)


def every(interval: int, step, function: Callable, *arguments):
    """`function(*arguments)`, floats, at steps divisible by `interval`; nan of the same shapes elsewhere."""
    if interval == 1:
        return function(*arguments)
    shapes = jax.eval_shape(function, *arguments)
    absent = jax.tree.map(lambda leaf: jnp.full(leaf.shape, jnp.nan, leaf.dtype), shapes)
    return jax.lax.cond(step % interval == 0, function, lambda *_: absent, *arguments)
