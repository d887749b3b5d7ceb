"""Recipes: every one builds, takes two steps in its smallest form, and says what its paper or official code says."""

import subprocess
import sys

import jax
import numpy as np
import pytest

from ssl_jax import methods, recipes
from ssl_jax.recipes import CONFIGS, config_module
from ssl_jax.train import experiment, optim

ALL = [(path.stem, name) for path in sorted(CONFIGS.glob("*.py")) for name in config_module(path).RECIPES]

# Transcribed from the sources, not from configs/: the paper (arXiv 2002.05709, 2006.10029), google-research/simclr at
# 383d414 (README.md; tf2/model.py for the projector, tf2/data_util.py for the augmentation) and dkobak/simclr-cifar10.
# learning_rate is the effective one, after scaling.
PUBLISHED = {
    # README: --train_batch_size=4096 --train_epochs=100 --temperature=0.1 --learning_rate=0.075
    # --learning_rate_scaling=sqrt --weight_decay=1e-4; num_proj_layers=3, proj_out_dim=128 by default. Crops of less
    # than 10 % are refused: min_object_covered=0.1 with the whole image as the object.
    "imagenet_r50_100ep_code": {
        "batch_size": 4096, "epochs": 100, "temperature": 0.1, "learning_rate": 4.8, "weight_decay": 1e-4,
        "optimizer": "lars", "loss_scale": 2.0, "depth": 50, "width": 1, "hidden_dims": (2048, 2048), "output_dim": 128,
        "size": 224, "jitter": (0.8, 0.8, 0.8, 0.2), "blur": 0.5, "grey": 0.2, "crop": (0.1, 1.0), "warmup_epochs": 10,
        "brightness": "multiplicative", "stem": "imagenet",
    },
    # Paper, section 2.2 and appendix B: batch 4096, LARS 4.8 = 0.3 x 4096 / 256, weight decay 1e-6, 10 warm-up epochs.
    "imagenet_r50_1000ep": {
        "batch_size": 4096, "epochs": 1000, "temperature": 0.1, "learning_rate": 4.8, "weight_decay": 1e-6,
        "optimizer": "lars", "loss_scale": 1.0, "depth": 50, "width": 1, "hidden_dims": (2048,), "output_dim": 128,
        "size": 224, "jitter": (0.8, 0.8, 0.8, 0.2), "blur": 0.5, "grey": 0.2, "crop": (0.08, 1.0), "warmup_epochs": 10,
        "brightness": "additive", "stem": "imagenet",
    },
    # Author, google-research/simclr issue 77: learning rate 0.1 sqrt(batch), warm-up 5 % of 800 epochs.
    "v2_imagenet_r50": {
        "batch_size": 4096, "epochs": 800, "temperature": 0.1, "learning_rate": 6.4, "weight_decay": 1e-4,
        "optimizer": "lars", "hidden_dims": (2048, 2048), "warmup_epochs": 40, "brightness": "multiplicative",
    },
    # README: --train_batch_size=512 --train_epochs=1000 --learning_rate=1.0 --weight_decay=1e-4 --temperature=0.5
    # --image_size=32 --resnet_depth=18 --use_blur=False --color_jitter_strength=0.5 (linear scaling by default).
    "cifar10_r18_code": {
        "batch_size": 512, "epochs": 1000, "temperature": 0.5, "learning_rate": 2.0, "weight_decay": 1e-4,
        "optimizer": "lars", "loss_scale": 2.0, "depth": 18, "hidden_dims": (512, 512), "output_dim": 128, "size": 32,
        "jitter": (0.4, 0.4, 0.4, 0.1), "blur": 0.0, "grey": 0.2, "crop": (0.1, 1.0), "warmup_epochs": 10,
        "stem": "cifar",
    },
    # dkobak/simclr-cifar10, README and simclr-cifar10.py: 100 epochs at base rate 0.06 per 256.
    "cifar10_r18": {
        "batch_size": 512, "epochs": 100, "temperature": 0.5, "learning_rate": 0.12, "weight_decay": 5e-4,
        "optimizer": "sgd", "depth": 18, "hidden_dims": (1024,), "output_dim": 128, "size": 32,
        "jitter": (0.4, 0.4, 0.4, 0.1), "blur": 0.0, "grey": 0.1, "crop": (0.2, 1.0), "warmup_epochs": 0,
        "stem": "cifar",
    },
    # Paper, appendix B.9: batch 1024, 1000 epochs; rate and temperature are one point of its grids.
    "cifar10_r50": {"batch_size": 1024, "epochs": 1000, "depth": 50, "hidden_dims": (2048,), "stem": "cifar"},
    "imagenet_r50_100ep": {"batch_size": 4096, "epochs": 100, "learning_rate": 4.8, "weight_decay": 1e-6},
    "imagenet_r50_2x": {"width": 2, "epochs": 1000, "hidden_dims": (4096,), "learning_rate": 4.8},
    "imagenet_r50_4x": {"width": 4, "epochs": 1000, "hidden_dims": (8192,), "learning_rate": 4.8},
}  # fmt: skip

