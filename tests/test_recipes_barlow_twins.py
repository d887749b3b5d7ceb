"""The recipes of Barlow Twins hold what the paper and the official code say; the table is not taken from configs/."""

import jax
import numpy as np
import pytest

from ssl_jax.recipes import CONFIGS, config_module
from ssl_jax.train import experiment, optim
from tests.recipes.holds import agrees, plain

# facebookresearch/barlowtwins at 8e8d284, main.py: --epochs 1000 --batch-size 2048 --learning-rate-weights 0.2
# --learning-rate-biases 0.0048 --weight-decay 1e-6 --lambd 0.0051 --projector 8192-8192-8192; LARS(momentum=0.9,
# eta=0.001), 10 epochs of warm-up, then a cosine to 0.001 of the rate; README: 16 GPUs.
CODE = {
    "method.name": "barlow_twins", "method.off_diagonal_weight": 0.0051, "method.loss_scale": 1 / 16,
    "model.name": "resnet", "model.depth": 50, "model.width": 1, "model.stem": "imagenet",
    "model.zero_init_residual": True, "model.init": "torch", "model.norm_groups": 1, "model.norm_momentum": 0.9,
    "model.projector": {
        "hidden_dims": (8192, 8192), "output_dim": 8192, "norm": "hidden", "bias": False, "init": "torch",
    },
    "train.batch_size": 2048, "train.epochs": 1000, "optim.name": "lars", "optim.momentum": 0.9,
    "optim.momentum_form": "lr_outside", "optim.trust_coefficient": 1e-3, "optim.weight_decay": 1e-6,
    "optim.warmup_epochs": 10, "optim.schedule": "cosine", "learning_rate": 1.6, "optim.end_learning_rate": 0.0016,
    "rate_of_vectors": 0.0384, "vectors": {"weight_decay": 0, "trust_ratio": False},
 "augment.size": 224, "augment.crop": True, "augment.crop_scale": (0.08, 1),
    "augment.crop_ratio": (3 / 4, 4 / 3), "augment.method": "bicubic", "augment.flip_probability": 0.5,
    "augment.jitter": (0.4, 0.4, 0.2, 0.1), "augment.jitter_strength": 1, "augment.jitter_probability": 0.8,
    "augment.brightness_mode": "multiplicative", "augment.greyscale_probability": 0.2,
    "augment.greyscale_first": False, "augment.blur_probability": 1, "augment.blur_sigma": (0.1, 2),
    "augment.solarise_probability": 0, "augment.second": {"blur_probability": 0.1, "solarise_probability": 0.2},
    "augment.semantics": "torchvision", "augment.mean": (0.485, 0.456, 0.406), "augment.std": (0.229, 0.224, 0.225),
}  # fmt: skip
# arXiv 2103.03230, section 2.2; section 4: 300 epochs in the ablations.
PAPER = CODE | {"method.off_diagonal_weight": 5e-3, "method.loss_scale": 1, "optim.weight_decay": 1.5e-6}
# vturrisi/solo-learn at 9187ea3, scripts/pretrain/cifar/barlow.yaml, augmentations/asymmetric.yaml and the defaults of
# solo/methods/{base,barlow_twins}.py: lamb 0.0051, warm-up of 10 epochs from 3e-5, cosine to 0.
SOLO = CODE | {
    "method.loss_scale": 0.1, "model.depth": 18, "model.stem": "cifar", "model.zero_init_residual": False,
    "model.projector": CODE["model.projector"] | {"hidden_dims": (2048, 2048), "output_dim": 2048},
    "train.batch_size": 256, "optim.name": "larc", "optim.trust_coefficient": 0.02, "optim.trust_clip": True,
    "optim.weight_decay": 1e-4, "learning_rate": 0.3, "rate_of_vectors": 0.3, "optim.start_learning_rate": 3e-5,
    "optim.end_learning_rate": 0, "augment.size": 32, "augment.blur_probability": 0,
    "augment.second": {"blur_probability": 0, "solarise_probability": 0.2},
    "augment.mean": (0.4914, 0.4822, 0.4465), "augment.std": (0.2470, 0.2435, 0.2616),
}  # fmt: skip

# recipe: (values, what it prints as published)
PUBLISHED = {
    "imagenet_r50_1000ep_paper": (PAPER, "73.2"),
    "imagenet_r50_300ep_paper": (PAPER | {"train.epochs": 300}, "71.4"),
    "imagenet_r50_1000ep_code": (CODE, "73.5"),
    "cifar10_r18": (SOLO, "92.1 (online)"),
}


def load(recipe):
    return config_module(CONFIGS / "barlow_twins.py").get_config(recipe)


def held(config, name):
    """The value of a name of `PUBLISHED`: a key, or an effective rate."""
    rate, vectors = optim.scaled_learning_rate(config.optim, config.train.batch_size), config.optim.groups["vectors"]
    if name == "vectors":
        return {key: value for key, value in vectors.items() if key != "learning_rate_factor"}
    if name in ("learning_rate", "rate_of_vectors"):
        return rate * (1 if name == "learning_rate" else vectors.get("learning_rate_factor", 1))
    for part in name.split("."):
        config = config[part]
    return plain(config)


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_paper_recipes_hold_the_published_values(recipe):
    values, top1 = PUBLISHED[recipe]
    for name, published in values.items():
        found = held(load(recipe), name)
        if "rate" in name:
            assert found == pytest.approx(published), name
        else:
            assert agrees(found, plain(published)), name
    listed = config_module(CONFIGS / "barlow_twins.py").RECIPES
    assert listed[recipe][2] == top1
    assert {name for name, (_, paper, *_) in listed.items() if paper != "-"} == set(PUBLISHED)


def test_the_schedule_is_the_official_one():
    """main.py, adjust_learning_rate, at ImageNet's 625 steps an epoch; the official loader keeps the last batch."""
    config, steps_per_epoch = load("imagenet_r50_1000ep_code"), 626
    params = {"w": np.zeros((2, 2)), "b": np.zeros(2)}
    _, schedule = optim.build(
        config.optim, params, {"w": "default", "b": "vectors"}, batch_size=2048, steps=1000 * steps_per_epoch,
        steps_per_epoch=steps_per_epoch,
    )  # fmt: skip
    for step in (0, 1, 6259, 6260, 100_000, 625_999):
        if step < 6260:
            expected = 8 * step / 6260 * 0.2
        else:
            q = 0.5 * (1 + np.cos(np.pi * (step - 6260) / (626_000 - 6260)))
            expected = 0.2 * (8 * q + 8 * 0.001 * (1 - q))
        assert float(schedule(step)) == pytest.approx(expected, rel=1e-5), step


def test_the_projector_has_the_official_number_of_parameters():
    """nn.Linear(2048, 8192), twice nn.Linear(8192, 8192), all without biases, and two BatchNorm1d(8192)."""
    config = load("imagenet_r50_1000ep_code")
    config.train.batch_size, config.train.steps, config.train.epochs = 8, 100_000, 0
    batch = {"image": np.zeros((8, 256, 256, 3), np.uint8), "index": np.arange(8, dtype=np.int32)}
    config.parallel.devices = 1
    run = experiment.build(config, batch, examples=8_000)
    size = {name: sum(leaf.size for leaf in jax.tree.leaves(tree)) for name, tree in run.abstract.params.items()}
    assert size == {"projector": 2048 * 8192 + 2 * 8192**2 + 2 * 2 * 8192, "encoder": 23_508_032}
