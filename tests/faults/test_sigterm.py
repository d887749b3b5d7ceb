"""SIGTERM: saved within a step, exit status 0, and the run goes on as if it had not been asked to stop."""

import json
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


def test_sigterm_during_the_last_evaluation_leaves_a_run_to_go_on_with(lab, reference, tmp_path):
    directory = tmp_path / "run"
    flags = {"eval.protocols": "('knn','linear')"}
    process = lab.start(directory, **flags)
    assert lab.wait_until(process, lambda: rows(directory)[-1:] == [{"event": "finished", "step": 60}])
    said, seconds = stopped(lab, process, directory)
    assert "interrupted" in said and seconds < 20
    assert not (directory / "evaluation.json").exists()
    assert rows(directory)[-1] == {"event": "interrupted", "step": 60}  # so that a launcher starts it again
    lab.run(directory, **flags)
    assert len(json.loads((directory / "evaluation.json").read_text())) == 8
    assert rows(directory)[-1] == {"event": "finished", "step": 60}
