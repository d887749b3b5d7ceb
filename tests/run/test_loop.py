"""The loop: continues bit for bit, saves on SIGTERM, stops at or skips what is not finite, and logs what it should."""

import contextlib
import json
import os
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import methods, monitor
from ssl_jax.data import pipeline, sources
from ssl_jax.evaluation import health
from ssl_jax.run import checkpoint, loop, restore, termination
from ssl_jax.run.logs import Logs
from ssl_jax.train import experiment

TIMES = ("examples_per_second", "data_wait")  # what no two runs share


BUILT = {}  # experiments by their config and the methods there were: compiled once


@pytest.fixture
def start(tiny, tmp_path):
    """`start(folder, config) -> outcome, state on disk, rows`: trains in a folder, or goes on there."""

    def make(folder="run", evaluate=None, steps=6, **changes):
        config = tiny()
        config.train.steps = steps
        config.update_from_flattened_dict(changes)
        source = sources.load("digits", "train")
        batches = pipeline.Batches(source, batch_size=config.train.batch_size, seed=config.seed)
        key = config.to_json(), methods.build
        if key not in BUILT:
            BUILT[key] = experiment.build(
                config, batches[0], examples=len(source), probe=monitor.probe(source), signals=health.signals
            )
        run = BUILT[key]
        directory = tmp_path / folder
        directory.mkdir(exist_ok=True)
        with checkpoint.Checkpoints(directory / "checkpoints", keep=config.train.keep) as checkpoints:
            found = checkpoints.restore(run.abstract, run.parallel.replicated)
            state, host_state = (found[0], found[1].host) if found else (run.create(), {})
            rewrite = "unevaluated" in host_state
            with (
                Logs(directory, start=int(state.step), steps=run.steps, rewrite_start=rewrite) as logs,
                termination.termination() as asked,
            ):
                outcome = loop.run(
                    run, state, batches,
                    checkpoints=checkpoints, logs=logs, host_state=host_state, termination=asked, evaluate=evaluate,
                )  # fmt: skip
            state, restored = checkpoints.restore(run.abstract, run.parallel.replicated)
        # What a continued run is told is what this one knew; as text, where nan equals nan.
        assert json.dumps(restored.host, sort_keys=True) == json.dumps(host_state, sort_keys=True)
        return outcome, jax.device_get(state.replace(key=jax.random.key_data(state.key))), read(directory)

    return make


