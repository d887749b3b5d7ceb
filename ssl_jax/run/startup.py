"""What a run says before it starts: its effective numbers, and for `--dry_run` its shapes and memory."""

import math

import jax
import numpy as np

from ssl_jax.train import optim
from ssl_jax.train.experiment import Experiment
from ssl_jax.train.state import sample_views


def count(tree) -> int:
    """The number of values in a tree of arrays or shapes."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def lines(experiment: Experiment, examples: int) -> list[str]:
    """The start-up lines: effective batch, learning rate and rule, negatives, parameters, devices.

    Args:
      experiment: the run.
      examples: the number of training examples.
    """
    config, where = experiment.config, experiment.parallel
    batch, device = experiment.batch_size, jax.devices()[0]
    peak = optim.scaled_learning_rate(config.optim, batch)
    rule = {"none": "", "linear": f" = {config.optim.learning_rate:g} x {batch}/256"}.get(
        config.optim.scaling, f" = {config.optim.learning_rate:g} x sqrt({batch})"
    )
    mode = f"{batch // where.size} a device, {where.mode}" if where.size > 1 else "one device"
    mode += f", strict in {where.blocks} blocks" if where.blocks else ""
    parts = config.train.get("microbatches", 1)
    mode += f", in {parts} microbatches of {batch // parts}" if parts > 1 else ""
    epochs = experiment.steps / experiment.steps_per_epoch
    said = [
        f"method      {config.method.name}, {count(experiment.abstract.params):,} parameters, {config.compute_dtype}",
        f"data        {config.data.source} {config.data.split}, {examples:,} examples",
        f"batch       {batch} ({mode}), {experiment.steps:,} steps = {epochs:.4g} epochs",
        f"optimizer   {config.optim.name}, learning rate {peak:g}{rule}, {config.optim.schedule}",
        f"devices     {where.size} x {device.device_kind}, {jax.process_count()} process"
        + ("es" if jax.process_count() > 1 else ""),
    ]
    own = [f"{label:<12}{text}" for label, text in experiment.method.describe(batch).items()]
    return [*said[:3], *own, *said[3:]]


def dry_run(experiment: Experiment, batch: dict[str, np.ndarray]) -> list[str]:
    """Shapes, parameters and memory per device of the compiled step; compiles, and trains nothing.

    Args:
      experiment: the run.
      batch: one batch of this process, as the pipeline gives it.
    """
    said = ["batch, this process"]
    said += [f"  {name:<28}{rows.dtype} {list(rows.shape)}" for name, rows in batch.items()]
    viewed = jax.eval_shape(lambda rows: sample_views(experiment.method, jax.random.key(0), rows), batch)
    said += ["one example after views"]
    said += [f"  {name:<28}{rows.dtype} {list(rows.shape[1:])}" for name, rows in viewed.items()]
    said += ["parameters"]
    for path, leaf in jax.tree.leaves_with_path(experiment.abstract.params):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        said += [f"  {name:<60}{leaf.dtype} {list(leaf.shape)}"]
    said += [f"  in all {count(experiment.abstract.params):,}, in the whole state {count(experiment.abstract):,}"]

    if experiment.parallel.blocks:
        return [*said, "memory per device is not known in strict mode, whose step is many programs"]
    state = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=experiment.parallel.replicated),
        experiment.abstract,
    )
    placed = experiment.parallel.place(batch)
    memory = experiment.step.lower(state, placed).compile().memory_analysis()
    mebibyte = 2.0**20
    said += ["memory per device, MiB, from the compiled step"]
    said += [f"  {'state and batch':<28}{memory.argument_size_in_bytes / mebibyte:.1f}"]
    said += [f"  {'of it donated':<28}{memory.alias_size_in_bytes / mebibyte:.1f}"]
    said += [f"  {'temporary':<28}{memory.temp_size_in_bytes / mebibyte:.1f}"]
    return said
