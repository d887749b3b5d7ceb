"""CPC for images: tell the patches below from those above.

    python -m ssl_jax.pretrain --config=configs/cpc_image.py:digits --workdir=runs/cpc_image_digits

Papers: van den Oord et al. 2018, arXiv 1807.03748 (v1); Henaff et al. 2020, arXiv 1905.09272 (v2). There is no
official code. Both resize images to 300 x 300 and take a random square of them; here the square is cut from the image
as it is, with the same share of its area, or of a long image as much as fits.

v1 has three stages of ResNet-v2-101 without norms, and sees grey images. Not here: it cuts a random 60 x 60 out of each
patch and pads it, and has negatives from the 16 images of a GPU, here from all images. How long it was trained is not
said; 200 epochs are those of v2.

v2 has ResNet-161, whose third and last stage has 46 blocks of 4,096 channels: 304 million parameters. That its
ResNet-50 is of the same kind, its optimizer, batch and epochs are what is usually given for it, unverified. Not here:
Polyak averaging of the parameters (0.9999), and what is done to a patch beside flips and dropped colours.

`cifar10_r101` has the sizes of Lightning Bolts (`cpc_resnet101`, `CPCTask`), which predicts 2 to 6 rows downwards. Not
here: its blocks end with their activation, one map predicts all rows, whose terms are summed with weights 1 to 5, and
images are moved by up to 4 pixels with reflected borders. Its number is that of an MLP on the features of all patches.

| recipe           | paper, section             | published | hardware of the published run |
|------------------|----------------------------|-----------|-------------------------------|
| imagenet_v1      | 1807.03748, section 3.2    | 48.7      | 32 GPUs                       |
| imagenet_v2      | 1905.09272, ResNet-50      | 63.8      | -                             |
| imagenet_v2_r161 | 1905.09272, ResNet-161     | 71.5      | -                             |
| cifar10_r101     | Lightning Bolts            | 84.52     | 1 V100                        |
| cifar10_cpu      | none: sized for 2 cores    | -         | 2 CPU cores, minutes          |
| digits           | none: the demo             | -         | 2 CPU cores, minutes          |
"""

from ml_collections import ConfigDict

from ssl_jax import defaults

V1 = "van den Oord et al. 2018, arXiv 1807.03748"
V2 = "Henaff et al. 2020, arXiv 1905.09272"
STAGES = {  # of ResNet-v2: blocks, channels inside of them and at their end
    "50": ((3, 4, 6, 3), (64, 128, 256, 512), (256, 512, 1024, 2048)),
    "101": ((3, 4, 23), (64, 128, 256), (256, 512, 1024)),  # three stages: the features of the first version
    "161": ((3, 4, 46), (64, 128, 512), (256, 512, 4096)),
    "bolts": ((3, 4, 46, 3), (64, 128, 512, 512), (256, 512, 4096, 2048)),
}  # fmt: skip
CANVAS = 300  # pixels on a side of ImageNet's images
BOLTS = "Lightning-AI/lightning-bolts, CPC v2"


def resnet_v2(name: str, **parts) -> ConfigDict:
    """`config.model` of pre-activation blocks."""
    keys = dict(zip(("blocks", "channels", "outputs"), STAGES[name], strict=True))
    keys |= {"name": "resnet_v2", "width": 1.0, "stem": "imagenet", "init": "tensorflow"}
    return ConfigDict(keys | {"norm_momentum": 0.9, "norm_groups": 1} | parts)


def cpc(size: int, patch: int, stride: int, model: str = "50", **method) -> ConfigDict:
    """Patches at a stride in views of `size` pixels; the rest of `config.method` by keywords."""
    options = {"ignore": 2, "steps": 3, "directions": 4, "scale": 0.1, "flip_patches": 0.5, "colour_drop": 1.0}
    config = defaults.experiment("cpc_image", patch=patch, stride=stride, **options | method)
    context = ConfigDict({"targets": 64, "hidden": 256, "layers": 5})
    config.model = resnet_v2(model, norm="layer", context=context)
    plain = {"jitter_probability": 0.0, "greyscale_probability": 0.0, "blur_probability": 0.0}
    config.augment = defaults.views("moco_v2", size=size, **plain)
    config.train.update(batch_size=512, epochs=200)
    config.optim = adam(4e-4, clip_norm=0.01)
    defaults.intervals(config, 1_281_167, evaluate=10, checkpoint=1)
    return config


