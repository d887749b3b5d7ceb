"""Pretrains a recipe, continues it where its directory has a checkpoint, and evaluates it at the end.

    python -m ssl_jax.pretrain --config=configs/simclr.py:digits --workdir=runs/simclr_digits

`--config.train.batch_size=512` and the like override single values; `--config.train.steps` replaces epochs.
`--dry_run` prints shapes, parameters and memory per device and compiles, without training. Exit status: 0 finished or
saved after SIGTERM or Ctrl-C, 1 refused or not finite.
"""

import dataclasses
from pathlib import Path

import jax
from absl import flags
from ml_collections import config_flags

from ssl_jax import context, evaluate, methods, monitor, paths
from ssl_jax.data import pipeline, sources
from ssl_jax.defaults.check import check
from ssl_jax.evaluation import health, protocols
from ssl_jax.run import checkpoint, command_line, facts, loop, restore, startup, termination, workdir
from ssl_jax.run.logs import Logs, mark_interrupted
from ssl_jax.run.processes import is_first, wait_for_first
from ssl_jax.train import experiment

FLAGS = flags.FLAGS


def pretrain(config, directory: Path, *, dry_run: bool = False) -> str:
    """Runs `config` in `directory`; returns "finished", "interrupted" or "dry run"."""
    check(config)
    if directory is not None:
        workdir.check(directory)
    protocols.check(config.eval.protocols)
    source = sources.load(config.data, config.data.split)
    methods.check_source(source, config)
    known = facts.gather(directory, config, source)
    rows, seen = (methods.read(source, config, known, train=train) for train in (True, False))
    batches = pipeline.Batches(
        rows, batch_size=config.train.batch_size, seed=config.seed, workers=config.data.workers,
        process_index=jax.process_index(), process_count=jax.process_count(),
    )  # fmt: skip
    run = experiment.build(
        config, batches[0], examples=len(rows), probe=monitor.probe(rows), signals=health.signals, facts=known
    )
    print(*startup.lines(run, len(rows)), sep="\n")
    if said := monitor.labels_said(source):
        print(f"labels      {said}")
    try:
        if splits := [methods.read(split, config, known, train=False) for split in evaluation_splits(config)]:
            files = {name: config.eval[name] for name in protocols.FILES}
            protocols.possible(config.eval.protocols, context.offered(config, run.method, *splits, files))
    except ValueError as error:
        print(f"evaluation  off: {error}")
    if dry_run:
        print(*startup.dry_run(run, batches[0]), sep="\n")
        return "dry run"

    digest = facts.digest(workdir.digest(config), known)
    kept = {"keep": config.train.keep, "keep_every": config.train.keep_every, "config": digest}
    kept["early"] = workdir.early_digest(directory)
    with workdir.lock(directory), checkpoint.Checkpoints(directory / "checkpoints", **kept) as checkpoints:
        workdir.prepare(directory, config)
        workdir.keep_data(directory, len(rows), batches[0])
        facts.keep(directory, known)
        for name in restore.unknown(directory / "checkpoints"):
            print(f"warning     {name!r} in {directory}/checkpoints is no name that a run writes; it is left alone")
        found = checkpoints.restore(run.abstract, run.parallel.replicated)
        if found is not None:
            state, restored = found
            host_state, start = restored.host, restored.step
            print(f"continuing  {directory} from step {start}")
        else:
            restore.refuse_lost(directory)
            state, host_state, start = run.create(), {}, 0
            if config.train.init_from:
                state = restore.start_from(
                    paths.expand(config.train.init_from), state, run.method.adopt, run.parallel.replicated,
                    tuple(config.train.init_parts),
                )  # fmt: skip
        run = compiled_together(run, state, batches[0])
        rewrite_start, wandb = "unevaluated" in host_state, config.train.wandb or None
        with Logs(directory, start=start, steps=run.steps, rewrite_start=rewrite_start, wandb=wandb) as logs:
            for sentence in restored.damage if found else ():
                logs.warn(start, f"{sentence}; it is set aside, and the run continues from step {start}")
            with termination.termination() as asked:
                outcome = loop.run(
                    run, state, batches,
                    checkpoints=checkpoints, logs=logs, host_state=host_state, termination=asked,
                    evaluate=monitor.evaluation(run, seen, batches),
                )  # fmt: skip
    wait_for_first("saved")  # the others must not leave while process 0 still writes
    if outcome == "finished" and asked.requested():
        raise termination.Terminated  # it came after the last step
    return outcome


