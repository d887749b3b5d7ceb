"""The training loop of every method: batches in, rows of metrics and checkpoints out, nothing lost on the way."""

import contextlib
import functools
from collections.abc import Callable

import jax

from ssl_jax.run.checkpoint import Checkpoints
from ssl_jax.run.termination import Termination
from ssl_jax.run.watch import NonFinite, Watch, due
from ssl_jax.train.experiment import Experiment
from ssl_jax.train.state import TrainState

__all__ = ["NonFinite", "run"]


def run(
    experiment: Experiment,
    state: TrainState,
    batches,
    *,
    checkpoints: Checkpoints,
    logs,
    host_state: dict,
    termination: Termination,
    evaluate: Callable | None = None,
) -> str:
    """Trains from `state.step` to the end.

    Args:
      experiment: the run.
      state: where to start; donated.
      batches: the pipeline, `iterate(start)`.
      checkpoints: where states are saved.
      logs: where rows are written, `write(step, values)`, `warn(step, text)` and `event(name, step)`.
      host_state: JSON that goes into every checkpoint, `{}` at first: `health` (its counts), `skipped` and
        `skipped_in_row` (steps that were not finite), `best` (the best one's step and metric), `unevaluated` (the
        row of a step whose evaluation was interrupted, and which is evaluated before anything else). Changed in place.
      termination: whether to save and end.
      evaluate: `(state, termination) -> dict of metrics`, called every `config.train.eval_every` steps, or None.
        What it returns joins that step's row. Raises `Interrupted` when it should end.

    Returns:
      "finished", or "interrupted" after SIGTERM; the state is saved in both cases.

    Raises:
      NonFinite: naming the step and the leaf; the last checkpoint stays.
      ValueError: the last state could not be saved.
    """
    start, last, checkpoint_every = int(state.step), experiment.steps, experiment.config.train.checkpoint_every
    watch = Watch(experiment, logs=logs, host_state=host_state, termination=termination, evaluate=evaluate)

    def save(step, state, wait=False):
        return checkpoints.save(step, state, host_state, best=watch.best_step, wait=wait)

    end = functools.partial(_end, save, logs)
    watch.evaluate(start, state)  # what was interrupted there
    if watch.interrupted:
        return end("interrupted", start, state)
    with contextlib.closing(batches.iterate(start)) as stream:
        for step in range(start + 1, last + 1):
            try:
                batch = experiment.parallel.place(watch.clock.wait_for(stream))
            except RuntimeError:
                # A scheduler's SIGTERM reaches the reading processes too, and may end them first.
                if not termination.requested() or jax.process_count() > 1:
                    raise
                watch.catch_up()
                return end("interrupted", step - 1, state)
            state, metrics = experiment.step(state, batch)
            watch.follow(step, metrics)
            stop = termination.requested()
            saves = stop or due(checkpoint_every, step, last)
            if saves or watch.looks(step) or step in (start + 1, last):
                watch.catch_up()  # before a save, so that a state that is not finite is never written
                saves |= watch.evaluate(step, state)
                if stop or watch.interrupted:
                    return end("interrupted", step, state)
                if saves and (problem := save(step, state)):
                    logs.warn(step, problem)
                watch.clock.restart()  # compiling, saving and evaluating are no training time
    return end("finished", last, state)


def _end(save: Callable, logs, outcome: str, step: int, state: TrainState) -> str:
    """Saves the last state and says how the run ended."""
    if problem := save(step, state, wait=True):
        raise ValueError(f"The run is {outcome} at step {step}, but {problem}; make room and call it again")
    logs.event(outcome, step)
    return outcome
