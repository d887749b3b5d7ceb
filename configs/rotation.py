"""Rotation prediction: tell by which angle an image has been rotated.

    python -m ssl_jax.pretrain --config=configs/rotation.py:digits --workdir=runs/rotation_digits

Paper: Gidaris et al. 2018, arXiv 1803.07728. Official code: gidariss/FeatureLearningRotNet. The recipes `_code` are its
config files: 200 epochs on CIFAR-10 and 50 on ImageNet, where the paper says 100 (the rate is a fifth from 30, 60 and
80 on) and 30 (a tenth from 10 and 20 on). Published numbers on CIFAR-10 are of a classifier of three dense layers on
the second block's map, on ImageNet of a linear one on the third convolution's; here `linear` is a linear probe of that
map, max-pooled.

| recipe                  | paper, section            | published | hardware of the published run |
|-------------------------|---------------------------|-----------|-------------------------------|
| cifar10_nin4_paper      | table 2, 4 rotations      | 89.06     | 1 Titan X                     |
| cifar10_nin4_code       | the authors' code         | 89.06     | 1 Titan X                     |
| cifar10_nin4_8angles    | table 2, 8 rotations      | 88.51     | 1 Titan X                     |
| cifar10_nin4_2angles    | table 2, 0 and 180        | 87.46     | 1 Titan X                     |
| cifar10_nin4_sideways   | table 2, 90 and 270       | 85.52     | 1 Titan X                     |
| cifar10_nin3_paper      | table 1                   | 88.26     | 1 Titan X                     |
| cifar10_nin5_paper      | table 1                   | -         | 1 Titan X                     |
| imagenet_alexnet_paper  | table 5                   | 38.7      | 1 Titan X                     |
| imagenet_alexnet_code   | the authors' code         | 38.7      | 1 Titan X                     |
| cifar10_cpu             | none: sized for 2 cores   | -         | 2 CPU cores, minutes          |
| digits                  | none: the demo            | -         | 2 CPU cores, minutes          |
"""

from ml_collections import ConfigDict

from ssl_jax import defaults

PAPER = "Gidaris et al. 2018, arXiv 1803.07728"
MEAN, STD = (125.3 / 255, 123.0 / 255, 113.9 / 255), (63.0 / 255, 62.1 / 255, 66.7 / 255)
PLAIN = {"jitter_probability": 0.0, "greyscale_probability": 0.0, "blur_probability": 0.0}


def sgd(learning_rate: float, factor: float, *boundaries: float) -> ConfigDict:
    """Nesterov's SGD at a rate that falls by a factor; biases and norms decay like the rest."""
    return defaults.optim(
        "sgd", learning_rate, scaling="none", nesterov=True, weight_decay=5e-4, schedule="step", decay_factor=factor,
        boundaries=boundaries, groups=defaults.EVERYTHING_DECAYS,
    )  # fmt: skip


def imagenet(code: bool = False) -> ConfigDict:
    """AlexNet with batch norm, batch 192 in 4 rotations each; 30 epochs, in the code 50."""
    config = defaults.experiment("rotation", angles="4", copies="all", layer="conv_3", grid=5)
    config.model = _model("alexnet", outputs=4, width=1.0, fully_connected=2)
    config.augment = defaults.views("moco_v2", crop_scale=(0.08, 1.0), **PLAIN)
    config.train.update(batch_size=192, epochs=50 if code else 30)
    config.optim = sgd(0.01, 0.1, *((15.0, 30.0, 45.0) if code else (10.0, 20.0)))
    defaults.intervals(config, 1_281_167, evaluate=10, checkpoint=1)
    return config


def cifar10(angles: str = "4", blocks: int = 4, code: bool = False) -> ConfigDict:
    """NIN on CIFAR-10, batch 128 in 4 rotations each, 100 epochs, in the code 200; crops after padding by 4 pixels."""
    config = imagenet()
    config.method.update(angles=angles, layer="block_2", grid=8)
    config.model = _model("nin", outputs=int(angles[0]), width=1.0, blocks=blocks)
    defaults.on_cifar10(config)
    config.augment.update(crop=False, pad=4, mean=MEAN, std=STD)
    config.train.update(batch_size=128, epochs=200 if code else 100)
    config.optim = sgd(0.1, 0.2, *((60.0, 120.0, 160.0) if code else (30.0, 60.0, 80.0)))
    defaults.intervals(config, 50_000, evaluate=10, checkpoint=5)
    return config


def cifar10_cpu() -> ConfigDict:
    """CIFAR-10 in minutes on 2 CPU cores: ResNet-10 of a quarter of the width at 16 pixels; data: `npz:DIR`."""
    config = cifar10()
    config.method.update(layer="stage_3", grid=2)
    config.model = defaults.resnet(10, stem="cifar", head=defaults.mlp((), 4))
    defaults.on_two_cores(config, epochs=4, batch_size=32)
    config.augment.update(crop=False, pad=2)
    config.optim = defaults.adamw_on_two_cores(0.004, warmup_steps=100)
    return config


def digits() -> ConfigDict:
    """scikit-learn's 8 x 8 handwritten digits, embedded, no download."""
    config = cifar10_cpu()
    config.model.depth = 18
    defaults.on_digits(config)
    config.augment.pad = 1
    config.train.update(epochs=20, batch_size=64)
    return config


def _model(name: str, outputs: int, **keys) -> ConfigDict:
    norms = {"init": "torch_default", "norm_momentum": 0.9, "norm_groups": 1}
    return ConfigDict({"name": name, "head": defaults.mlp((), outputs), **keys, **norms}).lock()


# name: (config, paper, published top-1 in percent, hardware)
RECIPES = {
    "cifar10_nin4_paper": (cifar10, PAPER, "89.06 (non-linear)", "1 Titan X"),
    "cifar10_nin4_code": (lambda: cifar10(code=True), PAPER, "89.06 (non-linear)", "1 Titan X"),
    "cifar10_nin4_8angles": (lambda: cifar10("8"), PAPER, "88.51 (non-linear)", "1 Titan X"),
    "cifar10_nin4_2angles": (lambda: cifar10("2"), PAPER, "87.46 (non-linear)", "1 Titan X"),
    "cifar10_nin4_sideways": (lambda: cifar10("2_sideways"), PAPER, "85.52 (non-linear)", "1 Titan X"),
    "cifar10_nin3_paper": (lambda: cifar10(blocks=3), PAPER, "88.26 (non-linear)", "1 Titan X"),
    "cifar10_nin5_paper": (lambda: cifar10(blocks=5), PAPER, "-", "1 Titan X"),
    "imagenet_alexnet_paper": (imagenet, PAPER, "38.7", "1 Titan X"),
    "imagenet_alexnet_code": (lambda: imagenet(code=True), PAPER, "38.7", "1 Titan X"),
    "cifar10_cpu": (cifar10_cpu, "-", "-", "2 CPU cores, minutes"),
    "digits": (digits, "-", "-", "2 CPU cores, minutes"),
}


def get_config(recipe: str = "digits") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/rotation.py:digits`."""
    return defaults.choose(RECIPES, recipe, __file__, lambda: defaults.smallest(digits()))
