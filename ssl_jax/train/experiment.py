"""Everything that a config and a data set determine before the first step: the door where config values are read."""

import dataclasses
from collections.abc import Callable

import jax
import ml_collections

from ssl_jax import methods
from ssl_jax.train import microbatches, nonfinite, optim, parallel, state, step, tables


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A run, ready to start: pure functions and the numbers that the start-up lines print."""

    config: ml_collections.ConfigDict
    method: methods.Method
    parallel: parallel.Parallel
    learning_rate: Callable
    create: Callable  # () -> TrainState
    abstract: state.TrainState
    step: Callable  # (TrainState, placed batch) -> TrainState, metrics
    steps: int
    steps_per_epoch: float

    @property
    def batch_size(self) -> int:
        """Rows of the global batch."""
        return self.config.train.batch_size

    @property
    def leaf_names(self) -> list[str]:
        """Names for the `nonfinite` metric."""
        return nonfinite.leaf_names(self.abstract.params)


def run_length(train, examples: int) -> int:
    """The number of steps that `config.train.steps` or `config.train.epochs` asks for."""
    if bool(train.steps) == bool(train.epochs):
        raise ValueError(
            f"config.train.steps is {train.steps} and config.train.epochs is {train.epochs}; set exactly one of "
            "them, and the other to 0"
        )
    steps = train.steps or int(train.epochs * examples // train.batch_size)
    if steps < 1:
        raise ValueError(
            f"{train.epochs} epochs of {examples} examples are less than one batch of {train.batch_size}; "
            "lower config.train.batch_size or raise config.train.epochs"
        )
    return steps


def build(config, batch, *, examples: int, probe=None, signals=None, facts=None) -> Experiment:
    """The experiment of a config.

    Args:
      config: the whole config.
      batch: one batch of the pipeline, dict of numpy arrays `[b, ...]`; only its shapes and dtypes matter.
      examples: the number of training examples.
      probe: online probe, None without labels.
      signals: health signals, `(z_a, z_b) -> dict of scalars`, or None.
      facts: what the method knows of its data, for methods whose file has `facts`.
    """
    if config.train.on_nonfinite not in ("stop", "skip"):
        raise ValueError(f"config.train.on_nonfinite is {config.train.on_nonfinite!r}; expected 'stop' or 'skip'")
    blocks = config.parallel.blocks if config.parallel.strict else 0
    where = parallel.make(config.parallel.mode, config.parallel.devices, config.train.batch_size, blocks)
    method = methods.build(config, facts)
    method = dataclasses.replace(method, init=jax.jit(method.init, inline=True))  # traced once, here and in `create`
    steps, steps_per_epoch = run_length(config.train, examples), examples / config.train.batch_size

    shapes = {name: jax.ShapeDtypeStruct(rows.shape, rows.dtype) for name, rows in batch.items()}
    init_key = jax.random.key(0)
    viewed = jax.eval_shape(lambda rows: state.sample_views(method, init_key, rows), shapes)
    params, method_state = jax.eval_shape(method.init, init_key, viewed)
    groups, table_names = method.groups(params), tables.names(method, viewed)
    optimizer, learning_rate = optim.build(
        config.optim, tables.without(params, table_names), tables.without(groups, table_names),
        batch_size=config.train.batch_size, steps=steps, steps_per_epoch=steps_per_epoch,
    )  # fmt: skip

    def create():
        rows = {name: jax.numpy.zeros(shape.shape, shape.dtype) for name, shape in shapes.items()}
        return state.create(method, optimizer, probe, config.seed, rows, config.train.batch_size)

    created = jax.jit(create, out_shardings=where.replicated)  # traced once, for its shapes and for its values
    gradient_fn = step.gradient_of_batch
    if config.train.get("microbatches", 1) != 1:
        gradient_fn = microbatches.make(
            method, config.train.microbatches, config.train.batch_size, blocks or where.size,
            norm_groups=config.model.get("norm_groups", 1), params=params, state=method_state, viewed=viewed,
        )  # fmt: skip
    per_device = step.make_step(
        method, optimizer, learning_rate,
        steps=steps, steps_per_epoch=steps_per_epoch, probe=probe,
        signals=signals, signals_every=max(1, config.train.log_every),
        skip_nonfinite=config.train.on_nonfinite == "skip", gradient_fn=gradient_fn,
        tables={name: optim.learning_rate_factor(config.optim, groups[name]) for name in table_names},
    )  # fmt: skip
    return Experiment(
        config=config,
        method=method,
        parallel=where,
        learning_rate=learning_rate,
        create=created,
        abstract=jax.tree.map(lambda leaf: leaf.update(sharding=None), created.eval_shape()),
        step=where.compile(per_device),
        steps=steps,
        steps_per_epoch=steps_per_epoch,
    )