def read(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def saved(directory):
    return sorted(int(path.name) for path in (directory / "checkpoints").iterdir())


def remembered(directory):
    """What the newest checkpoint says of the run."""
    return restore.newest_intact(directory / "checkpoints", items=()).host


def without(rows, *events):
    """Rows without what no two runs share, and without these events."""
    rows = [row for row in rows if row.get("event") not in events]
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def terminate(state, asked):
    """An evaluation during which SIGTERM arrives, and which comes to its end all the same."""
    signal.raise_signal(signal.SIGTERM)
    return {}


def knn(state, asked):
    """An evaluation that is better at step 4 than at any other."""
    return {"knn_top1": {2: 0.5, 4: 0.75}.get(int(state.step), 0.625)}


def interrupted_at(step):
    """An evaluation during which SIGTERM arrives at this step, and which therefore ends."""

    def evaluate(state, asked):
        for _ in asked.until_requested(range(3)):
            if int(state.step) == step:
                signal.raise_signal(signal.SIGTERM)
        return knn(state, asked)

    return evaluate


def test_a_stopped_run_continues_bit_for_bit(start):
    outcome, whole, rows = start("whole")
    assert outcome == "finished" and rows[-1] == {"event": "finished", "step": 6}
    changes = {"train.eval_every": 3}
    outcome, _, rows = start("parts", terminate, **changes)
    # The signal arrives after step 3; the loop sees it after the next step, and saves that.
    assert outcome == "interrupted" and rows[-1] == {"event": "interrupted", "step": 4}
    outcome, parts, _ = start("parts")
    assert outcome == "finished"
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        assert np.array_equal(a, b)


def test_rows_hold_what_is_promised(start):
    _, _, rows = start()
    rows = [row for row in rows if "event" not in row]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    expected = {"step", "loss", "learning_rate", "gradient_norm", "chance_loss", "probe_loss", "probe_top1", "std"}
    assert all(expected | {"effective_rank", "in_batch_top1"} <= set(row) for row in rows)
    # The last two rows come at once, behind the last step: there is no time between them.
    assert all(0 <= row["data_wait"] <= 1 and row["examples_per_second"] > 0 for row in rows[:-1])


def test_rows_come_at_their_interval_and_at_the_end(start):
    _, _, rows = start(steps=5, **{"train.log_every": 2})
    assert [row["step"] for row in rows if "event" not in row] == [2, 4, 5]
    assert "std" in rows[0] and "std" not in rows[2]  # signals are computed at multiples of the interval only


def test_an_evaluation_joins_the_row_of_its_step(start):
    _, _, rows = start(evaluate=lambda state, asked: {"knn_top1": 0.5}, **{"train.eval_every": 4, "train.log_every": 3})
    rows = [row for row in rows if "event" not in row]
    assert [row["step"] for row in rows] == [3, 4, 6]
    assert [row.get("knn_top1") for row in rows] == [None, 0.5, 0.5]
    assert all("loss" in row and "learning_rate" in row for row in rows)


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_leaf(start, tmp_path):
    start(steps=2)
    with pytest.raises(loop.NonFinite, match=r"Step \d: .* is not finite .*learning_rate"):
        start(steps=6, **{"optim.learning_rate": 1e30, "optim.scaling": "none"})
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == ["2"]


@pytest.mark.parametrize("step", [2, 6])
def test_an_interrupted_evaluation_is_done_first_on_resuming(start, poison, step, tmp_path):
    poison(step)  # so that the step has a warning too
    changes = {"train.eval_every": 2, "train.keep_best": True, "train.on_nonfinite": "skip", "train.log_every": 3}
    _, whole, rows = start("whole", knn, **changes)
    for evaluate in (interrupted_at(step),) * 2:  # the second one before any step
        outcome, _, partial = start("parts", evaluate, **changes)
        assert outcome == "interrupted" and partial[-1] == {"event": "interrupted", "step": step}
        assert not any(row["step"] == step for row in partial if "event" not in row)
        assert remembered(tmp_path / "parts")["unevaluated"]["learning_rate"] > 0
    for _ in range(2):  # the second one finds nothing to do
        outcome, parts, found = start("parts", knn, **changes)
        assert outcome == "finished"
        assert without(found) == without(rows)
        assert remembered(tmp_path / "parts") == remembered(tmp_path / "whole")
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        assert np.array_equal(a, b)


def test_the_best_evaluation_is_saved_and_kept(start, tmp_path):
    changes = {"train.eval_every": 2, "train.keep": 1}
    start("best", knn, **changes, **{"train.keep_best": True})
    assert saved(tmp_path / "best") == [4, 6]
    assert remembered(tmp_path / "best")["best"] == {"step": 4, "knn_top1": 0.75}
    start("newest", knn, **changes)
    assert saved(tmp_path / "newest") == [6] and "best" not in remembered(tmp_path / "newest")


def test_a_loss_that_is_not_finite_stops_the_run_by_default(start, poison, tmp_path):
    poison(4)
    with pytest.raises(loop.NonFinite, match=r"Step 4: loss is not finite .*learning_rate.*on_nonfinite=skip"):
        start(**{"train.checkpoint_every": 2})
    assert saved(tmp_path / "run") == [2]


def test_steps_that_are_not_finite_are_skipped_and_counted(start, poison, tmp_path):
    poison(2, 4, 5)
    outcome, state, rows = start(**{"train.on_nonfinite": "skip", "train.skip_limit": 3})
    assert outcome == "finished" and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))
    warnings = [row for row in rows if row.get("event") == "warning"]
    sentence = "loss is not finite (gradient norm nan): the step is skipped"
    assert [row["step"] for row in warnings] == [2, 4, 5]
    assert [row["text"] for row in warnings] == [f"{sentence}, {count} so far" for count in (1, 2, 3)]
    rows = [row for row in rows if "event" not in row]
    assert [row["loss"] == "nan" for row in rows] == [False, True, False, True, True, False]
    assert [row.get("skipped") for row in rows] == [None, 1, 1, 2, 3, 3]
    held = remembered(tmp_path / "run")
    assert (held["skipped"], held["skipped_in_row"], held["health"]["seen"]) == (3, 0, 3)


def test_too_many_skipped_steps_in_a_row_end_the_run_across_a_continuation(start, poison):
    poison(3, 4, 5)
    changes = {"train.on_nonfinite": "skip", "train.skip_limit": 3}
    assert start(steps=4, **changes)[0] == "finished"
    with pytest.raises(loop.NonFinite, match=r"Step 5: loss is not finite .*like 3 steps in a row; start again"):
        start(**changes)


def fail_to_save(monkeypatch, *steps):
    write = checkpoint.Checkpoints._write

    def fail(self, step, *rest):
        if step in steps:
            raise OSError(28, os.strerror(28))
        write(self, step, *rest)

    monkeypatch.setattr(checkpoint.Checkpoints, "_write", fail)


def test_a_save_that_fails_is_said_and_the_run_goes_on(start, monkeypatch, tmp_path):
    fail_to_save(monkeypatch, 2)
    outcome, _, rows = start(**{"train.checkpoint_every": 2})
    assert outcome == "finished" and saved(tmp_path / "run") == [4, 6]
    (warning,) = (row for row in rows if row.get("event") == "warning")
    assert warning["text"].startswith("checkpoint 2 could not be written (OSError: ") and warning["step"] == 4


