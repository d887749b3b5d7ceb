"""Where the metrics of a run go: `metrics.jsonl`, TensorBoard, Weights & Biases if asked for, and the terminal.

Each of these sinks has `write(step, values)` and `close()`; `Logs` holds those of a run.
"""

import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm


class Logs:
    """All sinks of a run, silent on every process but the first; a context manager.

    Args:
      directory: the run directory, which exists.
      start: the step to go on from; rows that an interrupted run wrote past it are dropped.
      steps: length of the run.
      wandb: a project of Weights & Biases to log to as well; ValueError where wandb is not installed.
    """

    def __init__(self, directory, *, start: int, steps: int, wandb: str | None = None):
        self._sinks = []
        if jax.process_index() == 0:
            directory = Path(directory)
            self._terminal, self._file = Terminal(start, steps), MetricsFile(directory / "metrics.jsonl")
            self._file.truncate_after(start)
            self._sinks = [self._terminal, self._file, TensorBoard(directory / "tensorboard", start)]
            self._sinks += [WeightsAndBiases(wandb, directory)] if wandb else []

    def write(self, step: int, values: Mapping) -> None:
        for sink in self._sinks:
            sink.write(int(step), values)

    def event(self, name: str, step: int) -> None:
        if self._sinks:
            self._file.event(name, int(step))

    def warn(self, step: int, text: str) -> None:
        if self._sinks:
            self._terminal.say(f"warning: step {step}: {text}")
            self._file.event("warning", int(step), text=text)

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        for sink in self._sinks:
            sink.close()


class MetricsFile:
    """One JSON object a line: `{"step": 200, "loss": 4.812, ...}`, and `{"event": "finished", "step": 1000}`."""

    def __init__(self, path):
        self.path, self._file = Path(path), open(path, "a", encoding="utf-8")

    def write(self, step: int, values: Mapping) -> None:
        self._append({"step": step} | {name: _plain(value) for name, value in values.items()})

    def event(self, name: str, step: int, **values) -> None:
        self._append({"event": name, "step": step} | values)

    def close(self) -> None:
        self._file.close()

    def truncate_after(self, step: int) -> None:
        """Drops rows past `step`, ends of earlier runs, and a last line that a kill cut short; all at once or not."""
        lines = self.path.read_text(encoding="utf-8").split("\n")[:-1]  # a whole line ends in a newline
        ends = ("finished", "interrupted")
        kept = [line for line in lines if (row := json.loads(line))["step"] <= step and row.get("event") not in ends]
        new = self.path.with_name(self.path.name + ".new")
        new.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        self._file.close()
        os.replace(new, self.path)
        self._file = open(self.path, "a", encoding="utf-8")

    def _append(self, row: Mapping) -> None:
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()


def _plain(value):
    """A scalar as JSON can hold it: 7 significant digits, as many as float32 has, or "nan", "inf", "-inf"."""
    value = np.asarray(value)
    if value.dtype.kind in "biu":
        return value.item()
    value = float(value)
    return float(f"{value:.7g}") if math.isfinite(value) else str(value)


class TensorBoard:
    """Event files of TensorBoard; it hides what was written past `start` before."""

    def __init__(self, directory, start: int):
        from tensorboardX import SummaryWriter  # slow to import, and needed on one process only

        self._writer = SummaryWriter(str(directory), purge_step=start + 1)

    def write(self, step: int, values: Mapping) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, float(value), step)

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases; a directory that is continued stays the same run there."""

    def __init__(self, project: str, directory: Path):
        try:
            import wandb
        except ImportError as error:
            problem = f"Weights & Biases was asked for (project {project!r}) but is not installed"
            raise ValueError(f"{problem}; install the package wandb or leave the project out") from error
        id_file = directory / "wandb_id"
        known = id_file.read_text() if id_file.exists() else None
        self._run = wandb.init(project=project, name=directory.name, dir=directory, id=known, resume="allow")
        id_file.write_text(self._run.id)

    def write(self, step: int, values: Mapping) -> None:
        self._run.log({name: float(value) for name, value in values.items()}, step=step)

    def close(self) -> None:
        self._run.finish()


class Terminal:
    """A bar with loss, rates and the time left; where standard error is no terminal, a line for each row of metrics."""

    shown = {
        "loss": "loss {:#.4g}",
        "learning_rate": "lr {:#.3g}",
        "examples_per_second": "{:.0f} examples/s",
        "knn_top1": "kNN {:.1%}",
    }

    def __init__(self, start: int, steps: int):
        self._steps, bar = steps, sys.stderr.isatty()
        self._bar = tqdm(total=steps, initial=start, unit="step", dynamic_ncols=True) if bar else None

    def write(self, step: int, values: Mapping) -> None:
        parts = [text.format(float(values[name])) for name, text in self.shown.items() if name in values]
        if self._bar is not None:
            self._bar.set_postfix_str("  ".join(parts), refresh=False)
            self._bar.update(step - self._bar.n)
        if self._bar is None or "knn_top1" in values:  # an evaluation stays on the screen
            self.say("  ".join([f"step {step}/{self._steps}", *parts]))

    def say(self, text: str) -> None:
        """A line above the bar."""
        tqdm.write(text, file=sys.stderr)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
