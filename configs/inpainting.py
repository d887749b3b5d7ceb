"""Inpainting by context encoders: hide a part of an image and predict its pixels from the rest.

    python -m ssl_jax.pretrain --config=configs/inpainting.py:digits --workdir=runs/inpainting_digits

Paper: Pathak et al. 2016, arXiv 1604.07379. Official code: pathak22/context-encoder. The paper has two networks. The
one that fills in images is DCGAN's, with a code of 4,000 numbers and a discriminator: `_code` has the README's ring of
4 pixels in which prediction and context overlap, `_paper` the paper's 7. `paris_random_code` hides regions of any
shape, and its error is that of the whole image, hidden or not. The one that learns features is AlexNet's, with a
channel-wise fully connected layer and without discriminator, which did not converge; this repository's AlexNet has one
tower and batch norm, and the paper gives no optimizer for it: batch and rate are those of the code. The code's images
have a shorter side of 350 pixels, of which it takes 128 x 128. Published numbers: PSNR in dB on held-out images of
Paris, and mean average precision of classification on VOC 2007 after fine-tuning.

| recipe                  | paper, section        | published | hardware of the published run |
|-------------------------|-----------------------|-----------|-------------------------------|
| paris_centre_code       | the authors' README   | -         | 1 Titan X                     |
| paris_centre_paper      | table 1, L2 + adv.    | 18.58 dB  | 1 Titan X                     |
| paris_random_code       | the authors' README   | -         | 1 Titan X                     |
| imagenet_alexnet        | table 2               | 56.5 VOC  | 14 hours, 1 Titan X           |
| cifar10_cpu             | none: for 2 cores     | -         | 2 CPU cores, minutes          |
| cifar10_cpu_adversarial | none: for 2 cores     | -         | 2 CPU cores, minutes          |
| cifar10_cpu_blocks      | none: for 2 cores     | -         | 2 CPU cores, minutes          |
| cifar10_cpu_regions     | none: for 2 cores     | -         | 2 CPU cores, minutes          |
| digits                  | none: the demo        | -         | 2 CPU cores, minutes          |
"""

from ml_collections import ConfigDict

from ssl_jax import defaults

PAPER = "Pathak et al. 2016, arXiv 1604.07379"
FILL = (117 / 255, 104 / 255, 123 / 255)  # in the order of the official code
SHARE_OF_350 = (128 / 350) ** 2  # area of the code's crops


def paris(mask: str = "centre", overlap: int = 4) -> ConfigDict:
    """The network that fills in images of 128 pixels: the middle 64, or regions of the whole image.

    Data: image files in `data/paris/train` and `data/paris/validation`.
    """
    whole = mask != "centre"
    config = defaults.experiment(
        "inpainting", mask=mask, hole=64 - 2 * overlap, blocks=4, share=(0.2, 0.3), resolution=0.06, fill=FILL,
        overlap=0 if whole else overlap, overlap_weight=10.0, elsewhere=1.0 if whole else 0.0, adversarial=0.001,
    )  # fmt: skip
    wide = (512, 256, 128, 64)
    config.model = ConfigDict({
        "name": "encoder_decoder", "channels": (64, 64, 128, 256, 512), "bottleneck": 4000,
        "decoder": {"layer": "", "channels": (*wide, 64) if whole else wide, "side": 128 if whole else 64},
        "discriminator": {"channels": (64, 64, 128, 256, 512) if whole else (64, 128, 256, 512)},
        "norm_momentum": 0.9, "norm_groups": 1,
    })  # fmt: skip
    config.augment = defaults.views(
        "mae", size=128, crop_scale=(SHARE_OF_350, SHARE_OF_350), crop_ratio=(1.0, 1.0), method="bilinear",
        mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5),
    )  # fmt: skip
    config.data.update(source="folder:data/paris", canvas=350)
    config.train.update(batch_size=64, epochs=500, checkpoint_every=2000)
    config.eval.protocols = ("pretext",)
    config.optim = adam(2e-3)
    return config


def adam(learning_rate: float) -> ConfigDict:
    """The code's optimizer: the generator learns ten times as fast as the discriminator."""
    groups = {"vectors": {}, "discriminator": {"learning_rate_factor": 0.1}}
    return defaults.optim("adam", learning_rate, scaling="none", b1=0.5, schedule="constant", groups=groups)


