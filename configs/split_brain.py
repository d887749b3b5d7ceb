"""Split-brain autoencoders: lightness predicts colour and colour lightness; the features of both together.

    python -m ssl_jax.pretrain --config=configs/split_brain.py:shapes_cpu --workdir=runs/split_brain
    python -m ssl_jax.evaluate --workdir=runs/split_brain --protocols=linear --layer=lightness:stage_2    # one half

Paper: Zhang et al. 2017, arXiv 1611.09842. The published numbers are top-1 on ImageNet of a linear probe of conv_3 or
conv_4, the best of its layers (table 2). The paper does not say how it was optimised: the rates, the batch and the
number of steps here are those of the code of colorization, by the same authors.

| recipe                    | paper, section          | published | hardware of the published run |
|---------------------------|-------------------------|-----------|-------------------------------|
| imagenet_classification   | table 2, (cl,cl)        | 35.4      | -                             |
| imagenet_regression       | table 2, (reg,reg)      | 34.2      | -                             |
| cifar10_cpu               | none: sized for 2 cores | -         | 2 CPU cores, minutes          |
| shapes_cpu                | none: the demo          | -         | 2 CPU cores, minutes          |
"""

from ml_collections import ConfigDict

from ssl_jax import defaults

PAPER = "Zhang et al. 2017, arXiv 1611.09842"
IMAGES = 1_281_167  # of ImageNet


def imagenet(loss: str = "classification") -> ConfigDict:
    """Two AlexNets of half of the width, crops of 180 pixels, predictions on 12 x 12 places."""
    config = defaults.experiment(
        "split_brain", loss=loss, map="fc_7", layer="conv_3" if loss == "classification" else "conv_4", stride=16
    )
    keys = {"name": "alexnet_map", "width": 0.5, "groups": False, "init": "torch"}
    config.model = ConfigDict(keys | {"norm_momentum": 0.9, "norm_groups": 1}).lock()
    share = (180 / 256) ** 2
    config.augment = defaults.views(
        "mae", size=180, crop_scale=(share, share), crop_ratio=(1.0, 1.0), mean=None, std=None
    )
    config.train.update(batch_size=80, epochs=0, steps=500_000)
    config.optim = defaults.optim(
        "adam", 3e-5, scaling="none", weight_decay=1e-3, schedule="step", decay_factor=0.1**0.5,
        boundaries=tuple(steps * 80 / IMAGES for steps in (240_000, 300_000, 400_000)),
        groups=defaults.EVERYTHING_DECAYS,
    )  # fmt: skip
    defaults.intervals(config, IMAGES, evaluate=5, checkpoint=1)
    return config


def cifar10_cpu() -> ConfigDict:
    """CIFAR-10 at 16 pixels in minutes on 2 CPU cores: two halves of a narrow ResNet-18; data: `npz:DIR`."""
    config = imagenet()
    config.method.update(map="stage_2", layer="stage_2", stride=2)
    config.model = defaults.resnet(18, stem="cifar")
    defaults.on_cifar10(config)
    defaults.on_two_cores(config, epochs=8, batch_size=64)
    config.model.width = 0.125
    config.train.steps = 0
    config.augment.crop = False
    config.optim = defaults.adamw_on_two_cores(0.004, warmup_steps=100)
    config.eval.protocols = ("pretext", "knn", "linear")
    return config


def shapes_cpu() -> ConfigDict:
    """Procedural coloured shapes, no download."""
    config = cifar10_cpu()
    config.data.source = "synthetic:32x5000"
    return config


def smallest() -> ConfigDict:
    """5 steps on 16 shapes."""
    config = defaults.smallest(shapes_cpu())
    config.data.source = "synthetic:16x320"
    config.augment.size = 8
    return config


# name: (config, paper, published linear top-1 in percent, hardware)
RECIPES = {
    "imagenet_classification": (imagenet, PAPER, "35.4 (conv_3)", "-"),
    "imagenet_regression": (lambda: imagenet("regression"), PAPER, "34.2 (conv_4)", "-"),
    "cifar10_cpu": (cifar10_cpu, "-", "-", "2 CPU cores, minutes"),
    "shapes_cpu": (shapes_cpu, "-", "-", "2 CPU cores, minutes"),
}


def get_config(recipe: str = "shapes_cpu") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/split_brain.py:shapes_cpu`."""
    return defaults.choose(RECIPES, recipe, __file__, smallest)
