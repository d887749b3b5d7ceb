"""Jigsaw: tell by which permutation the patches of an image have been shuffled.

    python -m ssl_jax.pretrain --config=configs/jigsaw.py:digits --workdir=runs/jigsaw_digits

Paper: Noroozi and Favaro 2016, arXiv 1603.09246. Official code: MehdiNoroozi/JigsawPuzzleSolver,
train_val_cfn_jps.prototxt, solver_cfn_jps.prototxt and its data_transformer.cpp. The published number is linear top-1
on ImageNet of the fourth convolution, as tabulated by Zhang et al. 2017 (arXiv 1611.09842, table 2).

A square of 255 of 256 pixels has 3 x 3 cells of 85, of each of which a patch of 64 is cut, up to 21 pixels from the
cell's corner in the code, here 20: cells of 64 and a gap of 21 with a jitter of 10 either way. Patches have their own
mean subtracted. The code reads its permutations from a file; here they are made by the paper's algorithm. The code's
last layer has 1,000 outputs for 100 permutations, and starts from a deviation of 0.01; here it has 100 and starts as
the layers before it.

`imagenet_cfn_paper` has what the paper says otherwise: a random square of 225 pixels, cells of 75, patches up to 11
pixels from a cell's corner, here 10, which are divided by their own deviation too. The paper shifts the colour channels
against each other, which is not in the code, nor here.

| recipe              | paper, section           | published | hardware of the published run |
|---------------------|--------------------------|-----------|-------------------------------|
| imagenet_cfn        | section 3, 100 permut.   | 33.9      | 1 Titan X, 2.5 days           |
| imagenet_cfn_paper  | section 3                | -         | 1 Titan X, 2.5 days           |
| cifar10_cpu         | none: sized for 2 cores  | -         | 2 CPU cores, minutes          |
| digits              | none: the demo           | -         | 2 CPU cores, minutes          |
"""

from ml_collections import ConfigDict

from ssl_jax import defaults

PAPER = "Noroozi and Favaro 2016, arXiv 1603.09246"
PLAIN = {"jitter_probability": 0.0, "greyscale_probability": 0.0, "blur_probability": 0.0}
BYTES = {"mean": (0.5, 0.5, 0.5), "std": 3 * (1 / 255,)}  # the mean makes no difference: each patch loses its own


def imagenet() -> ConfigDict:
    """The context-free network on ImageNet, batch 256, 350,000 steps."""
    config = defaults.experiment(
        "jigsaw", grid=3, patch=64, gap=21, jitter=10, permutations=100, pixelate_probability=0.0, least_pixels=100,
        colours="keep", normalise="mean", layer="conv_4",
    )  # fmt: skip
    config.model = ConfigDict({
        "name": "caffenet", "jigsaw": True, "width": 1.0, "init": "caffe", "norm_momentum": 0.9, "norm_groups": 1,
        "head": defaults.mlp((4096,), 100, init="jigsaw", dropout=0.5),
    }).lock()  # fmt: skip
    config.augment = defaults.views(
        "moco_v2", size=255, crop_scale=((255 / 256) ** 2, (255 / 256) ** 2), crop_ratio=(1.0, 1.0),
        flip_probability=0.0, **PLAIN, **BYTES,
    )  # fmt: skip
    config.train.update(batch_size=256, epochs=0, steps=350_000)
    epochs = 100_000 * 256 / 1_281_167
    config.optim = defaults.optim(
        "sgd", 0.01, scaling="none", weight_decay=5e-4, schedule="step",
        boundaries=(epochs, 2 * epochs, 3 * epochs),
        groups={"vectors": {"learning_rate_factor": 2.0, "weight_decay": 0.0}},
    )  # fmt: skip
    config.train.update(eval_every=50_000, checkpoint_every=5000)
    return config


def imagenet_paper() -> ConfigDict:
    """Patches of cells of 75 pixels, with a mean of 0 and a deviation of 1."""
    config, share = imagenet(), (225 / 256) ** 2
    config.method.update(gap=11, jitter=5, normalise="standardise")
    config.augment.update(size=225, crop_scale=(share, share), crop_distribution="pixels")
    return config


def cifar10_cpu() -> ConfigDict:
    """CIFAR-10 in minutes on 2 CPU cores: 3 x 3 patches of 8 pixels, 24 permutations; data: `npz:DIR`."""
    config = imagenet()
    config.method.update(patch=8, gap=2, jitter=1, permutations=24, normalise="none", layer="stage_3")
    config.model = defaults.resnet(18, stem="cifar", head=defaults.mlp((256,), 24, norm="hidden"))
    defaults.on_cifar10(config)
    defaults.on_two_cores(config, epochs=4, batch_size=64)
    config.train.steps = 0
    config.augment.update(size=32, crop=False, flip_probability=0.5)
    config.optim = defaults.adamw_on_two_cores(0.004, warmup_steps=100)
    config.eval.protocols = ("pretext", "knn", "linear")
    return config


def digits() -> ConfigDict:
    """scikit-learn's 8 x 8 handwritten digits, embedded, no download: 2 x 2 patches of 3 pixels, 8 permutations."""
    config = cifar10_cpu()
    config.method.update(grid=2, patch=3, gap=0, jitter=1, permutations=8)
    config.model.head.output_dim = 8
    defaults.on_digits(config)
    config.train.epochs = 20
    config.optim.warmup_steps = 20
    return config


# name: (config, paper, published linear top-1 in percent, hardware)
RECIPES = {
    "imagenet_cfn": (imagenet, PAPER, "33.9", "1 Titan X, 2.5 days"),
    "imagenet_cfn_paper": (imagenet_paper, PAPER, "-", "1 Titan X, 2.5 days"),
    "cifar10_cpu": (cifar10_cpu, "-", "-", "2 CPU cores, minutes"),
    "digits": (digits, "-", "-", "2 CPU cores, minutes"),
}


def get_config(recipe: str = "digits") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/jigsaw.py:digits`."""
    return defaults.choose(RECIPES, recipe, __file__, lambda: defaults.smallest(digits()))