def imagenet_alexnet() -> ConfigDict:
    """The network that learns features: AlexNet to its last pool, random regions, squared error alone."""
    config = paris("regions")
    config.method.update(overlap=7, elsewhere=0.0, adversarial=0.0)
    config.model.update(
        name="alexnet", decoder=ConfigDict({"layer": "conv_5", "channels": (128, 64, 64, 32), "side": 227})
    )
    config.model.update(width=1.0, fully_connected=0, init="torch_default")
    share = (227 / 256) ** 2
    config.augment.update(size=227, crop_scale=(share, share), crop_distribution="pixels")
    config.data.update(source="tfds:imagenet2012", canvas=256)
    config.train.update(epochs=5)
    config.optim.learning_rate = 2e-4
    config.eval.protocols = ("pretext", "knn", "linear")
    return config


def cifar10_cpu(mask: str = "centre", adversarial: float = 0.0) -> ConfigDict:
    """CIFAR-10 in minutes on 2 CPU cores: the middle 16 x 16 of 32 x 32 pixels; data: `npz:DIR`."""
    config = paris()
    config.method.update(mask=mask, hole=16, overlap=0, adversarial=adversarial, resolution=0.2)
    config.model.update(channels=(32, 64, 128), bottleneck=512)
    config.model.decoder.update(channels=(128, 64), side=16)
    config.model.discriminator.channels = (32, 64)
    if mask != "centre":
        config.model.decoder.update(channels=(128, 64, 32), side=32)
    defaults.on_cifar10(config)
    config.augment.update(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    defaults.on_two_cores(config, epochs=4, batch_size=128)
    config.augment.update(size=32, crop=False)
    groups = {"vectors": {}, "discriminator": {"learning_rate_factor": 0.1}}
    config.optim = defaults.adamw_on_two_cores(2e-3, warmup_steps=100, groups=groups)
    config.eval.protocols = ("pretext", "knn", "linear")
    return config


def digits() -> ConfigDict:
    """scikit-learn's 8 x 8 handwritten digits, embedded, no download: the middle 4 x 4 pixels."""
    config = cifar10_cpu(adversarial=0.001)
    config.method.hole = 4
    config.model.update(channels=(32, 64), bottleneck=64)
    config.model.decoder.update(channels=(64,), side=4)
    config.model.discriminator.channels = (32,)
    defaults.on_digits(config)
    return config


def tiny() -> ConfigDict:
    """The smallest run: a ring, and a discriminator that counts."""
    config = digits()
    config.method.update(hole=2, overlap=1, adversarial=0.2)
    config.model.update(channels=(8, 8), bottleneck=8)
    config.model.decoder.channels = (8,)
    config.model.discriminator.channels = (8, 8)
    config.optim.groups.discriminator.learning_rate_factor = 1.0
    return defaults.smallest(config)


# name: (config, paper, published number, hardware)
RECIPES = {
    "paris_centre_code": (paris, PAPER, "-", "1 Titan X"),
    "paris_centre_paper": (lambda: paris(overlap=7), PAPER, "18.58 dB", "1 Titan X"),
    "paris_random_code": (lambda: paris("regions"), PAPER, "-", "1 Titan X"),
    "imagenet_alexnet": (imagenet_alexnet, PAPER, "56.5 VOC", "14 hours, 1 Titan X"),
    "cifar10_cpu": (cifar10_cpu, "-", "-", "2 CPU cores, minutes"),
    "cifar10_cpu_adversarial": (lambda: cifar10_cpu(adversarial=0.001), "-", "-", "2 CPU cores, minutes"),
    "cifar10_cpu_blocks": (lambda: cifar10_cpu("blocks"), "-", "-", "2 CPU cores, minutes"),
    "cifar10_cpu_regions": (lambda: cifar10_cpu("regions"), "-", "-", "2 CPU cores, minutes"),
    "digits": (digits, "-", "-", "2 CPU cores, minutes"),
}


def get_config(recipe: str = "digits") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/inpainting.py:digits`."""
    return defaults.choose(RECIPES, recipe, __file__, tiny)
