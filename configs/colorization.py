"""Colorization: predict the colours of a photograph from its lightness.

    python -m ssl_jax.pretrain --config=configs/colorization.py:shapes_cpu --workdir=runs/colorization
    python -m ssl_jax.colorize --workdir=runs/colorization --image=grey.jpg --output=coloured.png

Paper: Zhang et al. 2016, arXiv 1603.08511. Official code: richzhang/colorization. The recipes `_code` are its Caffe
files: 10 neighbours in soft targets where the paper has 5, images without |a| or |b| above 5 left out, 500,000 steps
where the paper says about 450,000; when the rate falls is the code's in both. The published number is top-1 on
ImageNet of a linear probe of AlexNet's conv_4, the best of its layers (corrected values, table 2 of arXiv 1611.09842);
the VGG is judged by its pictures. The authors cut 176 (180) pixels out of images squashed to 256 x 256; here it is the
same share of the image, and not squashed. Their k-means initial values are not here.

| recipe                 | paper, section            | published | hardware of the published run |
|------------------------|---------------------------|-----------|-------------------------------|
| imagenet_vgg_paper     | sections 2.2 and 2.3      | -         | 1 GPU                         |
| imagenet_vgg_code      | the authors' code         | -         | 1 GPU                         |
| imagenet_alexnet_code  | section 3.2, the code     | 32.6      | 1 GPU                         |
| cifar10_cpu            | none: sized for 2 cores   | -         | 2 CPU cores, minutes          |
| cifar10_cpu_regression | none: L2, which is grey   | -         | 2 CPU cores, minutes          |
| shapes_cpu             | none: the demo            | -         | 2 CPU cores, minutes          |
"""

from ml_collections import ConfigDict

from ssl_jax import defaults

PAPER = "Zhang et al. 2016, arXiv 1603.08511"
IMAGES = 1_281_167  # of ImageNet


def imagenet(code: bool = False) -> ConfigDict:
    """The dilated VGG on crops of 176 pixels, batch 40; colours at a quarter of the resolution."""
    config = defaults.experiment(
        "colorization", loss="classification", map="conv_8", layer="conv_7", stride=4, neighbours=10 if code else 5,
        sigma=5.0, uniform=0.5, grey=5.0 if code else 0.0, temperature=0.38,
    )  # fmt: skip
    config.model = _model("dilated_vgg", width=1.0)
    config.augment = crops(176)
    config.train.update(batch_size=40, epochs=0, steps=500_000 if code else 450_000)
    config.optim = adam(3e-5, 0.1, 225_000 * 40 / IMAGES, b2=0.99)
    defaults.intervals(config, IMAGES, evaluate=5, checkpoint=1)
    return config


def imagenet_alexnet() -> ConfigDict:
    """The network of the paper's tests of features: AlexNet on crops of 180 pixels, batch 80; as in the code."""
    config = imagenet(code=True)
    config.method.update(map="fc_7", layer="conv_4", stride=8)
    config.model = _model("alexnet_map", width=1.0, groups=True)
    config.augment = crops(180)
    config.train.update(batch_size=80, steps=500_000)
    # 3e-5, from step 240,000 on 1e-5, from 300,000 on 3e-6, from 400,000 on 1e-6
    config.optim = adam(3e-5, 0.1**0.5, *(steps * 80 / IMAGES for steps in (240_000, 300_000, 400_000)), b2=0.999)
    defaults.intervals(config, IMAGES, evaluate=5, checkpoint=1)
    return config


def crops(size: int) -> ConfigDict:
    """Square crops of the share (size / 256)^2 of the image, mirrored."""
    share = (size / 256) ** 2
    return defaults.views("mae", size=size, crop_scale=(share, share), crop_ratio=(1.0, 1.0), mean=None, std=None)


def adam(learning_rate: float, factor: float, *boundaries: float, b2: float) -> ConfigDict:
    """Adam with weight decay in the gradient, of everything, and a rate that falls by a factor."""
    return defaults.optim(
        "adam", learning_rate, scaling="none", weight_decay=1e-3, b2=b2, schedule="step", decay_factor=factor,
        boundaries=boundaries, groups=defaults.EVERYTHING_DECAYS,
    )  # fmt: skip


def cifar10_cpu(loss: str = "classification") -> ConfigDict:
    """CIFAR-10 at 16 pixels in minutes on 2 CPU cores: half of a narrow ResNet-18, 8 x 8 places; data: `npz:DIR`."""
    config = imagenet()
    config.method.update(loss=loss, map="stage_2", layer="stage_2", stride=2)
    config.model = defaults.resnet(18, stem="cifar")
    defaults.on_cifar10(config)
    defaults.on_two_cores(config, epochs=8, batch_size=64)
    config.train.steps = 0
    config.augment.crop = False
    config.optim = defaults.adamw_on_two_cores(0.004, warmup_steps=100)
    config.eval.protocols = ("pretext", "knn", "linear")
    return config


def shapes_cpu() -> ConfigDict:
    """Procedural coloured shapes, no download: which paint a shape has cannot be known, so that L2 makes it grey."""
    config = cifar10_cpu()
    config.data.source = "synthetic:32x5000"
    config.train.update(epochs=4, eval_every=0)
    return config


def smallest() -> ConfigDict:
    """5 steps on 16 shapes."""
    config = defaults.smallest(shapes_cpu())
    config.data.source = "synthetic:16x320"
    config.augment.size = 8
    return config


def _model(name: str, **keys) -> ConfigDict:
    return ConfigDict({"name": name, **keys, "init": "torch", "norm_momentum": 0.9, "norm_groups": 1}).lock()


# name: (config, paper, published top-1 in percent, hardware)
RECIPES = {
    "imagenet_vgg_paper": (imagenet, PAPER, "-", "1 GPU"),
    "imagenet_vgg_code": (lambda: imagenet(code=True), PAPER, "-", "1 GPU"),
    "imagenet_alexnet_code": (imagenet_alexnet, PAPER, "32.6 (conv_4)", "1 GPU"),
    "cifar10_cpu": (cifar10_cpu, "-", "-", "2 CPU cores, minutes"),
    "cifar10_cpu_regression": (lambda: cifar10_cpu("regression"), "-", "-", "2 CPU cores, minutes"),
    "shapes_cpu": (shapes_cpu, "-", "-", "2 CPU cores, minutes"),
}


def get_config(recipe: str = "shapes_cpu") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/colorization.py:shapes_cpu`."""
    return defaults.choose(RECIPES, recipe, __file__, smallest)
