"""Context prediction: tell in which of eight directions one patch of an image lies from another.

    python -m ssl_jax.pretrain --config=configs/context_prediction.py:digits --workdir=runs/context_digits

Paper: Doersch et al. 2015, arXiv 1505.05192. Official code: cdoersch/deepcontext, train.py. Published numbers are mean
average precision of detection on VOC 2007; the last one after the rescaling of Krahenbuhl et al. (arXiv 1511.06856).

Images are resized to 150,000 to 450,000 pixels, of which a grid of 3 x 3 patches of 96 pixels is cut. The code cuts as
large a grid as the image holds, of images that hold 2 x 2; here images are large enough or are scaled up to it, and 56
images have the 504 patches of its batch. The code's loss is the sum over pairs, here it is their mean: the rate is the
code's 1e-5 times the 2,240 pairs of a batch. The paper has a momentum of 0.999 and names no rate: here it is the one
whose steps add up to the code's. The paper subtracts the mean colour, the code each patch's own, and gives every patch
one contrast.

`cifar10_cpu` cuts 2 x 2 patches of 12 pixels, 4 apart, of which all eight directions can be had (3 x 3 would need 40
pixels). `camvid_cpu` is for street frames of 180 x 240 pixels: 3 x 3 patches of 24 pixels, 12 apart, of frames scaled
to 120 pixels and more.

| recipe                      | paper, section            | published | hardware of the published run |
|-----------------------------|---------------------------|-----------|-------------------------------|
| imagenet_caffenet_project   | section 3.1, "projection" | 45.7      | 1 GPU, 4 weeks                |
| imagenet_caffenet_paper     | section 3.1, "dropping"   | 46.3      | 1 GPU, 4 weeks                |
| imagenet_caffenet_code      | the authors' code         | 51.4      | 1 GPU                         |
| imagenet_r50                | MMSelfSup, 70 epochs      | -         | 8 GPUs                        |
| cifar10_cpu                 | none: sized for 2 cores   | -         | 2 CPU cores, minutes          |
| camvid_cpu                  | none: sized for 2 cores   | -         | 2 CPU cores, minutes          |
| digits                      | none: the demo            | -         | 2 CPU cores, minutes          |
"""

from ml_collections import ConfigDict

from ssl_jax import defaults

PAPER = "Doersch et al. 2015, arXiv 1505.05192"
MMSELFSUP = "after open-mmlab/mmselfsup, relative_loc"
MEAN_PIXEL = (123 / 255, 117 / 255, 104 / 255)
PLAIN = {"jitter_probability": 0.0, "greyscale_probability": 0.0, "blur_probability": 0.0, "mean": None, "std": None}
BATCH, PAIRS = 56, 40  # images, and ordered pairs of each


def imagenet(colours: str = "drop_uniform", code: bool = True) -> ConfigDict:
    """CaffeNet on ImageNet: 504 patches and 2,240 pairs a step, a million steps, in the code 1.7 million."""
    config = defaults.experiment(
        "context_prediction", grid=3, patch=96, gap=48, jitter=7, pairs="all", pixelate_probability=0.33,
        least_pixels=100, colours=colours, normalise="contrast" if code else "none",
        layer="conv_5",
    )  # fmt: skip
    config.model = ConfigDict({
        "name": "caffenet", "width": 1.0, "init": "caffe", "norm_momentum": 0.999, "norm_groups": 1,
        "head": defaults.mlp((4096, 4096), 8, norm="first_unscaled", init="caffe"),
    }).lock()  # fmt: skip
    side = 3 * 96 + 2 * 48 + 2 * 7
    config.augment = defaults.views(
        "moco_v2", size=side, crop_scale=(side**2 / 450_000, 1.0), crop_ratio=(1.0, 1.0), crop_distribution="pixels",
        flip_probability=0.0, **PLAIN,
    )  # fmt: skip
    if not code:  # bytes less the mean colour
        config.augment.mean, config.augment.std = MEAN_PIXEL, 3 * (1 / 255,)
    config.data.canvas = 512
    config.train.update(batch_size=BATCH, epochs=0, steps=1_700_000 if code else 1_000_000)
    momentum = 0.0 if code else 0.999
    config.optim = defaults.optim(
        "sgd", 1e-5 * BATCH * PAIRS * (1 - momentum), scaling="none", momentum=momentum, schedule="constant",
        groups=defaults.EVERYTHING_DECAYS,
    )  # fmt: skip
    config.train.update(eval_every=100_000, checkpoint_every=2000)
    return config


