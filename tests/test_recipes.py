"""Recipes: every one builds and takes two steps in its smallest form; tests/recipes/ has what their sources say."""

import subprocess
import sys

import jax
import numpy as np
import pytest

from ssl_jax import methods, recipes
from ssl_jax.recipes import CONFIGS, config_module
from ssl_jax.train import experiment

ALL = [(path.stem, name) for path in sorted(CONFIGS.glob("*.py")) for name in config_module(path).RECIPES]


@pytest.mark.parametrize(("method", "recipe"), ALL)
def test_every_recipe_builds_at_full_size(method, recipe):
    """Shapes only: nothing is compiled."""
    config = config_module(CONFIGS / f"{method}.py").get_config(recipe)
    rows = max(8, config.model.get("norm_groups", 1))
    config.train.batch_size, config.train.steps, config.train.epochs = rows, 100_000, 0
    size, channels = (8, 1) if config.data.source == "digits" else (config.data.canvas or 32, 3)
    batch = {
        "image": np.zeros((rows, size, size, channels), np.uint8),
        "label": np.zeros(rows, np.int32),
        "index": np.arange(rows, dtype=np.int32),
    }
    if config.data.canvas:
        batch["size"] = np.full((rows, 2), 400, np.int32)
    known = {}
    if "text" in config.model:
        batch["tokens"] = np.zeros((rows, config.model.text.length), np.int32)
        known = {"tokenizer": np.frombuffer(b"{}", np.uint8)}
    run = experiment.build(config, batch, examples=8_000, facts=known)
    features = jax.eval_shape(run.method.encode, run.abstract.params, run.abstract.method, {"image": batch["image"]})
    assert features.shape[0] == rows and features.dtype == np.float32


@pytest.mark.parametrize("method", sorted({method for method, _ in ALL}))
def test_the_smallest_recipe_takes_two_steps(method, tiny, own_batch):
    config = tiny(method)
    batch, known = own_batch(config)
    config.parallel.devices = 2
    run = experiment.build(config, batch, examples=1437, facts=known)
    state, placed = run.create(), run.parallel.place(batch)
    for _ in range(2):
        state, metrics = run.step(state, placed)
    assert np.isfinite(float(metrics["loss"])) and int(metrics["nonfinite"]) == -1


def test_recipes_are_listed_one_a_line():
    done = subprocess.run([sys.executable, "-m", "ssl_jax.recipes"], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines == recipes.lines() and len(lines) == len(ALL)
    assert "configs/simclr.py:cifar10_r18 | dkobak/simclr-cifar10 | 85.6 | 1 A100, 20 minutes" in lines


def test_every_method_has_a_config_file():
    assert set(methods.names()) == {path.stem for path in CONFIGS.glob("*.py")}


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'digits'"):
        config_module(CONFIGS / "simclr.py").get_config("digit")


def test_an_unknown_method_names_the_nearest(tiny):
    config = tiny()
    config.method.name = "simclar"
    with pytest.raises(ValueError, match="did you mean 'simclr'"):
        methods.build(config)