def evaluation_splits(config) -> list[sources.Source]:
    """The training and the test split that the run is evaluated on at its end; [] where no protocol is asked for.

    Raises:
      ValueError: they cannot be read, or have images of another number of channels than the run is trained on.
    """
    if not config.eval.protocols:
        return []
    names = config.eval.train_split, config.eval.test_split
    splits = [sources.load(config.data, split, spec=config.eval.source) for split in names]
    trained = sources.load(config.data, config.data.split)[0] if config.eval.source else {}
    for split in splits if "image" in trained else ():
        own, other = trained["image"].shape[-1], split[0]["image"].shape[-1] if "image" in split[0] else None
        if own != other:
            raise ValueError(f"{split.name} has images of {other} channels, and the run is trained on images of {own}")
    return splits


def evaluation_problem(config) -> str:
    """Why the run cannot be evaluated at its end; "" where it can, or no protocol is asked for."""
    try:
        evaluation_splits(config)
    except ValueError as error:
        return str(error)
    return ""


def fit(config, directory) -> str:
    """Trains a config in a run directory and continues what was begun there; returns "finished" or "interrupted".

    The training of `python -m ssl_jax.pretrain`, from Python; `ssl_jax.probe` evaluates it, `ssl_jax.load_encoder`
    loads it.

    Args:
      config: such as `ssl_jax.get_config("simclr:digits")`, changed as you like.
      directory: the run directory; made if need be.

    Raises:
      ValueError: a config that cannot be trained, or a directory that holds another run.
    """
    return pretrain(config, paths.output(directory, folder=True))


def compiled_together(run: experiment.Experiment, state, batch) -> experiment.Experiment:
    """Compiles on every process before the first collective, which times out after 30 s.

    One process compiles at its first step; strict mode compiles its many programs one by one.
    """
    if jax.process_count() == 1 or run.parallel.blocks:
        return run
    step = run.step.lower(state, run.parallel.place(batch)).compile()
    wait_for_first("compiled")
    return dataclasses.replace(run, step=step)


def main() -> int:
    termination.end_on_signals()
    directory = paths.output(FLAGS.workdir, folder=True) if FLAGS.workdir else None
    if directory is None and not FLAGS.dry_run:
        raise ValueError("--workdir was not given; name this run's directory, such as --workdir=runs/simclr_digits")
    given = config_flags.get_override_values(FLAGS["config"])
    for line in command_line.replace_alternatives(FLAGS.config, given):
        print(line)
    try:
        outcome = pretrain(FLAGS.config, directory, dry_run=FLAGS.dry_run)
        if outcome == "finished" and FLAGS.config.eval.protocols and not evaluation_problem(FLAGS.config):
            with termination.termination(single=False) as asked:
                evaluate.evaluate(directory, FLAGS.config.eval.protocols, watch=asked.until_requested)
    except (termination.Terminated, termination.Interrupted):
        outcome = "interrupted"  # outside of the loop nothing is lost: the same command goes on
        if directory is not None and is_first():
            mark_interrupted(directory)
    print(f"{outcome}: {directory}" if directory else outcome)
    if outcome == "interrupted":
        command_line.leave(0)
    return 0


if __name__ == "__main__":
    config_flags.DEFINE_config_file("config", None, "Recipe: configs/FILE.py:RECIPE.", lock_config=True)
    flags.DEFINE_string("workdir", None, "Directory of the run.")
    flags.DEFINE_bool("dry_run", False, "Print shapes and memory, compile, and stop.")
    flags.mark_flag_as_required("config")
    command_line.run(main)
