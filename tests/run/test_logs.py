"""The files and lines that a run leaves behind, written, interrupted and continued."""

import errno
import io
import json
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX import record_writer
from tensorboardX.proto.event_pb2 import Event

from ssl_jax.run import logs as module


def rows(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def events(path):
    """The events of a TensorBoard file, which holds records of length, checksum, bytes, checksum."""
    data = path.read_bytes()
    while data:
        length = int.from_bytes(data[:8], "little")
        yield Event.FromString(data[12 : 12 + length])
        data = data[16 + length :]


def scalars(directory):
    """Step and tag of every scalar below a directory, with the number of its file."""
    files = sorted((directory / "tensorboard").iterdir(), key=lambda path: int(path.suffix[1:]))
    return [(int(path.suffix[1:]), event.step, scalar.tag)
             for path in files for event in events(path) for scalar in event.summary.value]  # fmt: skip


class Disk:
    """Stands in for files, and is full once `room` bytes are written; None for enough."""

    def __init__(self):
        self.room = None

    def hold(self, file):
        """`file`, unbuffered, on this disk: like the system, it writes what still fits, and then nothing."""

        def write(data):
            if self.room == 0 and data:
                raise OSError(errno.ENOSPC, "No space left on device")
            part = data if self.room is None else data[: self.room]
            if self.room is not None:
                self.room -= len(part)
            return file.write(part)

        return types.SimpleNamespace(write=write, flush=lambda: None, fileno=file.fileno, close=file.close)


@pytest.fixture
def disk():
    return Disk()


def test_rows_are_json_with_seven_digits_and_named_infinities(tmp_path):
    file = module.MetricsFile(tmp_path / "metrics.jsonl")
    file.write(1, {"loss": np.float32(0.1), "rate": 1234.56789, "count": np.int32(3), "done": True})
    file.write(2, {"loss": jnp.float32(jnp.nan), "a": -np.inf, "b": jnp.bfloat16(0.5), "c": np.float64(1 / 3)})
    # Each row is there at once, not when the file is closed.
    assert rows(tmp_path) == [
        {"step": 1, "loss": 0.1, "rate": 1234.568, "count": 3, "done": True},
        {"step": 2, "loss": "nan", "a": "-inf", "b": 0.5, "c": 0.3333333},
    ]
    file.close()


def test_continuing_drops_later_rows_events_and_a_torn_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    file = module.MetricsFile(path)
    for step in (10, 20, 30):
        file.write(step, {"loss": 1.0 / step})
    file.event("warning", 15, text="collapse")
    file.event("interrupted", 15)
    file.event("warning", 25, text="collapse")
    file.close()
    with open(path, "a") as torn:
        torn.write('{"step": 40, "lo')
    file = module.MetricsFile(path)
    file.truncate_after(20)
    file.write(21, {"loss": 0.5})
    file.event("finished", 21)
    file.close()
    assert rows(tmp_path) == [
        {"step": 10, "loss": 0.1},
        {"step": 20, "loss": 0.05},
        {"event": "warning", "step": 15, "text": "collapse"},
        {"step": 21, "loss": 0.5},
        {"event": "finished", "step": 21},
    ]
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_damaged_lines_are_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1, "loss": 1.0}\n\xff\x00\n{"st\n[2]\n{"loss": 3.0}\n{"step": 2, "loss": 0.5}\n')
    module.MetricsFile(path).truncate_after(9)
    assert [row["step"] for row in rows(tmp_path)] == [1, 2]


@pytest.mark.parametrize("last", ["finished", "interrupted", None])
def test_a_finished_run_whose_evaluation_was_stopped_is_marked(tmp_path, last):
    file = module.MetricsFile(tmp_path / "metrics.jsonl")
    file.write(7, {"loss": 1.0})
    if last:
        file.event(last, 7)
    before = rows(tmp_path)
    module.mark_interrupted(tmp_path)
    assert rows(tmp_path) == before + [{"event": "interrupted", "step": 7}] * (last == "finished")
    module.mark_interrupted(tmp_path / "without")


def test_a_kill_while_dropping_rows_loses_nothing(tmp_path, monkeypatch):
    file = module.MetricsFile(tmp_path / "metrics.jsonl")
    file.write(10, {"loss": 1.0})
    file.write(20, {"loss": 0.5})
    monkeypatch.setattr(module.os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        file.truncate_after(10)
    assert [row["step"] for row in rows(tmp_path)] == [10, 20]


def test_a_row_that_is_done_again_is_dropped_and_its_warnings_stay(tmp_path):
    file = module.MetricsFile(tmp_path / "metrics.jsonl")
    for step in (10, 20):
        file.event("warning", step, text="collapse")
        file.write(step, {"loss": 1.0 / step})
    file.event("interrupted", 20)
    file.event("warning", 30, text="collapse")
    file.truncate_after(20, rewrite_start=True)
    warning = {"event": "warning", "text": "collapse"}
    assert rows(tmp_path) == [warning | {"step": 10}, {"step": 10, "loss": 0.1}, warning | {"step": 20}]


@pytest.mark.parametrize("room", [0, 1, 24])
def test_lines_wait_in_memory_while_the_disk_is_full(tmp_path, disk, room):
    path = tmp_path / "metrics.jsonl"
    file = module.MetricsFile(path)
    file._file = disk.hold(file._file)
    assert file.write(1, {"loss": 0.5}) is None
    assert path.stat().st_size == 25
    disk.room = room
    sentence = f"{path} cannot be written (No space left on device); its lines wait in memory"
    assert file.write(2, {"loss": 0.5}) == sentence
    assert file.event("warning", 2, text="x") is None  # it was said
    assert path.stat().st_size == 25  # no line is there in part
    disk.room = 30
    assert file.write(3, {"loss": 0.5}) is None  # the first of the lines would fit: they come together
    assert path.stat().st_size == 25
    disk.room = None
    assert file.write(4, {"loss": 0.5}) is None
    assert [row["step"] for row in rows(tmp_path)] == [1, 2, 2, 3, 4]
    disk.room = 0
    assert file.write(5, {"loss": 0.5}) == sentence  # it is news again
    disk.room = None
    assert file.close() is None
    assert [row["step"] for row in rows(tmp_path)] == [1, 2, 2, 3, 4, 5]


def test_tensorboard_has_every_row_at_once(tmp_path):
    board = module.TensorBoard(tmp_path / "tensorboard", 0)
    for step in (1, 2):
        assert board.write(step, {"loss": 1.0, "std": 0.5}) is None
        assert scalars(tmp_path)[-2:] == [(1, step, "loss"), (1, step, "std")]
    assert board.close() is None


def test_tensorboard_begins_a_new_file_after_a_write_that_failed(tmp_path, disk, monkeypatch):
    monkeypatch.setattr(record_writer, "open_file", lambda path: disk.hold(open(path, "wb", buffering=0)))
    board = module.TensorBoard(tmp_path / "tensorboard", 7)
    disk.room = 0
    problem = f"{tmp_path / 'tensorboard'} cannot be written (No space left on device); it lacks step"
    assert board.write(8, {"loss": 1.0}) == f"{problem} 8 ff."
    assert board.write(9, {"loss": 1.0}) is None  # it was said
    disk.room = None
    assert board.write(10, {"loss": 1.0}) is None
    disk.room = 10
    assert board.write(11, {"loss": 1.0}) == f"{problem} 11 ff."
    disk.room = None
    assert board.write(12, {"loss": 1.0}) is None
    assert [step for _, step, _ in scalars(tmp_path)] == [10, 12]
    # What was written past step 7 before is hidden, but not what this run has written.
    marks = [event.step for path in (tmp_path / "tensorboard").iterdir()
             for event in events(path) if event.HasField("session_log")]  # fmt: skip
    assert marks == [8]


def test_tensorboard_never_writes_over_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(module.time, "time", lambda: 1e9)  # every file is of the same second
    for start in (0, 1, 2):
        board = module.TensorBoard(tmp_path / "tensorboard", start)
        board.write(start + 1, {"loss": 1.0})
        board.close()
    assert scalars(tmp_path) == [(1, 1, "loss"), (2, 2, "loss"), (3, 3, "loss")]


def test_logs_say_what_they_could_not_write(tmp_path, disk, capsys):
    with module.Logs(tmp_path, start=0, steps=9) as logs:
        logs._file._file = disk.hold(logs._file._file)
        disk.room = 0
        for step in (1, 2):
            logs.write(step, {"loss": 1.0})
    lines = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    path = tmp_path / "metrics.jsonl"
    assert lines == [
        f"warning: {path} cannot be written (No space left on device); its lines wait in memory",
        f"warning: the last 2 lines of {path} could not be written and are lost",
    ]
    assert [step for _, step, _ in scalars(tmp_path)] == [1, 2]


def test_logs_write_the_file_tensorboard_and_lines(tmp_path, capsys):
    row = {"loss": 4.8123, "learning_rate": 0.03, "examples_per_second": 3210.2, "std": 0.5}
    with module.Logs(tmp_path, start=0, steps=1000) as logs:
        logs.write(200, row | {"knn_top1": 0.91234})
        logs.warn(200, "the embeddings have collapsed")
        logs.event("interrupted", 200)
    assert rows(tmp_path) == [
        {"step": 200} | row | {"knn_top1": 0.91234},
        {"event": "warning", "step": 200, "text": "the embeddings have collapsed"},
        {"event": "interrupted", "step": 200},
    ]
    (path,) = (tmp_path / "tensorboard").iterdir()
    scalars = {scalar.tag: scalar.simple_value for event in events(path) for scalar in event.summary.value}
    assert scalars == pytest.approx(row | {"knn_top1": 0.91234}, rel=1e-6)
    assert {event.step for event in events(path) if event.summary.value} == {200}
    assert capsys.readouterr().err.splitlines() == [
        "step 200/1000  loss 4.812  lr 0.0300  3210 examples/s  kNN 91.2%",
        "warning: step 200: the embeddings have collapsed",
    ]


def test_continued_logs_hide_the_steps_that_are_done_again(tmp_path):
    with module.Logs(tmp_path, start=0, steps=100) as logs:
        for step in (10, 20):
            logs.write(step, {"loss": 1.0})
    with module.Logs(tmp_path, start=10, steps=100) as logs:
        logs.write(20, {"loss": 2.0})
    assert rows(tmp_path) == [{"step": 10, "loss": 1.0}, {"step": 20, "loss": 2.0}]
    first, second = sorted((tmp_path / "tensorboard").iterdir())
    assert [event.step for event in events(first) if event.HasField("session_log")] == [1]
    assert [event.step for event in events(second) if event.HasField("session_log")] == [11]
    with module.Logs(tmp_path, start=20, steps=100, rewrite_start=True) as logs:
        logs.write(20, {"loss": 3.0})
    assert rows(tmp_path) == [{"step": 10, "loss": 1.0}, {"step": 20, "loss": 3.0}]
    third = sorted((tmp_path / "tensorboard").iterdir())[-1]
    assert [event.step for event in events(third) if event.HasField("session_log")] == [20]


def test_only_the_first_process_writes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    with module.Logs(tmp_path, start=0, steps=10, wandb="project") as logs:
        logs.write(5, {"loss": 1.0})
        logs.warn(5, "nothing")
        logs.event("finished", 10)
    assert not list(tmp_path.iterdir()) and capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_with_loss_rate_and_time_left(monkeypatch):
    class Screen(io.StringIO):
        def isatty(self):
            return True

    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    terminal = module.Terminal(start=100, steps=1000)
    terminal.write(200, {"loss": 4.8123, "learning_rate": 4.8, "examples_per_second": 99.6})
    terminal.close()
    first, *_, last = screen.getvalue().strip("\r").split("\r")
    assert "100/1000" in first  # a continued run does not count its past into the rate
    assert "200/1000" in last and "loss 4.812  lr 4.80  100 examples/s" in last and "<" in last


def test_weights_and_biases_is_one_run_over_a_continuation(tmp_path, monkeypatch):
    calls = []

    def init(**options):
        calls.append(("init", options["id"]))
        log = lambda values, step: calls.append((step, values))  # noqa: E731
        return types.SimpleNamespace(id="abc", log=log, finish=lambda: calls.append("finish"))

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    for start in (0, 5):
        with module.Logs(tmp_path, start=start, steps=10, wandb="project") as logs:
            logs.write(start + 5, {"loss": np.float32(1.0)})
    first, second = calls[:3], calls[3:]
    assert first == [("init", None), (5, {"loss": 1.0}), "finish"]
    assert second == [("init", "abc"), (10, {"loss": 1.0}), "finish"]


def test_weights_and_biases_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match="'mine'.*not installed; install the package wandb"):
        module.Logs(tmp_path, start=0, steps=10, wandb="mine")