def adam(learning_rate: float, b1: float = 0.8, **changes) -> ConfigDict:
    """Adam with a first moment that forgets sooner, at a constant rate."""
    return defaults.optim("adam", learning_rate, scaling="none", b1=b1, schedule="constant", **changes)


def imagenet(size: int, patch: int, stride: int, model: str = "50", **method) -> ConfigDict:
    """Random squares of `size` of 300 pixels."""
    config, share = cpc(size, patch, stride, model, **method), (size / CANVAS) ** 2
    config.data.canvas = CANVAS
    config.augment.update(crop_scale=(share, share), crop_ratio=(1.0, 1.0), crop_distribution="pixels")
    return config


def imagenet_v1() -> ConfigDict:
    """7 x 7 grey patches of 64 pixels at a stride of 32, 5 rows downwards, batch 512; targets as wide as features."""
    config = imagenet(256, 64, 32, "101", ignore=0, steps=5, directions=1, scale=1.0, flip_patches=0.0, colour_drop=0.0)
    config.model.norm, config.model.context.targets = "none", 1024
    config.augment.greyscale_probability = 1.0
    config.optim = adam(2e-4, b1=0.9)
    return config


def cifar10_r101() -> ConfigDict:
    """7 x 7 patches of 8 pixels at a stride of 4 on CIFAR-10, downwards: batch 64, 1,000 epochs."""
    config = cpc(32, 8, 4, "bolts", ignore=1, steps=5, directions=1, flip_patches=0.0, colour_drop=0.0)
    config.model.init = "torch"
    defaults.on_cifar10(config)
    config.augment.update(
        crop=False, jitter=(0.4, 0.4, 0.4, 0.2), jitter_probability=0.8, greyscale_probability=0.25
    )  # fmt: skip
    config.train.update(batch_size=64, epochs=1000)
    config.optim = adam(4e-5, eps=1e-7, weight_decay=1e-5, groups=defaults.EVERYTHING_DECAYS)
    defaults.intervals(config, 50_000, evaluate=10, checkpoint=5)
    return config


def cifar10_cpu() -> ConfigDict:
    """CIFAR-10 in minutes on 2 CPU cores: 5 x 5 patches, half of ResNet-18, an eighth of its width; data: `npz:DIR`."""
    config = cpc(32, 8, 6, ignore=1, colour_drop=0.3)
    config.model = defaults.resnet(10, stem="cifar", norm="layer", context=config.model.context)
    config.model.context.update(targets=32, hidden=32, layers=3)
    defaults.on_cifar10(config)
    defaults.on_two_cores(config, epochs=1, batch_size=64)
    config.model.width = 0.125
    config.augment.update(size=32, crop=False)  # black margins, visible in all patches of a side, would tell the answer
    config.optim = defaults.adamw_on_two_cores(0.002)
    config.eval.protocols = ("pretext", "knn", "linear")
    return config


def digits() -> ConfigDict:
    """scikit-learn's 8 x 8 handwritten digits, embedded, no download: 5 x 5 patches of 4 pixels at a stride of 1."""
    config = cifar10_cpu()
    defaults.on_digits(config)
    config.method.update(patch=4, stride=1, ignore=1, steps=2, colour_drop=0.0, flip_patches=0.0)
    return config


def tiny() -> ConfigDict:
    """The smallest run, for tests: 3 x 3 patches."""
    config = defaults.smallest(digits())
    config.method.update(stride=2, ignore=0, scale=1.0)
    return config


# name: (config, paper, published top-1 in percent, hardware)
RECIPES = {
    "imagenet_v1": (imagenet_v1, V1, "48.7", "32 GPUs"),
    "imagenet_v2": (lambda: imagenet(260, 80, 36), V2, "63.8", "-"),
    "imagenet_v2_r161": (lambda: imagenet(260, 80, 36, "161"), V2, "71.5", "-"),
    "cifar10_r101": (cifar10_r101, BOLTS, "84.52", "1 V100"),
    "cifar10_cpu": (cifar10_cpu, "-", "-", "2 CPU cores, minutes"),
    "digits": (digits, "-", "-", "2 CPU cores, minutes"),
}


def get_config(recipe: str = "digits") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/cpc_image.py:digits`."""
    return defaults.choose(RECIPES, recipe, __file__, tiny)