@pytest.mark.parametrize("stop", [False, True])
def test_a_last_save_that_fails_ends_the_run_with_an_error(start, monkeypatch, stop, tmp_path):
    fail_to_save(monkeypatch, 4, 6)
    changes = {"train.eval_every": 3, "train.checkpoint_every": 2}
    message = f"The run is {'interrupted at step 4' if stop else 'finished at step 6'}, but checkpoint .* make room"
    with pytest.raises(ValueError, match=message):
        start(evaluate=terminate if stop else None, **changes)
    assert saved(tmp_path / "run") == [2]
    assert not [row for row in read(tmp_path / "run") if row.get("event") in ("finished", "interrupted")]
    monkeypatch.undo()
    assert start(**changes)[0] == "finished" and saved(tmp_path / "run") == [4, 6]


def test_sigterm_is_for_the_loop_only_while_it_runs():
    with contextlib.ExitStack() as stack:
        previous = signal.getsignal(signal.SIGTERM)
        stack.callback(signal.signal, signal.SIGTERM, previous)
        stack.callback(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))
        termination.end_on_signals()
        with termination.termination() as asked:
            assert list(asked.until_requested([1, 2])) == [1, 2]
            signal.raise_signal(signal.SIGTERM)
            assert asked.requested()
            with pytest.raises(termination.Interrupted):
                next(asked.until_requested([1, 2]))
        with pytest.raises(termination.Terminated):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == previous and not issubclass(termination.Terminated, Exception)


def test_ctrl_c_is_for_the_loop_too_and_a_second_one_is_pythons():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with termination.termination() as asked:  # without a command around it, as in a notebook
        signal.raise_signal(signal.SIGINT)
        assert asked.requested()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.signal(signal.SIGINT, signal.SIG_IGN) is signal.default_int_handler
    with termination.termination() as asked:  # a job in the background
        signal.raise_signal(signal.SIGINT)
        assert not asked.requested()
    assert signal.signal(signal.SIGINT, before) is signal.SIG_IGN


@pytest.mark.parametrize(("where", "outcome"), [("inside", "requested"), ("outside", "terminated")])
def test_a_second_ctrl_c_ends_a_command_at_once(where, outcome):
    program = f"""
import contextlib, signal
from ssl_jax.run import termination
signal.signal(signal.SIGINT, signal.default_int_handler)
termination.end_on_signals()
with termination.termination() if {where == "inside"} else contextlib.nullcontext() as asked:
    try:
        signal.raise_signal(signal.SIGINT)
        print("requested" if asked.requested() else "nothing", flush=True)
    except termination.Terminated:
        print("terminated", flush=True)
    signal.raise_signal(signal.SIGINT)
    print("still there")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == -signal.SIGINT and done.stdout == f"{outcome}\n"
    assert "Ctrl-C: saving and ending; press it again to leave at once" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_data_goes_on_where_it_was(start):
    """Batch k is a function of (seed, k): a run continued at step k must not begin the epoch anew."""
    source = sources.load("digits", "train")
    batches = pipeline.Batches(source, batch_size=16, seed=0)
    stream = batches.iterate(4)
    np.testing.assert_array_equal(next(stream)["row"], batches[4]["row"])
    stream.close()


def test_model_of_a_run_without_checkpoint(tmp_path):
    with pytest.raises(ValueError, match="has no checkpoint"):
        restore.load_model(tmp_path, None)


def test_monitor_watches_labelled_data_alone(start):
    class Unlabelled:
        labels = num_classes = None

    assert monitor.probe(Unlabelled()) is None and monitor.knn(None, Unlabelled()) is None
    assert jnp.shape(monitor.probe(sources.load("digits", "train")).init(3)["params"]["kernel"]) == (3, 10)


def test_parameters_of_another_run_start_a_new_one(start, tiny, tiny_batch, tmp_path):
    _, trained, _ = start(steps=2)
    config = tiny()
    run = experiment.build(config, tiny_batch(), examples=1437)
    begun = restore.start_from(tmp_path / "run", run.create(), run.method.adopt, run.parallel.replicated)
    assert int(begun.step) == 0
    for a, b in zip(jax.tree.leaves(begun.params), jax.tree.leaves(trained.params), strict=True):
        assert np.array_equal(a, b)
    stats = [jax.tree.leaves(state.method["batch_stats"]) for state in (begun, trained, run.create())]
    assert all(np.array_equal(a, b) for a, b in zip(*stats[:2], strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(*stats[1:], strict=True))

    def start_from(parts):
        return restore.start_from(tmp_path / "run", run.create(), run.method.adopt, run.parallel.replicated, parts)

    alone = start_from(("encoder",))
    for name, taken in (("encoder", True), ("projector", False)):
        kernels = [state.params[name] for state in (alone, trained)]
        assert (jax.tree.all(jax.tree.map(np.array_equal, *kernels))) == taken
    with pytest.raises(ValueError, match="holds other parameters of predictor; give"):
        start_from(("predictor",))
    config.model.width = 1 / 8
    other = experiment.build(config, tiny_batch(), examples=1437)
    with pytest.raises(ValueError, match="holds other parameters"):
        restore.start_from(tmp_path / "run", other.create(), other.method.adopt, other.parallel.replicated)
