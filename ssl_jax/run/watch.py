"""What a run looks at while it trains: every step's metrics, its health, its evaluations and its pace."""

import time
from collections.abc import Callable

import jax
import numpy as np

from ssl_jax.evaluation import health
from ssl_jax.run.termination import Interrupted, Termination
from ssl_jax.train.experiment import Experiment
from ssl_jax.train.state import TrainState


class NonFinite(ValueError):
    """A loss or gradient that is not finite, with the step and the first bad leaf in its message."""


def due(interval: int, step: int, steps: int) -> bool:
    """Whether what is done every `interval` steps and at the last of `steps` is done at `step`; 0 for never."""
    return bool(interval) and (step % interval == 0 or step == steps)


class Clock:
    """Examples per second and the share of time spent waiting for data, since the last reading."""

    def __init__(self):
        self.restart()

    def restart(self) -> None:
        """Starts the next interval."""
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
        self.restart()
        return rates


class Watch:
    """Judges the steps of a run one step behind, writes their rows, and evaluates where that is due.

    The row of a step that is evaluated waits in `host_state["unevaluated"]` until `evaluate` has written it: an
    evaluation that is interrupted leaves it there, and so in the checkpoint.

    Args:
      experiment, logs, host_state, termination, evaluate: see `loop.run`.

    Attributes:
      clock: the pace of the run; it starts with the watch.
    """

    def __init__(
        self, experiment: Experiment, *, logs, host_state: dict, termination: Termination, evaluate: Callable | None
    ):
        self._experiment, self._train, self._logs = experiment, experiment.config.train, logs
        self._host_state, self._termination, self._evaluate = host_state, termination, evaluate
        self._pending = None  # step and metrics that are not judged yet
        self.clock = Clock()

    @property
    def interrupted(self) -> bool:
        """Whether the evaluation of the newest step has yet to be done."""
        return "unevaluated" in self._host_state

    @property
    def best_step(self) -> int | None:
        """The step of the best evaluation."""
        return self._host_state.get("best", {}).get("step")

    def looks(self, step: int) -> bool:
        """Whether a step is evaluated."""
        return self._evaluate is not None and due(self._train.eval_every, step, self._experiment.steps)

    def follow(self, step: int, metrics: dict) -> None:
        """Judges the step before `step`, which has been dispatched and keeps the device busy meanwhile."""
        self.catch_up()
        self._pending = step, metrics

    def catch_up(self) -> None:
        """Judges the step that is not judged yet, if there is one. Here the host waits for the device.

        Raises:
          NonFinite: the step is not finite, and the run does not go on.
        """
        if self._pending is None:
            return
        (step, metrics), self._pending = self._pending, None
        row = self._judge(step, metrics)
        if self.looks(step):
            self._host_state["unevaluated"] = row
        elif row:
            self._logs.write(step, row)

    def evaluate(self, step: int, state: TrainState) -> bool:
        """Evaluates `step` if its row waits for that, and writes the row; whether this is the best evaluation."""
        if not self.interrupted:
            return False
        try:
            found = self._evaluate(state, self._termination)
        except Interrupted:
            return False
        row = self._host_state.pop("unevaluated") | found
        self._logs.write(step, row)
        return self._train.keep_best and self._is_best(step, row)

    def _is_best(self, step, row):
        """Whether a row has the best value so far, which is remembered."""
        name, held = self._train.best, self._host_state.get("best", {}).get(self._train.best)
        value, sign = row.get(name), -1 if name.endswith("loss") else 1
        if value is None or (held is not None and sign * value <= sign * held):
            return False
        self._host_state["best"] = {"step": step, name: value}
        return True

    def _judge(self, step, metrics):
        """The row of a step, `{}` where none is due."""
        bad = int(metrics.pop("nonfinite"))
        if bad >= 0:
            self._skip_or_stop(step, self._experiment.leaf_names[bad], float(metrics["gradient_norm"]))
        else:
            self._host_state["skipped_in_row"] = 0
        if not due(self._train.log_every, step, self._experiment.steps) and not self.looks(step):
            return {}
        metrics = {name: float(value) for name, value in jax.device_get(metrics).items()}
        row = {name: value for name, value in metrics.items() if name == "loss" or not np.isnan(value)}
        if bad < 0:  # what is not finite must not enter the counts of health
            self._host_state["health"], warnings = health.update(self._host_state.get("health", {}), row)
            for warning in warnings:
                self._logs.warn(step, warning)
        if "skipped" in self._host_state:
            row["skipped"] = self._host_state["skipped"]
        return row | self.clock.read(self._experiment.batch_size)

    def _skip_or_stop(self, step, leaf, norm):
        """Counts and says that a step was skipped; raises `NonFinite` where the run is not to go on."""
        skipped, in_row = (self._host_state.get(name, 0) + 1 for name in ("skipped", "skipped_in_row"))
        self._host_state |= {"skipped": skipped, "skipped_in_row": in_row}
        found = f"{leaf} is not finite (gradient norm {norm:.3g})"
        advice = (
            "start again in another directory with a lower config.optim.learning_rate, a longer warm-up or "
            "config.optim.clip_norm"
        )
        if self._train.on_nonfinite != "skip":
            raise NonFinite(f"Step {step}: {found}; {advice}, or go on with --config.train.on_nonfinite=skip")
        if in_row >= self._train.skip_limit:
            raise NonFinite(f"Step {step}: {found}, like {in_row} steps in a row; {advice}")
        self._logs.warn(step, f"{found}: the step is skipped, {skipped} so far")
