"""Recipes: every one builds at full size; recipes/ has what their sources say, run/test_resume.py runs the smallest."""

import subprocess
import sys

import jax
import numpy as np
import pytest

from ssl_jax import methods, recipes
from ssl_jax.data import pipeline, sources
from ssl_jax.recipes import CONFIGS, config_module
from ssl_jax.train import experiment

IGNORED = ("label", "index", "valid", "speaker")  # what `encode` is not given
ALL = [(path.stem, name) for path in sorted(CONFIGS.glob("*.py")) for name in config_module(path).RECIPES]


@pytest.mark.parametrize(("method", "recipe"), ALL)
def test_every_recipe_builds_at_full_size(method, recipe, tiny, own_batch):
    """Shapes only: nothing is compiled. Data other than images is that of the method's smallest recipe."""
    config, smallest = config_module(CONFIGS / f"{method}.py").get_config(recipe), tiny(method)
    rows = max(8, config.model.get("norm_groups", 1), 2 * config.method.get("groups", 1))
    config.train.batch_size, config.train.steps, config.train.epochs = rows, 100_000, 0
    source = sources.load(smallest.data, "train")
    if set(source[0]) <= {"image", "label", "caption", "box"}:
        size, channels = (8, 1) if config.data.source == "digits" else (config.data.canvas or 32, 3)
        batch, known = own_batch(smallest, rows)
        batch["image"] = np.zeros((rows, size, size, channels), np.uint8)
        inputs = {"image": batch["image"]}
        if config.data.canvas:
            batch["size"] = np.full((rows, 2), 400, np.int32)
    else:
        config.data.update(source=smallest.data.source, canvas=0)
        batch, known = own_batch(config, rows)
        seen = methods.read(source, config, known, train=False)
        inputs = {name: array for name, array in next(pipeline.sequential(seen, rows)).items() if name not in IGNORED}
    run = experiment.build(config, batch, examples=8_000, facts=known)
    features = jax.eval_shape(run.method.encode, run.abstract.params, run.abstract.method, inputs)
    assert features.shape[0] == rows and features.dtype == np.float32


def test_recipes_are_listed_one_a_line():
    done = subprocess.run([sys.executable, "-m", "ssl_jax.recipes"], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines == recipes.lines() and len(lines) == len(ALL)
    assert "configs/simclr.py:cifar10_r18 | dkobak/simclr-cifar10 | 85.6 | 1 A100, 20 minutes" in lines


def test_every_method_has_a_config_file():
    assert set(methods.names()) == {path.stem for path in CONFIGS.glob("*.py")}


def test_every_system_of_the_history_is_there():
    """Word2Vec, BERT, context prediction, inpainting, colorization, split-brain, rotation, CPC, MoCo v1-v3, ..."""
    systems = "word2vec bert context_prediction inpainting colorization split_brain rotation cpc_audio cpc_image"
    assert set(systems.split()) | {"moco", "moco_v3", "simclr", "mae", "clip", "siglip"} <= set(methods.names())


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'digits'"):
        config_module(CONFIGS / "simclr.py").get_config("digit")


def test_an_unknown_method_names_the_nearest(tiny):
    config = tiny()
    config.method.name = "simclar"
    with pytest.raises(ValueError, match="did you mean 'simclr'"):
        methods.build(config)
