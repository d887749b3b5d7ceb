"""`benchmarks/negatives.py`: what its runs differ in, and what it reads and prints of finished ones."""

import json

import pytest

from benchmarks import negatives
from ssl_jax import recipes
from ssl_jax.train import optim


@pytest.mark.parametrize("batch", [32, 2048])
def test_runs_differ_in_batch_microbatches_and_rate_alone(batch):
    config = recipes.get_config("simclr:cifar10_cpu")
    config.update_from_flattened_dict(negatives.settings(batch, 3, "npz:data/cifar10", devices=2))
    assert config.train.batch_size // config.train.microbatches == negatives.ROWS
    assert config.train.batch_size // config.model.norm_groups == negatives.ROWS
    rate = negatives.BASE_RATE * (batch / negatives.BASE_BATCH) ** 0.5
    assert optim.scaled_learning_rate(config.optim, batch) == pytest.approx(rate, rel=1e-3)
    recipe = recipes.get_config("simclr:cifar10_cpu")
    assert (recipe.train.batch_size, recipe.optim.learning_rate) == (negatives.BASE_BATCH, negatives.BASE_RATE)


def test_finished_runs_are_a_table(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"train": {"batch_size": 512, "microbatches": 16}}))
    rows = [{"step": step, "loss": 1.0, "examples_per_second": speed} for step, speed in ((4, 1), (8, 90), (9, 100))]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, [*rows, {"event": "finished", "step": 9}])))
    found = [
        {"protocol": name, "features": kind, "value": value}
        for name, kind, value in (
            ("knn", "encoder", 0.4), ("knn", "random_initial", 0.2), ("knn", "random", 0.1),
            ("linear", "encoder", 0.51), ("linear", "random", 0.3),
        )
    ]  # fmt: skip
    (tmp_path / "evaluation.json").write_text(json.dumps(found))
    row = negatives.read(tmp_path)
    table = negatives.table([row | {"mib": 3.2, "whole_mib": 44.9}])
    assert "| 512 | 1,022 | 16 | 9 | 40.0 | 51.0 | 3 | 45 | 90 |" in table
    assert table.endswith("Better random encoder: 20.0 (kNN) and 30.0 (linear).")
