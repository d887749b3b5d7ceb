"""The recipes of SimSiam hold what the paper and the code say; the table is not taken from configs/."""

import pytest

from ssl_jax import defaults
from ssl_jax.recipes import CONFIGS, config_module
from tests.recipes.holds import assert_holds, plain

# facebookresearch/simsiam at a7bc177: defaults of main_simsiam.py (--lr 0.05 --batch-size 512 --wd 1e-4 --epochs 100
# --dim 2048 --pred-dim 512) and the README's --fix-pred-lr; simsiam/builder.py.
CODE = {
    "method.name": "simsiam", "method.stop_gradient": True, "model.name": "resnet", "model.depth": 50, "model.width": 1,
    "model.stem": "imagenet", "model.zero_init_residual": True, "model.init": "torch", "model.norm_momentum": 0.9,
    "model.norm_groups": 1,
    "model.projector": {
        "hidden_dims": (2048, 2048), "output_dim": 2048, "norm": "all_unscaled", "bias": False, "init": "torch",
    },
    "model.predictor": {
        "hidden_dims": (512,), "output_dim": 2048, "norm": "hidden", "bias": True, "init": "torch",
    },
    "augment.size": 224, "train.batch_size": 512, "train.epochs": 100, "optim.name": "sgd", "optim.momentum": 0.9,
    "optim.weight_decay": 1e-4, "optim.warmup_epochs": 0, "optim.schedule": "cosine_epoch", "learning_rate": 0.1,
    "optim.groups": {"vectors": {}, "predictor": {"constant_learning_rate": True}},
}  # fmt: skip
# arXiv 2011.10566, appendix D.
CIFAR = CODE | {
    "model.depth": 18, "model.stem": "cifar", "augment.size": 32, "augment.blur_probability": 0,
    "augment.crop_scale": (0.2, 1), "train.epochs": 800, "optim.weight_decay": 5e-4, "learning_rate": 0.06,
    "model.projector": CODE["model.projector"] | {"hidden_dims": (2048,)}, "eval.crop": 0,
}  # fmt: skip

# recipe: (values, what it prints as published)
PUBLISHED = {
    "imagenet_r50": (CODE, "68.1"),
    "imagenet_r50_bs256": (CODE | {"train.batch_size": 256, "learning_rate": 0.05}, "68.3"),
    "cifar10_r18": (CIFAR, "91.8 (unverified)"),
}


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_paper_recipes_hold_the_published_values(recipe):
    module = config_module(CONFIGS / "simsiam.py")
    values, number = PUBLISHED[recipe]
    assert_holds(module.get_config(recipe), values)
    assert module.RECIPES[recipe][2] == number


def test_every_paper_recipe_is_in_the_table():
    listed = config_module(CONFIGS / "simsiam.py").RECIPES
    assert {name for name, (_, paper, *_) in listed.items() if paper != "-"} == set(PUBLISHED)


@pytest.mark.parametrize("recipe", ["imagenet_r50", "cifar10_r18"])
def test_views_are_those_of_moco_v2(recipe):
    """main_simsiam.py has the augmentation of MoCo v2, which is tested against the official code."""
    held, moco = config_module(CONFIGS / "simsiam.py").get_config(recipe).augment, defaults.views("moco_v2")
    changed = {"size", "blur_probability", "mean", "std"} if recipe == "cifar10_r18" else set()
    assert {name for name in moco if plain(held[name]) != plain(moco[name])} == changed
