"""Resuming at every step: the continued run is the uninterrupted one, bit for bit, mid-epoch and across epochs."""

import json
import shutil

import numpy as np
import pytest

from ssl_jax import methods, monitor
from ssl_jax.data import pipeline, sources
from ssl_jax.evaluation import health
from ssl_jax.run import checkpoint, loop, restore, termination
from ssl_jax.run.logs import Logs
from ssl_jax.train import experiment

NAMES = [pytest.param(name, marks=[pytest.mark.as_users] * (name == "simclr")) for name in methods.names()]


@pytest.mark.parametrize("name", NAMES)
def test_resuming_at_any_step_changes_no_bit(name, tiny, own_data, tmp_path):
    """SimCLR from each of its steps, every other method from step 4, in its second epoch."""
    config = tiny(name)
    if name == "moco":
        config.method.queue_size = 48  # goes round twice
    steps, from_steps = (8, range(1, 8)) if name == "simclr" else (6, (4,))
    config.train.steps, config.train.checkpoint_every, config.train.log_every = steps, from_steps[0], 2
    source, known = own_data(config)
    _, source = sources.hold_out(source, 56, seed=0)  # 3.5 batches
    batches = pipeline.Batches(source, batch_size=config.train.batch_size, seed=config.seed)
    probe = monitor.probe(source)
    run = experiment.build(
        config, batches[0], examples=len(source), probe=probe, signals=health.signals, facts=known
    )

    def train(directory):
        directory.mkdir(exist_ok=True)
        with checkpoint.Checkpoints(directory / "checkpoints", keep=steps) as checkpoints:
            found = checkpoints.restore(run.abstract, run.parallel.replicated)
            state, host_state = (run.create(), {}) if found is None else (found[0], found[1].host)
            with Logs(directory, start=int(state.step), steps=steps) as logs:
                loop.run(
                    run, state, batches, checkpoints=checkpoints, logs=logs, host_state=host_state,
                    termination=termination.Termination(),
                )  # fmt: skip
        lines = (directory / "metrics.jsonl").read_text().splitlines()
        return restore.read(directory / "checkpoints", steps), [line.split('"examples_per')[0] for line in lines]

    whole, lines = train(tmp_path / "whole")
    losses = [row["loss"] for row in map(json.loads, open(tmp_path / "whole" / "metrics.jsonl")) if "loss" in row]
    assert len(losses) == steps // 2 and np.isfinite(losses).all()
    for step in from_steps:
        directory = tmp_path / f"from_{step}"
        shutil.copytree(tmp_path / "whole", directory)
        for later in restore.steps(directory / "checkpoints"):
            if later > step:
                shutil.rmtree(directory / "checkpoints" / str(later))
        resumed, again = train(directory)
        assert again == lines
        assert resumed.host == whole.host and resumed.leaves.keys() == whole.leaves.keys()
        for name, leaf in whole.leaves.items():
            assert leaf.tobytes() == resumed.leaves[name].tobytes(), (step, name)
