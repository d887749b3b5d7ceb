"""The recipes of MoCo hold what the papers and the official code say; the table is not taken from configs/."""


import jax
import numpy as np
import pytest

from ssl_jax.models import vit
from ssl_jax.recipes import CONFIGS, config_module
from ssl_jax.train import experiment
from tests.recipes.holds import assert_holds

RESNET_50 = {"model.name": "resnet", "model.depth": 50, "model.width": 1, "model.stem": "imagenet", "augment.size": 224}

# facebookresearch/moco at 132aea9: defaults of main_moco.py (--lr 0.03 --batch-size 256 --wd 1e-4 --epochs 200
# --schedule 120 160 --moco-dim 128 --moco-k 65536 --moco-m 0.999 --moco-t 0.07) and the README's commands for 8 GPUs;
# v2: --mlp --moco-t 0.2 --aug-plus --cos.
V1 = RESNET_50 | {
    "method.name": "moco", "method.temperature": 0.07, "method.momentum": 0.999, "method.momentum_schedule": "constant",
    "method.queue_size": 65536, "method.symmetric": False, "method.shuffle_norm": True, "model.norm_groups": 8,
    "model.zero_init_residual": False, "model.init": "torch", "model.projector.hidden_dims": (),
    "model.projector.output_dim": 128, "model.projector.norm": "none", "model.projector.bias": True,
    "model.projector.init": "torch", "train.batch_size": 256, "train.epochs": 200, "optim.name": "sgd",
    "optim.momentum": 0.9, "optim.weight_decay": 1e-4, "optim.schedule": "step", "optim.boundaries": (120, 160),
    "optim.decay_factor": 0.1, "optim.warmup_epochs": 0, "optim.groups": {"vectors": {}}, "learning_rate": 0.03,
}  # fmt: skip
V2 = V1 | {
    "method.temperature": 0.2, "model.projector.hidden_dims": (2048,), "optim.schedule": "cosine_epoch",
}  # fmt: skip
# colab/moco_cifar10_demo.ipynb: --lr 0.06 --batch-size 512 --wd 5e-4 --cos --moco-k 4096 --moco-m 0.99 --moco-t 0.1
# --bn-splits 8 --symmetric; the fc layer is 512-128.
DEMO = V1 | {
    "method.temperature": 0.1, "method.momentum": 0.99, "method.queue_size": 4096, "method.symmetric": True,
    "model.depth": 18, "model.stem": "cifar", "augment.size": 32, "train.batch_size": 512, "optim.weight_decay": 5e-4,
    "optim.schedule": "cosine_epoch", "learning_rate": 0.06, "augment.crop_scale": (0.08, 1),
    "augment.flip_probability": 0.5, "augment.jitter": (0.4, 0.4, 0.4, 0.1), "augment.jitter_probability": 0.8,
    "augment.greyscale_probability": 0.2, "augment.blur_probability": 0, "augment.solarise_probability": 0,
    "augment.mean": (0.4914, 0.4822, 0.4465), "augment.std": (0.2023, 0.1994, 0.2010),
}  # fmt: skip
# facebookresearch/moco-v3 at c349e6e: CONFIG.md and the defaults of main_moco.py (--lr 0.6 --wd 1e-6 --epochs 100
# --warmup-epochs 10 -b 4096 --moco-dim 256 --moco-mlp-dim 4096 --moco-m 0.99 --moco-t 1.0 --optimizer lars).
V3 = RESNET_50 | {
    "method.name": "moco_v3", "method.temperature": 1.0, "method.momentum": 0.99, "method.momentum_schedule": "cosine",
    "model.norm_groups": 1, "model.zero_init_residual": True, "model.init": "torch",
    "model.projector.hidden_dims": (4096,), "model.projector.output_dim": 256, "model.projector.norm": "all_unscaled",
    "model.projector.bias": False, "model.predictor.hidden_dims": (4096,), "model.predictor.output_dim": 256,
    "model.predictor.norm": "hidden", "model.predictor.bias": False, "train.batch_size": 4096, "train.epochs": 100,
    "optim.name": "lars", "optim.momentum": 0.9, "optim.momentum_form": "lr_outside", "optim.trust_coefficient": 1e-3,
    "optim.weight_decay": 1e-6, "optim.schedule": "cosine", "optim.warmup_epochs": 10, "learning_rate": 9.6,
    "optim.groups": {"vectors": {"weight_decay": 0.0, "trust_ratio": False}},
}  # fmt: skip
# -a vit_small --optimizer=adamw --lr=1.5e-4 --weight-decay=.1 --epochs=300 --warmup-epochs=40 --stop-grad-conv1
# --moco-m-cos --moco-t=.2; vits.py: 12 heads in both sizes.
V3_VIT = {name: value for name, value in V3.items() if name.split(".")[0] in ("method", "augment", "train")} | {
    "method.temperature": 0.2, "model.name": "vit", "model.size": "small", "model.patch_size": 16, "model.heads": 12,
    "model.positions": "sincos_moco_v3", "model.class_token": True, "model.pool": "class", "model.init": "moco_v3",
    "model.drop_path": 0, "model.projector.hidden_dims": (4096, 4096), "model.projector.norm": "all_unscaled",
    "model.projector.bias": False, "model.predictor.hidden_dims": (4096,), "model.predictor.norm": "all_unscaled",
    "model.predictor.bias": False, "train.epochs": 300, "optim.name": "adamw", "optim.weight_decay": 0.1,
    "optim.warmup_epochs": 40, "optim.schedule": "cosine", "learning_rate": 2.4e-3,
    "optim.groups": {"vectors": {}, "patch_projection": {"frozen_steps": -1}},
}  # fmt: skip