def imagenet_r50() -> ConfigDict:
    """ResNet-50 with patches of 64 pixels, the centre and its neighbours, two of three images grey; batch 512."""
    config = imagenet("keep")
    config.method.update(
        patch=64, gap=21, jitter=10, pairs="centre", pixelate_probability=0.0, normalise="none", layer=""
    )
    config.model = defaults.resnet(50, head=defaults.mlp((4096,), 8, norm="hidden", dropout=0.5))
    config.model.norm_groups = 8
    config.augment = defaults.views(
        "mae", size=255, crop_scale=(0.5, 0.75), crop_ratio=(1.0, 1.0), greyscale_probability=0.66, flip_probability=0.0
    )
    config.data.canvas = 292
    config.train.update(batch_size=512, steps=0, epochs=70)
    config.optim = defaults.optim(
        "sgd", 0.2, scaling="none", weight_decay=1e-4, schedule="step", boundaries=(30.0, 50.0), warmup_epochs=5.0,
        start_learning_rate=0.02, groups=defaults.EVERYTHING_DECAYS,
    )  # fmt: skip
    defaults.intervals(config, 1_281_167, evaluate=10, checkpoint=1)
    return config


def cifar10_cpu() -> ConfigDict:
    """CIFAR-10 in minutes on 2 CPU cores: a ResNet-18 of a quarter of the width; data: `npz:DIR`."""
    config = imagenet_r50()
    config.method.update(grid=2, patch=12, gap=4, jitter=2, pairs="each", layer="stage_3")
    config.model = defaults.resnet(18, stem="cifar", head=defaults.mlp((256,), 8, norm="hidden"))
    defaults.on_cifar10(config)
    defaults.on_two_cores(config, epochs=4, batch_size=64)
    config.augment.update(size=32, crop=False, flip_probability=0.5, greyscale_probability=0.0)
    config.optim = defaults.adamw_on_two_cores(0.004, warmup_steps=100)
    config.eval.protocols = ("pretext", "knn", "linear")
    return config


def camvid_cpu() -> ConfigDict:
    """Street frames in minutes on 2 CPU cores, 3 x 3 patches of 24 pixels; data: `npz:DIR` or `folder:DIR`."""
    config = cifar10_cpu()
    config.method.update(grid=3, patch=24, gap=12, jitter=3, pairs="each", layer="stage_3")
    config.augment.update(size=108, crop=True, crop_scale=(0.25, 0.75), crop_distribution="pixels")
    config.data.source = "npz:data/camvid"
    config.train.update(epochs=60, batch_size=16)
    config.eval.protocols = ("pretext",)
    return config


def digits() -> ConfigDict:
    """scikit-learn's 8 x 8 handwritten digits, embedded, no download: 2 x 2 patches of 3 pixels, 1 apart."""
    config = cifar10_cpu()
    config.method.update(patch=3, gap=0, jitter=1)
    defaults.on_digits(config)
    config.train.epochs = 20
    config.optim.warmup_steps = 20
    return config


# name: (config, paper, published mAP of detection on VOC 2007, hardware)
RECIPES = {
    "imagenet_caffenet_project": (lambda: imagenet("project", code=False), PAPER, "45.7 (VOC mAP)", "1 GPU, 4 weeks"),
    "imagenet_caffenet_paper": (
        lambda: imagenet("drop_gaussian", code=False), PAPER, "46.3 (VOC mAP)", "1 GPU, 4 weeks"
    ),
    "imagenet_caffenet_code": (imagenet, PAPER, "51.4 (VOC mAP)", "1 GPU"),
    "imagenet_r50": (imagenet_r50, MMSELFSUP, "-", "8 GPUs"),
    "cifar10_cpu": (cifar10_cpu, "-", "-", "2 CPU cores, minutes"),
    "camvid_cpu": (camvid_cpu, "-", "-", "2 CPU cores, minutes"),
    "digits": (digits, "-", "-", "2 CPU cores, minutes"),
}  # fmt: skip


def get_config(recipe: str = "digits") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/context_prediction.py:digits`."""
    return defaults.choose(RECIPES, recipe, __file__, lambda: defaults.smallest(digits()))
