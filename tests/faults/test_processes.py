"""Two real processes: the same numbers as one, on with another topology, and neither outlives the other."""

import json
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from ssl_jax.run import restore
from tests.faults.conftest import leaves, rows, same, two_processes

STEPS, MIDDLE = 8, 4
EXACT = {
    "train.steps": STEPS, "train.checkpoint_every": MIDDLE, "train.eval_every": MIDDLE, "train.keep": 9,
    "compute_dtype": "float64", "optim.name": "sgd",
}  # fmt: skip
STRICT = EXACT | {"compute_dtype": "float32", "optim.name": "adamw", "parallel.strict": True}


def run_pair(lab, directory, **options) -> str:
    """Two processes to their end; what both said."""
    processes = lab.pair(directory, **options)
    return "".join(lab.end(process) for process in processes)


def half_done(run: Path, copy: Path) -> Path:
    """The run as it was after its first checkpoint."""
    shutil.copytree(run, copy)
    for step in restore.steps(copy / "checkpoints"):
        if step > MIDDLE:
            shutil.rmtree(copy / "checkpoints" / str(step))
    return copy


def close(directory, reference, tolerance=1e-9):
    """The last states agree, every leaf to `tolerance` of its scale, and so do the logged losses."""
    a, b = (restore.read(path / "checkpoints", STEPS).leaves for path in (directory, reference))
    for name in b:
        found, wanted = np.asarray(a[name], np.float64), np.asarray(b[name], np.float64)
        # 1e-15: what is zero but for rounding, as the means behind a norm without offset
        assert np.abs(found - wanted).max(initial=0) <= max(tolerance * np.abs(wanted).max(initial=0), 1e-15), name
    for row, other in zip(rows(directory), rows(reference), strict=True):
        assert row.keys() == other.keys() and row.get("knn_top1") == other.get("knn_top1")
        assert row.get("loss", 0.0) == pytest.approx(other.get("loss", 0.0), rel=1e-6)


@pytest.fixture(scope="module")
def on_eight(lab, tmp_path_factory):
    """float64 on one process with 8 devices."""
    directory = tmp_path_factory.mktemp("eight") / "run"
    lab.run(directory, devices=8, **EXACT)
    return directory


@pytest.fixture(scope="module")
def on_two_processes(lab, tmp_path_factory):
    """The same on two processes with 4 devices each, and what both said."""
    directory = tmp_path_factory.mktemp("pair") / "run"
    return directory, run_pair(lab, directory, devices=4, **EXACT)


def test_two_processes_with_four_devices_are_one_with_eight(on_two_processes, on_eight):
    directory, said = on_two_processes
    assert said.count(f"step {STEPS}/{STEPS}") == 1  # process 0 alone speaks
    assert "devices     8 x cpu, 2 processes" in said
    close(directory, on_eight)


def test_a_run_goes_on_with_other_devices_and_another_mode(lab, on_eight, tmp_path):
    lab.run(half_done(on_eight, tmp_path / "two"), devices=2, **EXACT)
    close(tmp_path / "two", on_eight)
    lab.run(half_done(on_eight, tmp_path / "pmap"), devices=4, **EXACT | {"parallel.mode": "pmap"})
    close(tmp_path / "pmap", on_eight)


def test_a_momentum_encoder_and_its_queue_go_on_in_two_processes(lab, tmp_path, monkeypatch):
    # Two processes wait for one another for 30 s at most, which compilation may take on a busy machine.
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    changes = {"method.queue_size": 48, "model.norm_groups": 2}  # the queue has gone round in step 4
    options = EXACT | changes | {"recipe": "moco.py:digits"}
    lab.run(tmp_path / "eight", devices=8, **options)
    said = run_pair(lab, half_done(tmp_path / "eight", tmp_path / "pair"), devices=2, **options)
    assert f"from step {MIDDLE}" in said
    close(tmp_path / "pair", tmp_path / "eight")
    drifts = [[row["key_drift"] for row in rows(tmp_path / run) if "key_drift" in row] for run in ("pair", "eight")]
    assert drifts[0] == pytest.approx(drifts[1], rel=1e-6)
    assert len(drifts[0]) == 2  # the evaluations at steps 4 and 8


def test_strict_mode_goes_on_bit_for_bit_on_two_processes(lab, tmp_path):
    lab.run(tmp_path / "eight", devices=8, **STRICT)
    run_pair(lab, half_done(tmp_path / "eight", tmp_path / "pair"), devices=2, **STRICT)
    same(tmp_path / "pair", tmp_path / "eight")


def test_two_processes_evaluate_and_embed_like_one(lab, reference, tmp_path):
    tables, features = [], []
    for many in (False, True):
        directory = tmp_path / f"run_{many}"
        shutil.copytree(reference, directory)
        joins = two_processes() if many else [[]]
        output = directory / "features.npz"
        for command in (["evaluate", "--protocols=knn"], ["embed", f"--output={output}"]):
            processes = [lab.command(*command, f"--workdir={directory}", *join) for join in joins]
            said = [lab.end(process) for process in processes]
        assert [f"{output}: features float32" in text for text in said] == [True, False][: len(joins)]
        tables.append(json.loads((directory / "evaluation.json").read_text()))
        features.append(np.load(output))
    one, two = features
    np.testing.assert_allclose(two["features"], one["features"], atol=1e-5)
    np.testing.assert_array_equal(two["label"], one["label"])
    for row, other in zip(*tables, strict=True):
        assert row["value"] == pytest.approx(other["value"], abs=0.02) and row["n"] == other["n"] == 360


@pytest.mark.parametrize("victim", [0, 1])
def test_when_one_process_is_killed_the_other_ends_and_says_why(victim, lab, tmp_path):
    directory = tmp_path / "run"
    processes = lab.pair(directory, **{"train.steps": 100_000})
    assert lab.wait_until(processes[0], lambda: len(rows(directory)) >= 20)
    assert lab.kill(processes[victim])
    began = time.monotonic()
    _, err = processes[1 - victim].communicate(timeout=60)
    assert processes[1 - victim].returncode not in (0, None)
    assert time.monotonic() - began < 30  # heartbeats are counted for 10 s here
    assert "another is gone" in err or "distributed service" in err
    assert restore.steps(directory / "checkpoints")


def test_sigterm_to_one_process_saves_and_ends_both(lab, on_two_processes, tmp_path):
    directory = tmp_path / "run"
    processes = lab.pair(directory, devices=4, **EXACT)
    assert lab.wait_until(processes[0], lambda: len(rows(directory)) >= MIDDLE - 1)  # before the evaluation
    processes[1].send_signal(signal.SIGTERM)
    said = "".join(lab.end(process) for process in processes)
    last = json.loads((directory / "metrics.jsonl").read_text().splitlines()[-1])
    assert "interrupted" in said and last["event"] == "interrupted" and last["step"] < STEPS
    assert leaves(directory)["step"] == last["step"]
    run_pair(lab, directory, devices=4, **EXACT)
    same(directory, on_two_processes[0])
