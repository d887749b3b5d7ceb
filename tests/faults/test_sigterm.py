"""SIGTERM: saved within a step, exit status 0, and the run goes on as if it had not been asked to stop."""

import json
import os
import signal
import time

import pytest

from tests.faults.conftest import rows, same


def stopped(lab, process, directory):
    """Sends SIGTERM; what the process said, and the seconds that it took to end."""
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    said = lab.end(process)
    return said, time.monotonic() - began


@pytest.mark.parametrize("when", ["start-up", "step", "save", "evaluation"])
def test_sigterm_saves_and_the_run_ends_the_same(when, lab, reference, tmp_path):
    directory = tmp_path / "run"
    process = lab.start(directory)
    condition = {
        "start-up": lambda: (directory / "config.json").exists(),
        "step": lambda: len(rows(directory)) >= 8,
        "save": lambda: list((directory / "checkpoints").glob("*.partial")),
        "evaluation": lambda: len(rows(directory)) == 19,  # the row of step 20 waits for its evaluation
    }[when]
    assert lab.wait_until(process, condition)
    said, seconds = stopped(lab, process, directory)
    assert "interrupted" in said and seconds < 10
    last = rows(directory)[-1] if when != "start-up" else {"event": "interrupted", "step": 0}
    assert last["event"] == "interrupted"
    if last["step"]:
        assert (directory / "checkpoints" / str(last["step"])).is_dir()  # nothing is lost
    lab.run(directory)
    same(directory, reference)


def test_ctrl_c_saves_too_and_the_processes_that_read_end_without_a_word(lab, reference, tmp_path):
    directory = tmp_path / "run"

    def as_in_a_terminal():
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    process = lab.start(directory, limit=as_in_a_terminal, **{"data.workers": 1})
    assert lab.wait_until(process, lambda: len(rows(directory)) >= 3)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to all of them
    said = lab.end(process)
    assert "interrupted" in said and "press it again to leave at once" in said
    assert rows(directory)[-1]["event"] == "interrupted" and rows(directory)[-1]["step"] >= 3
    lab.run(directory)
    same(directory, reference)


@pytest.mark.as_users
def test_sigterm_during_the_last_evaluation_leaves_a_run_to_go_on_with(lab, tmp_path):
    directory = tmp_path / "run"
    # Wide enough that something is being computed when the signal comes: the end of the process must not crash on it.
    options = {"eval.protocols": "('linear',)", "model.width": 1.0}
    options |= {"train.steps": 6, "train.eval_every": 0}
    process = lab.start(directory, devices=1, **options)
    assert lab.wait_until(process, lambda: rows(directory)[-1:] == [{"event": "finished", "step": 6}])
    time.sleep(2)
    said, seconds = stopped(lab, process, directory)
    assert "interrupted" in said and seconds < 20
    assert not (directory / "evaluation.json").exists()
    assert rows(directory)[-1] == {"event": "interrupted", "step": 6}  # so that a launcher starts it again
    lab.run(directory, devices=1, **options)
    assert len(json.loads((directory / "evaluation.json").read_text())) == 4
    assert rows(directory)[-1] == {"event": "finished", "step": 6}
