"""CPC for images: tell the patches below from those above.

    python -m ssl_jax.pretrain --config=configs/cpc_image.py:digits --workdir=runs/cpc_image_digits

Papers: van den Oord et al. 2018, arXiv 1807.03748 (v1); Henaff et al. 2020, arXiv 1905.09272 (v2). There is no
official code. The first version has three stages of ResNet-v2-101 without norms; it is trained on grey images whose
patches are moved by up to 4 pixels, with negatives from the 16 images of a GPU; here on colours, patches that stay in
place, and negatives from all images. The second has ResNet-161, whose third and last stage has 46 blocks of 4,096
channels: 304 million parameters. That its ResNet-50 is of the same kind, its optimizer, batch and epochs are what is
usually given for it, unverified; of its augmentations of a patch colours are dropped and patches flipped.
`cifar10_r101` has the sizes of Lightning Bolts, which predicts downwards alone and adds up its terms where the mean is
taken here.

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
}  # fmt: skip
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
    config.augment = defaults.views("moco_v2", size=size, crop_scale=(0.3, 1.0), **plain)
    config.train.update(batch_size=512, epochs=200)
    config.optim = adam(4e-4, clip_norm=0.01)
    defaults.intervals(config, 1_281_167, evaluate=10, checkpoint=1)
    return config


def adam(learning_rate: float, **changes) -> ConfigDict:
    """Adam with a first moment that forgets sooner, at a constant rate."""
    return defaults.optim("adam", learning_rate, scaling="none", b1=0.8, schedule="constant", **changes)


def imagenet_v1() -> ConfigDict:
    """7 x 7 patches of 64 pixels at a stride of 32, 5 rows downwards, batch 512; targets as wide as features."""
    config = cpc(256, 64, 32, "101", ignore=0, steps=5, directions=1, scale=1.0, flip_patches=0.0, colour_drop=0.0)
    config.model.norm, config.model.context.targets = "none", 1024
    config.optim = adam(2e-4)
    return config


def cifar10_r101() -> ConfigDict:
    """7 x 7 patches of 8 pixels at a stride of 4 on CIFAR-10, downwards: batch 64, 1,000 epochs."""
    config = cpc(32, 8, 4, directions=1)
    config.model = defaults.resnet(101, stem="cifar", norm="layer", context=config.model.context)
    defaults.on_cifar10(config)
    config.train.update(batch_size=64, epochs=1000)
    config.optim = adam(4e-5, eps=1e-7, weight_decay=1e-5)
    defaults.intervals(config, 50_000, evaluate=10, checkpoint=5)
    return config


def cifar10_cpu() -> ConfigDict:
    """CIFAR-10 in minutes on 2 CPU cores: 5 x 5 patches, half of ResNet-18, an eighth of its width; data: `npz:DIR`."""
    config = cifar10_r101()
    config.model.depth = 10
    config.model.context.update(targets=32, hidden=32, layers=3)
    config.method.update(stride=6, ignore=1, directions=4, colour_drop=0.3)
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
    "imagenet_v2": (lambda: cpc(260, 80, 36), V2, "63.8", "-"),
    "imagenet_v2_r161": (lambda: cpc(260, 80, 36, "161"), V2, "71.5", "-"),
    "cifar10_r101": (cifar10_r101, BOLTS, "84.52", "1 V100"),
    "cifar10_cpu": (cifar10_cpu, "-", "-", "2 CPU cores, minutes"),
    "digits": (digits, "-", "-", "2 CPU cores, minutes"),
}


def get_config(recipe: str = "digits") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/cpc_image.py:digits`."""
    return defaults.choose(RECIPES, recipe, __file__, tiny)
