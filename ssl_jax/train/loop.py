"""The training loop of every method: batches in, rows of metrics and checkpoints out, nothing lost on the way."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable

import jax
import numpy as np

from ssl_jax.evaluation import health
from ssl_jax.train.checkpoint import Checkpoints
from ssl_jax.train.experiment import Experiment
from ssl_jax.train.state import TrainState


class NonFinite(ValueError):
    """A loss or gradient that is not finite, with the step and the first bad leaf in its message."""


@contextlib.contextmanager
def termination():
    """An event that SIGTERM sets, so that the loop can save before the process ends."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event  # handlers can be set in the main thread only
        return
    previous = signal.signal(signal.SIGTERM, lambda *_: event.set())
    try:
        yield event
    finally:
        signal.signal(signal.SIGTERM, previous)


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
        """The rates; starts the next interval."""
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
    history: dict,
    evaluate: Callable | None = None,
) -> str:
    """Trains from `state.step` to the end.

    Args:
      experiment: the run.
      state: where to start; donated.
      batches: the pipeline, `iterate(start)`.
      checkpoints: where states are saved.
      logs: where rows are written, `write(step, values)`, `warn(step, text)` and `event(name, step)`.
      history: the memory of the health watch, from the checkpoint or `{}`.
      evaluate: `state -> dict of metrics`, called every `config.train.eval_every` steps, or None.
        What it returns joins that step's row.

    Returns:
      "finished", or "interrupted" after SIGTERM; the state is saved in both cases.

    Raises:
      NonFinite: naming the step and the leaf; the last checkpoint stays.
    """
    train = experiment.config.train
    start, clock, pending = int(state.step), Clock(), None
    stream = batches.iterate(start)

    def due(interval, step):
        return bool(interval) and (step % interval == 0 or step == experiment.steps)

    def record(step, metrics, evaluate=None):
        """Reads the metrics of a step: this is where the host waits for the device, one step behind."""
        nonlocal history
        bad = int(metrics.pop("nonfinite"))
        if bad >= 0:
            raise NonFinite(
                f"Step {step}: {experiment.leaf_names[bad]} is not finite (gradient norm "
                f"{float(metrics['gradient_norm']):.3g}); lower config.optim.learning_rate, lengthen the warm-up "
                "or set config.optim.clip_norm, then continue from the last checkpoint"
            )
        if due(train.log_every, step) or evaluate is not None:
            row = {name: float(value) for name, value in jax.device_get(metrics).items() if not np.isnan(value)}
            history, warnings = health.update(history, row)
            row |= clock.read(experiment.batch_size)
            logs.write(step, row if evaluate is None else row | evaluate(state))
            for warning in warnings:
                logs.warn(step, warning)

    with termination() as terminated, contextlib.closing(stream):
        for step in range(start + 1, experiment.steps + 1):
            batch = experiment.parallel.place(clock.wait_for(stream))
            state, metrics = experiment.step(state, batch)
            if pending is not None:
                record(*pending)  # the step just dispatched keeps the device busy meanwhile
            pending = (step, metrics)
            stop = terminated.is_set()
            save, look = stop or due(train.checkpoint_every, step), evaluate is not None and due(train.eval_every, step)
            if step == start + 1 or save or look or step == experiment.steps:
                # Before a save, so that a state that is not finite is never written.
                record(step, metrics, evaluate if look else None)
                pending = None
            if save:
                checkpoints.save(step, state, history, wait=stop)
            if step == start + 1 or save or look:
                clock = Clock()  # compiling, saving and evaluating are no training time
            if stop and step < experiment.steps:
                logs.event("interrupted", step)
                return "interrupted"
    checkpoints.save(experiment.steps, state, history, wait=True)
    logs.event("finished", experiment.steps)
    return "finished"
