"""The recipes of VICReg hold what the paper and the official code say; the table is not taken from configs/."""

import jax
import numpy as np
import pytest

from ssl_jax.recipes import CONFIGS, config_module
from ssl_jax.train import experiment, optim
from tests.recipes.holds import agrees, plain

EXPANDER = {
    "hidden_dims": (8192, 8192), "output_dim": 8192, "norm": "hidden", "hidden_bias": True, "bias": False,
    "init": "torch",
}  # fmt: skip
# facebookresearch/vicreg at 4e12602, main_vicreg.py: --mlp 8192-8192-8192 --wd 1e-6 --sim-coeff 25 --std-coeff 25
# --cov-coeff 1; LARS(momentum=0.9, eta=0.001), 10 epochs of warm-up, then a cosine to 0.001 of the rate; README:
# --epochs 1000 --batch-size 2048 --base-lr 0.2, and --epochs 100 --batch-size 512 --base-lr 0.3; augmentations.py.
CODE = {
    "method.name": "vicreg", "method.invariance_weight": 25, "method.variance_weight": 25,
    "method.covariance_weight": 1, "model.name": "resnet", "model.depth": 50, "model.width": 1,
    "model.stem": "imagenet", "model.zero_init_residual": True, "model.init": "torch", "model.norm_groups": 1,
    "model.norm_momentum": 0.9, "model.projector": EXPANDER, "train.batch_size": 2048, "train.epochs": 1000,
    "optim.name": "lars", "optim.momentum": 0.9, "optim.momentum_form": "lr_outside", "optim.trust_coefficient": 1e-3,
    "optim.weight_decay": 1e-6, "optim.warmup_epochs": 10, "optim.schedule": "cosine", "learning_rate": 1.6,
    "optim.end_learning_rate": 0.0016, "optim.groups": {"vectors": {"weight_decay": 0, "trust_ratio": False}},
 "augment.size": 224, "augment.crop": True, "augment.crop_scale": (0.08, 1),
    "augment.crop_ratio": (3 / 4, 4 / 3), "augment.method": "bicubic", "augment.flip_probability": 0.5,
    "augment.jitter": (0.4, 0.4, 0.2, 0.1), "augment.jitter_strength": 1, "augment.jitter_probability": 0.8,
    "augment.brightness_mode": "multiplicative", "augment.greyscale_probability": 0.2,
    "augment.greyscale_first": False, "augment.blur_probability": 1, "augment.blur_sigma": (0.1, 2),
    "augment.solarise_probability": 0, "augment.second": {"blur_probability": 0.1, "solarise_probability": 0.2},
    "augment.semantics": "torchvision", "augment.mean": (0.485, 0.456, 0.406), "augment.std": (0.229, 0.224, 0.225),
}  # fmt: skip
# arXiv 2105.04906: section 4.2 (rates, end 0.002), eq. 6 (25 for the variance of each of the two views; the loss
# averages them), appendix C.1 (one augmentation for both views, kernel of 23 taps), C.4 (100 epochs at 0.3).
PAPER = {name: value for name, value in CODE.items() if name != "augment.second"} | {
    "method.variance_weight": 2 * 25, "optim.end_learning_rate": 0.002, "augment.blur_probability": 0.5,
    "augment.blur_kernel": 23, "augment.solarise_probability": 0.1,
}  # fmt: skip
# vturrisi/solo-learn at 9187ea3, scripts/pretrain/cifar/vicreg.yaml and the defaults of solo/methods/base.py: a warm-up
# of 10 epochs from 3e-5, a cosine to 0; solo/losses/vicreg.py adds the variances of the views.
SOLO = PAPER | {
    "method.variance_weight": 2 * 25, "model.depth": 18, "model.stem": "cifar", "model.zero_init_residual": False,
    "model.projector": EXPANDER | {"hidden_dims": (2048, 2048), "output_dim": 2048}, "train.batch_size": 256,
    "optim.name": "larc", "optim.trust_coefficient": 0.02, "optim.trust_clip": True, "optim.weight_decay": 1e-4,
    "learning_rate": 0.3, "optim.start_learning_rate": 3e-5, "optim.end_learning_rate": 0, "augment.size": 32,
    "augment.crop_scale": (0.2, 1), "augment.blur_probability": 0, "augment.mean": (0.4914, 0.4822, 0.4465),
    "augment.std": (0.2470, 0.2435, 0.2616),
}  # fmt: skip
SHORT = {"train.epochs": 100, "train.batch_size": 512, "learning_rate": 0.6, "optim.end_learning_rate": 0.0006}

# recipe: (values, what it prints as published)
PUBLISHED = {
    "imagenet_r50_1000ep_paper": (PAPER, "73.2"),
    "imagenet_r50_100ep_paper": (PAPER | {"train.epochs": 100, "learning_rate": 2.4}, "68.6"),
    "imagenet_r50_1000ep_code": (CODE, "73.2"),
    "imagenet_r50_100ep_code": (CODE | SHORT, "-"),
    "imagenet_r50x2_code": (CODE | {"model.width": 2}, "75.5"),
    "cifar10_r18": (SOLO, "92.07 (online)"),
}


def load(recipe):
    return config_module(CONFIGS / "vicreg.py").get_config(recipe)


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_paper_recipes_hold_the_published_values(recipe):
    config, (values, top1) = load(recipe), PUBLISHED[recipe]
    assert ("second" in config.augment) == ("augment.second" in values)
    for name, published in values.items():
        if name == "learning_rate":  # the effective one
            held = optim.scaled_learning_rate(config.optim, config.train.batch_size)
            assert held == pytest.approx(published)
        else:
            held = config
            for part in name.split("."):
                held = held[part]
            assert agrees(plain(held), plain(published)), name
    listed = config_module(CONFIGS / "vicreg.py").RECIPES
    assert listed[recipe][2] == top1
    assert {name for name, (_, paper, *_) in listed.items() if paper != "-"} == set(PUBLISHED)


@pytest.mark.parametrize(("recipe", "width"), [("imagenet_r50_1000ep_code", 1), ("imagenet_r50x2_code", 2)])
def test_networks_have_the_official_numbers_of_parameters(recipe, width):
    """README: 23M and 93M; the expander has biases in its hidden layers and two BatchNorm1d(8192)."""
    config = load(recipe)
    config.train.batch_size, config.train.steps, config.train.epochs, config.parallel.devices = 8, 100_000, 0, 1
    batch = {"image": np.zeros((8, 256, 256, 3), np.uint8), "index": np.arange(8, dtype=np.int32)}
    run = experiment.build(config, batch, examples=8_000)
    size = {name: sum(leaf.size for leaf in jax.tree.leaves(tree)) for name, tree in run.abstract.params.items()}
    assert size["projector"] == width * 2048 * 8192 + 2 * 8192**2 + 2 * 8192 + 2 * 2 * 8192
    assert size["encoder"] // 10**6 == {1: 23, 2: 93}[width]