# recipe: (values, what it prints as published)
PUBLISHED = {
    ("moco", "v1_imagenet_r50"): (V1, "60.6"),
    ("moco", "v2_imagenet_r50_200ep"): (V2, "67.7"),
    ("moco", "v2_imagenet_r50_800ep"): (V2 | {"train.epochs": 800}, "71.1"),
    ("moco", "cifar10_r18"): (DEMO, "85.3 (kNN)"),
    ("moco_v3", "imagenet_r50_100ep"): (V3, "68.9"),
    ("moco_v3", "imagenet_r50_300ep"): (V3 | {"train.epochs": 300, "learning_rate": 4.8}, "72.8"),
    ("moco_v3", "imagenet_r50_1000ep"): (
        V3 | {"train.epochs": 1000, "learning_rate": 4.8, "optim.weight_decay": 1.5e-6, "method.momentum": 0.996},
        "74.6",
    ),
    ("moco_v3", "imagenet_vits"): (V3_VIT, "73.2"),
    ("moco_v3", "imagenet_vitb"): (V3_VIT | {"model.size": "base"}, "76.7"),
}  # fmt: skip

def load(method, recipe):
    return config_module(CONFIGS / f"{method}.py").get_config(recipe)


@pytest.mark.parametrize(("method", "recipe"), PUBLISHED)
def test_paper_recipes_hold_the_published_values(method, recipe):
    values, top1 = PUBLISHED[method, recipe]
    assert_holds(load(method, recipe), values)
    assert config_module(CONFIGS / f"{method}.py").RECIPES[recipe][2] == top1


@pytest.mark.parametrize("method", ["moco", "moco_v3"])
def test_every_paper_recipe_is_in_the_table(method):
    listed = config_module(CONFIGS / f"{method}.py").RECIPES
    assert {name for name, (_, paper, *_) in listed.items() if paper != "-"} == {b for a, b in PUBLISHED if a == method}


def test_vit_b_has_the_published_number_of_parameters():
    """ViT-B/16 without head and class positions: 85,798,656 - 197 x 768 that are fixed here."""
    config = load("moco_v3", "imagenet_vitb")
    config.train.batch_size, config.train.steps, config.train.epochs = 8, 100_000, 0
    batch = {"image": np.zeros((8, 256, 256, 3), np.uint8), "index": np.arange(8, dtype=np.int32)}
    run = experiment.build(config, batch, examples=8_000)
    size = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(run.abstract.params["encoder"]))
    assert size == 85_798_656 - 197 * 768


def test_the_patch_projection_alone_is_frozen(tiny, tiny_batch, monkeypatch):
    monkeypatch.setitem(vit.SIZES, "test", dict(width=8, depth=1, heads=2))
    config = load("moco_v3", "cifar10_vit_ti")
    config.model.size, config.model.heads, config.compute_dtype = "test", 0, "float32"
    config.model.projector.hidden_dims = config.model.predictor.hidden_dims = (8,)
    config.augment.size, config.parallel.devices = 8, 1
    config.train.batch_size, config.train.steps, config.train.epochs = 8, 10, 0
    config.optim.warmup_epochs = 0.0
    batch = tiny_batch(8, channels=3)
    run = experiment.build(config, batch, examples=800)
    state = run.create()
    before = np.asarray(state.params["encoder"]["patch_projection"]["kernel"]).copy()
    others = np.asarray(state.params["encoder"]["block_1"]["attention"]["qkv"]["kernel"]).copy()
    for _ in range(2):
        state, _ = run.step(state, run.parallel.place(batch))
    np.testing.assert_array_equal(before, state.params["encoder"]["patch_projection"]["kernel"])
    assert np.abs(others - state.params["encoder"]["block_1"]["attention"]["qkv"]["kernel"]).max() > 0
