"""The loop: continues bit for bit, saves on SIGTERM, stops at what is not finite, and logs what it should."""

import json
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import monitor
from ssl_jax.data import pipeline, sources
from ssl_jax.evaluation import health
from ssl_jax.train import checkpoint, experiment, loop, metrics


@pytest.fixture
def start(tiny, tmp_path):
    """`start(folder, config) -> outcome, state on disk, rows`: trains in a folder, or goes on there."""

    def make(folder="run", evaluate=None, steps=6, **changes):
        config = tiny()
        config.train.steps = steps
        config.update_from_flattened_dict(changes)
        source = sources.load("digits", "train")
        batches = pipeline.Batches(source, batch_size=config.train.batch_size, seed=config.seed)
        run = experiment.build(
            config, batches[0], examples=len(source), probe=monitor.probe(source), signals=health.signals
        )
        directory = tmp_path / folder
        directory.mkdir(exist_ok=True)
        with checkpoint.Checkpoints(directory / "checkpoints") as checkpoints:
            state, history = run.create(), {}
            if checkpoints.latest is not None:
                state, history = checkpoints.restore(run.abstract, run.parallel.replicated)
            with metrics.Logs(directory, start=int(state.step), steps=run.steps) as logs:
                outcome = loop.run(
                    run, state, batches, checkpoints=checkpoints, logs=logs, history=history, evaluate=evaluate
                )
            state, history = checkpoints.restore(run.abstract, run.parallel.replicated)
        rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
        return outcome, jax.device_get(state.replace(key=jax.random.key_data(state.key))), rows

    return make


def terminate(state):
    """An evaluation during which SIGTERM arrives."""
    signal.raise_signal(signal.SIGTERM)
    return {}


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
    expected = {"step", "loss", "learning_rate", "gradient_norm", "chance_loss", "examples_per_second", "data_wait"}
    assert expected | {"probe_loss", "probe_top1", "std", "effective_rank", "in_batch_top1"} <= set(rows[-1])
    assert all(0 <= row["data_wait"] <= 1 for row in rows)


def test_rows_come_at_their_interval_and_at_the_end(start):
    _, _, rows = start(steps=5, **{"train.log_every": 2})
    assert [row["step"] for row in rows if "event" not in row] == [2, 4, 5]
    assert "std" in rows[0] and "std" not in rows[2]  # signals are computed at multiples of the interval only


def test_an_evaluation_joins_the_row_of_its_step(start):
    _, _, rows = start(evaluate=lambda state: {"knn_top1": 0.5}, **{"train.eval_every": 4, "train.log_every": 3})
    rows = [row for row in rows if "event" not in row]
    assert [row["step"] for row in rows] == [3, 4, 6]
    assert [row.get("knn_top1") for row in rows] == [None, 0.5, 0.5]
    assert all("loss" in row and "learning_rate" in row for row in rows)


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_leaf(start, tmp_path):
    start(steps=2)
    with pytest.raises(loop.NonFinite, match=r"Step \d: .* is not finite .*learning_rate"):
        start(steps=6, **{"optim.learning_rate": 1e30, "optim.scaling": "none"})
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == ["2"]


def test_the_data_goes_on_where_it_was(start):
    """Batch k is a function of (seed, k): a run continued at step k must not begin the epoch anew."""
    source = sources.load("digits", "train")
    batches = pipeline.Batches(source, batch_size=16, seed=0)
    stream = batches.iterate(4)
    np.testing.assert_array_equal(next(stream)["row"], batches[4]["row"])
    stream.close()


def test_model_of_a_run_without_checkpoint(tmp_path):
    with pytest.raises(ValueError, match="has no checkpoint"):
        checkpoint.load_model(tmp_path, None)


def test_monitor_watches_labelled_data_alone(start):
    class Unlabelled:
        num_classes = None

    assert monitor.probe(Unlabelled()) is None and monitor.knn(None, Unlabelled()) is None
    assert jnp.shape(monitor.probe(sources.load("digits", "train")).init(3)["params"]["kernel"]) == (3, 10)


def test_parameters_of_another_run_start_a_new_one(start, tiny, tiny_batch, tmp_path):
    _, trained, _ = start(steps=2)
    config = tiny()
    run = experiment.build(config, tiny_batch(), examples=1437)
    begun = checkpoint.start_from(tmp_path / "run", run.create(), run.parallel.replicated)
    assert int(begun.step) == 0
    for a, b in zip(jax.tree.leaves(begun.params), jax.tree.leaves(trained.params), strict=True):
        assert np.array_equal(a, b)
    config.model.width = 1 / 8
    other = experiment.build(config, tiny_batch(), examples=1437)
    with pytest.raises(ValueError, match="holds other parameters"):
        checkpoint.start_from(tmp_path / "run", other.create(), other.parallel.replicated)
