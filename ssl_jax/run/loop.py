"""The training loop of every method: batches in, rows of metrics and checkpoints out, nothing lost on the way."""

import contextlib
import time
from collections.abc import Callable

import jax
import numpy as np

from ssl_jax.evaluation import health
from ssl_jax.run.checkpoint import Checkpoints
from ssl_jax.run.termination import Interrupted, Termination
from ssl_jax.train.experiment import Experiment
from ssl_jax.train.state import TrainState


class NonFinite(ValueError):
    """A loss or gradient that is not finite, with the step and the first bad leaf in its message."""


class Clock:
    """Examples per second and the share of time spent waiting for data, since the last reading."""

    def __init__(self):
        self._start, self._waited, self._steps = time.perf_counter(), 0.0, 0

    def wait_for(self, iterator):
        """The next item, its waiting time counted."""
        start = time.perf_counter()
        item = next(iterator)
        self._waited += time.perf_counter() - start
        self._steps += 1
        return item

    def read(self, batch_size: int) -> dict[str, float]:
        """The rates, none if there was no step; starts the next interval."""
        if not self._steps:
            return {}
        elapsed = max(time.perf_counter() - self._start, 1e-9)
        rates = {"examples_per_second": self._steps * batch_size / elapsed, "data_wait": self._waited / elapsed}
        self.__init__()
        return rates


def run(
    experiment: Experiment,
    state: TrainState,
    batches,
    *,
    checkpoints: Checkpoints,
    logs,
    memory: dict,
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
      memory: JSON that goes into every checkpoint, `{}` at first: `health` (counts of the watch), `skipped` and
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
    train = experiment.config.train
    start, clock, pending = int(state.step), Clock(), None

    def due(interval, step):
        return bool(interval) and (step % interval == 0 or step == experiment.steps)

    def judge(step, metrics):
        """The row of a step. Here the host waits for the device, one step behind."""
        bad = int(metrics.pop("nonfinite"))
        if bad >= 0:
            skip_or_stop(step, experiment.leaf_names[bad], float(metrics["gradient_norm"]))
        memory["skipped_in_row"] = memory.get("skipped_in_row", 0) if bad >= 0 else 0
        if not due(train.log_every, step) and not looks(step):
            return {}
        metrics = {name: float(value) for name, value in jax.device_get(metrics).items()}
        row = {name: value for name, value in metrics.items() if name == "loss" or not np.isnan(value)}
        if bad < 0:  # what is not finite must not enter the watch's counts
            memory["health"], warnings = health.update(memory.get("health", {}), row)
            for warning in warnings:
                logs.warn(step, warning)
        if "skipped" in memory:
            row["skipped"] = memory["skipped"]
        return row | clock.read(experiment.batch_size)

    def skip_or_stop(step, leaf, norm):
        memory["skipped"] = memory.get("skipped", 0) + 1
        memory["skipped_in_row"] = memory.get("skipped_in_row", 0) + 1
        found = f"{leaf} is not finite (gradient norm {norm:.3g})"
        advice = (
            "start again in another directory with a lower config.optim.learning_rate, a longer warm-up or "
            "config.optim.clip_norm"
        )
        if train.on_nonfinite != "skip":
            raise NonFinite(f"Step {step}: {found}; {advice}, or go on with --config.train.on_nonfinite=skip")
        if memory["skipped_in_row"] >= train.skip_limit:
            raise NonFinite(f"Step {step}: {found}, like {memory['skipped_in_row']} steps in a row; {advice}")
        logs.warn(step, f"{found}: the step is skipped, {memory['skipped']} so far")

    def looks(step):
        return evaluate is not None and due(train.eval_every, step)

    def look(step, row) -> bool:
        """Evaluates and writes the row; whether this is the best evaluation. An interrupted one is remembered."""
        memory["unevaluated"] = row
        try:
            found = evaluate(state, termination)
        except Interrupted:
            return False
        del memory["unevaluated"]
        logs.write(step, row | found)
        value, sign = (row | found).get(train.best), -1 if train.best.endswith("loss") else 1
        held = memory.get("best", {}).get(train.best)
        if not train.keep_best or value is None or (held is not None and sign * value <= sign * held):
            return False
        memory["best"] = {"step": step, train.best: value}
        return True

    def save(step, wait=False):
        return checkpoints.save(step, state, memory, best=memory.get("best", {}).get("step"), wait=wait)

    def end(outcome, step):
        problem = save(step, wait=True)
        if problem:
            raise ValueError(f"The run is {outcome} at step {step}, but {problem}; make room and call it again")
        logs.event(outcome, step)
        return outcome

    if "unevaluated" in memory:
        look(start, memory["unevaluated"])
        if "unevaluated" in memory:
            return end("interrupted", start)
    with contextlib.closing(batches.iterate(start)) as stream:
        for step in range(start + 1, experiment.steps + 1):
            try:
                batch = experiment.parallel.place(clock.wait_for(stream))
            except RuntimeError:
                # A scheduler's SIGTERM reaches the reading processes too, and may end them first.
                if not termination.requested() or jax.process_count() > 1:
                    raise
                if pending is not None and (row := judge(*pending)):
                    logs.write(pending[0], row)
                return end("interrupted", step - 1)
            state, metrics = experiment.step(state, batch)
            if pending is not None:
                row = judge(*pending)  # the step just dispatched keeps the device busy meanwhile
                if row:
                    logs.write(pending[0], row)
            pending = (step, metrics)
            stop = termination.requested()
            saves = stop or due(train.checkpoint_every, step)
            if step == start + 1 or saves or looks(step) or step == experiment.steps:
                # Before a save, so that a state that is not finite is never written.
                row, pending = judge(step, metrics), None
                if looks(step):
                    saves |= look(step, row)
                    stop |= "unevaluated" in memory
                elif row:
                    logs.write(step, row)
                if stop:
                    return end("interrupted", step)
                if saves and (problem := save(step)):
                    logs.warn(step, problem)
                clock = Clock()  # compiling, saving and evaluating are no training time
    return end("finished", experiment.steps)