# Linear-probe top-1 as the sources print it.
PUBLISHED_TOP1 = {
    "imagenet_r50_1000ep": "69.3 (unverified)", "imagenet_r50_100ep": "64.5", "imagenet_r50_100ep_code": "64.5",
    "imagenet_r50_2x": "74.2", "imagenet_r50_4x": "76.5", "v2_imagenet_r50": "71.1", "cifar10_r18": "85.6",
    "cifar10_r18_code": "91", "cifar10_r50": "94.0",
}  # fmt: skip


def values(config):
    """What `PUBLISHED` names, out of a config."""
    strength = config.augment.jitter_strength
    return {
        "batch_size": config.train.batch_size,
        "epochs": config.train.epochs,
        "temperature": config.method.temperature,
        "loss_scale": config.method.loss_scale,
        "learning_rate": optim.scaled_learning_rate(config.optim, config.train.batch_size),
        "weight_decay": config.optim.weight_decay,
        "optimizer": config.optim.name,
        "warmup_epochs": config.optim.warmup_epochs,
        "depth": config.model.depth,
        "width": config.model.width,
        "stem": config.model.stem,
        "hidden_dims": tuple(config.model.projector.hidden_dims),
        "output_dim": config.model.projector.output_dim,
        "size": config.augment.size,
        "crop": tuple(config.augment.crop_scale),
        "jitter": tuple(strength * value for value in config.augment.jitter),
        "blur": config.augment.blur_probability,
        "grey": config.augment.greyscale_probability,
        "brightness": config.augment.brightness_mode,
    }


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_paper_recipes_hold_the_published_values(recipe):
    module = config_module(CONFIGS / "simclr.py")
    held = values(module.get_config(recipe))
    for name, published in PUBLISHED[recipe].items():
        assert held[name] == pytest.approx(published), (recipe, name)
    assert module.RECIPES[recipe][2] == PUBLISHED_TOP1[recipe]


def test_every_paper_recipe_is_in_the_table():
    module = config_module(CONFIGS / "simclr.py")
    assert {name for name, (_, paper, *_) in module.RECIPES.items() if paper != "-"} == set(PUBLISHED)


def test_official_lars_leaves_biases_and_norms_out():
    for recipe in ("imagenet_r50_1000ep", "imagenet_r50_100ep_code", "cifar10_r18_code"):
        optimizer = config_module(CONFIGS / "simclr.py").get_config(recipe).optim
        assert optimizer.momentum_form == "lr_inside" and optimizer.momentum == 0.9
        assert optimizer.trust_coefficient == 1e-3
        vectors = optimizer.groups.vectors
        assert vectors.weight_decay == 0.0 and vectors.trust_ratio is False


@pytest.mark.parametrize(("method", "recipe"), ALL)
def test_every_recipe_builds_at_full_size(method, recipe):
    """Shapes only: nothing is compiled."""
    config = config_module(CONFIGS / f"{method}.py").get_config(recipe)
    rows = max(8, config.model.get("norm_groups", 1))
    size, channels = (8, 1) if config.data.source == "digits" else (config.data.canvas or 32, 3)
    batch = {
        "image": np.zeros((rows, size, size, channels), np.uint8),
        "label": np.zeros(rows, np.int32),
        "index": np.arange(rows, dtype=np.int32),
    }
    if config.data.canvas:
        batch["size"] = np.full((rows, 2), 400, np.int32)
    config.train.batch_size, config.train.steps, config.train.epochs = rows, 100_000, 0
    run = experiment.build(config, batch, examples=8_000)
    features = jax.eval_shape(run.method.encode, run.abstract.params, run.abstract.method, {"image": batch["image"]})
    assert features.shape[0] == rows and features.dtype == np.float32


@pytest.mark.parametrize("method", sorted({method for method, _ in ALL}))
def test_the_smallest_recipe_takes_two_steps(method, tiny, tiny_batch):
    config, batch = tiny(method), tiny_batch()
    config.parallel.devices = 2
    run = experiment.build(config, batch, examples=1437)
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
