"""Where the metrics of a run go: `metrics.jsonl`, TensorBoard, Weights & Biases if asked for, and the terminal.

Each of these sinks has `write(step, values)` and `close()`, which return what went wrong, if anything; `Logs` holds
those of a run.
"""

import contextlib
import errno
import itertools
import json
import math
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm


class Logs:
    """All sinks of a run, silent on every process but the first; a context manager.

    A disk without room stops no sink for good: metrics.jsonl gets its rows when there is room again.

    Args:
      directory: the run directory, which exists.
      start: the step to go on from; rows that an interrupted run wrote past it are dropped.
      steps: length of the run.
      rewrite_start: True when resuming at a step whose evaluation was interrupted: its row is written again.
      wandb: a project of Weights & Biases to log to as well; ValueError where wandb is not installed.
    """

    def __init__(self, directory, *, start: int, steps: int, rewrite_start: bool = False, wandb: str | None = None):
        self._sinks = []
        if jax.process_index() == 0:
            directory = Path(directory)
            self._terminal, self._file = Terminal(start, steps), MetricsFile(directory / "metrics.jsonl")
            self._file.truncate_after(start, rewrite_start=rewrite_start)
            self._sinks = [self._terminal, self._file, TensorBoard(directory / "tensorboard", start - rewrite_start)]
            self._sinks += [WeightsAndBiases(wandb, directory)] if wandb else []

    def write(self, step: int, values: Mapping) -> None:
        for sink in self._sinks:
            self._say(sink.write(int(step), values))

    def event(self, name: str, step: int) -> None:
        if self._sinks:
            self._say(self._file.event(name, int(step)))

    def warn(self, step: int, text: str) -> None:
        if self._sinks:
            self._terminal.say(f"warning: step {step}: {text}")
            self._say(self._file.event("warning", int(step), text=text))

    def _say(self, problem: str | None) -> None:
        if problem:
            self._terminal.say(f"warning: {problem}")

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        for sink in self._sinks:
            self._say(sink.close())


class MetricsFile:
    """One JSON object a line: `{"step": 200, "loss": 4.812, ...}`, and `{"event": "finished", "step": 1000}`.

    Every method returns what went wrong, if it is news. A line is in the file whole or waits in memory.
    """

    def __init__(self, path):
        self.path, self._file = Path(path), open(path, "ab", buffering=0)
        self._waiting, self._failing = b"", False

    def write(self, step: int, values: Mapping) -> str | None:
        return self._append({"step": step} | {name: _plain(value) for name, value in values.items()})

    def event(self, name: str, step: int, **values) -> str | None:
        return self._append({"event": name, "step": step} | values)

    def close(self) -> str | None:
        self._flush()
        self._file.close()
        lines = self._waiting.count(b"\n")
        return f"the last {lines} lines of {self.path} could not be written and are lost" if lines else None

    def truncate_after(self, step: int, *, rewrite_start: bool = False) -> None:
        """Drops rows past `step`, ends of earlier runs, and lines that are damaged or cut short; all at once or not.

        With `rewrite_start`, the metrics of `step` itself too, but not its warnings: they are not said again.
        """

        def stays(line):
            row = _row(line)
            if not row or row.get("event") in ("finished", "interrupted"):
                return False
            return row["step"] <= (step if "event" in row else step - rewrite_start)

        # A whole line ends in a newline.
        lines = self.path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
        kept = [line for line in lines if stays(line)]
        new = self.path.with_name(self.path.name + ".new")
        new.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        self._file.close()
        os.replace(new, self.path)
        self._file = open(self.path, "ab", buffering=0)

    def _append(self, row: Mapping) -> str | None:
        self._waiting += (json.dumps(row) + "\n").encode()
        return self._flush()

    def _flush(self) -> str | None:
        end = os.fstat(self._file.fileno()).st_size
        try:
            written = self._file.write(self._waiting)
            if written < len(self._waiting):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            os.ftruncate(self._file.fileno(), end)  # a part of a line helps nobody
            news, self._failing = not self._failing, True
            return f"{self.path} cannot be written ({error.strerror}); its lines wait in memory" if news else None
        self._waiting, self._failing = b"", False
        return None


def reached(path) -> tuple[int, bool]:
    """The last step that a metrics file tells of, 0 for none, and whether a run ended there, which saves it first."""
    path = Path(path)
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    rows = [row for row in map(_row, lines) if row]
    saved = any(row["step"] > 0 and row.get("event") in ("finished", "interrupted") for row in rows)
    return max((row["step"] for row in rows), default=0), saved


def mark_interrupted(directory) -> None:
    """Ends the metrics file of a finished run whose evaluation was stopped: what looks at its end runs it again."""
    path = Path(directory) / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    last = _row(lines[-1]) if lines else {}
    if last.get("event") == "finished":
        file = MetricsFile(path)
        file.event("interrupted", last["step"])
        file.close()


def _row(line: str) -> dict:
    """A line of the metrics file, `{}` if it is none."""
    try:
        row = json.loads(line)
    except ValueError:
        return {}
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else {}


def _plain(value):
    """A scalar as JSON can hold it: 7 significant digits, as many as float32 has, or "nan", "inf", "-inf"."""
    value = np.asarray(value)
    if value.dtype.kind in "biu":
        return value.item()
    value = float(value)
    return float(f"{value:.7g}") if math.isfinite(value) else str(value)


class TensorBoard:
    """Event files of TensorBoard, written at once; they hide what was written past `start` before.

    A write that fails costs the scalars of that row, and a new file is begun.
    """

    def __init__(self, directory, start: int):
        self._directory, self._start, self._marked, self._writer = Path(directory), start, False, None
        self._directory.mkdir(parents=True, exist_ok=True)
        self._failing = False

    def write(self, step: int, values: Mapping) -> str | None:
        from tensorboardX.proto.event_pb2 import Event  # slow to import, and needed on one process only
        from tensorboardX.summary import scalar

        try:
            if self._writer is None:
                self._open()
            for name, value in values.items():
                self._writer.write_event(Event(wall_time=time.time(), step=step, summary=scalar(name, float(value))))
            self._writer.flush()
            self._marked = True
        except OSError as error:
            self._writer, news, self._failing = None, not self._failing, True
            return f"{self._directory} cannot be written ({error.strerror}); it lacks step {step} ff." if news else None
        self._failing = False
        return None

    def close(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(OSError):  # every row was flushed when it was written
                self._writer.close()

    def _open(self) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        # Names hold the second and the process: where both are those of a file that exists, it would be overwritten.
        number = next(n for n in itertools.count(1) if not any(self._directory.glob(f"*.{os.getpid()}.{n}")))
        self._writer = EventsWriter(str(self._directory / "events"), f".{os.getpid()}.{number}")
        if not self._marked:
            restart = SessionLog(status=SessionLog.START)
            self._writer.write_event(Event(wall_time=time.time(), step=self._start + 1, session_log=restart))


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
