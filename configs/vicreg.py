"""VICReg: variance, invariance and covariance of two views' embeddings; no negatives, no teacher, no normalisation.

    python -m ssl_jax.pretrain --config=configs/vicreg.py:digits --workdir=runs/vicreg_digits

Paper: Bardes, Ponce and LeCun 2022, arXiv 2105.04906. Official code: facebookresearch/vicreg, commit 4e12602. Published
numbers are linear-probe top-1 in percent on the test set (ImageNet: validation); (online): of the classifier trained
along.

The recipes `_paper` and `_code` differ in the variance term (the paper adds the two views, eq. 6, the code averages
them, which halves its weight), the views (appendix C.1: alike, both with blur in half and solarised in a tenth of the
cases; the code's differ, as BYOL's) and the last learning rate (0.002 and a thousandth of the peak). In 100 epochs the
paper's batch is 2048, that of the README's command 512. In both the invariance term is the mean over the dimensions, as
in the paper's algorithm 1; its eq. 5 adds them up.

Where all recipes differ from the code: bfloat16 in place of float16 with loss scaling; the last, smaller batch of an
epoch: here batches run on into the next one; Pillow's blur is three box blurs, here a Gaussian.

`cifar10_r18` is solo-learn's recipe (vturrisi/solo-learn, commit 9187ea3, scripts/pretrain/cifar/vicreg.yaml): the
variance of the views is added, its LARS never exceeds the learning rate (`trust_clip`), and it does not blur. Its first
convolution pads by 2, so that its maps are 34 x 34 pixels where ours are 32 x 32, and starts from PyTorch's default.

| recipe                    | paper, section          | published      | hardware of the published run    |
|---------------------------|-------------------------|----------------|----------------------------------|
| imagenet_r50_1000ep_paper | section 4.2, table 1    | 73.2           | 32 V100, 11 hours per 100 epochs |
| imagenet_r50_100ep_paper  | appendix C.4, table 7   | 68.6           | 32 V100, 11 hours                |
| imagenet_r50_1000ep_code  | README                  | 73.2           | 32 GPUs                          |
| imagenet_r50_100ep_code   | README                  | -              | 8 GPUs                           |
| imagenet_r50x2_code       | README                  | 75.5           | -                                |
| cifar10_r18               | solo-learn, README      | 92.07 (online) | 1 GPU                            |
| cifar10_cpu               | none: sized for 2 cores | -              | 2 CPU cores, minutes             |
| digits                    | none: the demo          | -              | 2 CPU cores, minutes             |
"""

from ml_collections import ConfigDict

from ssl_jax import defaults

PAPER = "Bardes et al. 2022, arXiv 2105.04906"
SOLO_LEARN = "vturrisi/solo-learn, cifar/vicreg.yaml"


def expander(width: int, hidden_bias: bool = True) -> ConfigDict:
    """Three layers of equal width; the hidden ones have biases although norms follow, the last has neither."""
    return defaults.mlp((width, width), width, norm="hidden", hidden_bias=hidden_bias, bias=False)


def imagenet_r50(epochs: int = 1000) -> ConfigDict:
    """The paper's run: ResNet-50, batch 2048, LARS 1.6 in 1000 epochs and 2.4 in 100, weights 25, 2 x 25 and 1."""
    # lambda, 2 mu (since the loss averages the views; 0: all embeddings become one), and nu
    weights = {"invariance_weight": 25.0, "variance_weight": 50.0, "covariance_weight": 1.0}
    config = defaults.experiment("vicreg", **weights)
    config.compute_dtype = "bfloat16"
    config.model = defaults.resnet(50, zero_init_residual=True, projector=expander(8192))
    config.augment = defaults.views("vicreg")
    config.train.update(batch_size=2048, epochs=epochs)
    config.optim = defaults.optim(
        "lars", 0.3 if epochs == 100 else 0.2, weight_decay=1e-6, warmup_epochs=10.0, momentum_form="lr_outside",
        end_learning_rate=2e-3,
    )  # fmt: skip
    defaults.intervals(config, 1_281_167, evaluate=10, checkpoint=5)
    return config


def imagenet_r50_code(epochs: int = 1000, width: int = 1) -> ConfigDict:
    """The commands of the README: 1000 epochs at batch 2048, 100 epochs at batch 512."""
    config = imagenet_r50(epochs)
    config.model.width = float(width)
    config.method.variance_weight = 25.0
    config.augment = defaults.views("barlow_twins")
    config.train.batch_size = 512 if epochs == 100 else 2048
    config.optim.end_learning_rate = 0.6e-3 if epochs == 100 else 1.6e-3  # a thousandth of the peak
    return config


def cifar10() -> ConfigDict:
    """solo-learn's ResNet-18: batch 256, 1000 epochs, rates that are clipped."""
    config = imagenet_r50()
    config.model.depth = 18
    config.model.stem = "cifar"
    config.model.zero_init_residual = False
    config.model.projector = expander(2048)
    defaults.on_cifar10(config)
    config.augment.crop_scale = (0.2, 1.0)
    config.train.batch_size = 256
    defaults.intervals(config, 50_000, evaluate=10, checkpoint=5)
    config.optim = defaults.optim(
        "larc", 0.3, trust_coefficient=0.02, trust_clip=True, weight_decay=1e-4, warmup_epochs=10.0,
        start_learning_rate=3e-5, momentum_form="lr_outside",
    )  # fmt: skip
    return config


def cifar10_cpu() -> ConfigDict:
    """CIFAR-10 in minutes on 2 CPU cores: ResNet-18 of a quarter of the width at 16 pixels; data: `npz:DIR`."""
    config = cifar10()
    defaults.on_two_cores(config, epochs=2, batch_size=256)
    config.model.projector = expander(512, hidden_bias=False)
    config.optim = defaults.adamw_on_two_cores()
    return config


def digits() -> ConfigDict:
    """scikit-learn's 8 x 8 handwritten digits, embedded, no download."""
    config = cifar10_cpu()
    defaults.on_digits(config)
    return config


# name: (config, paper, published linear top-1 in percent, hardware)
RECIPES = {
    "imagenet_r50_1000ep_paper": (lambda: imagenet_r50(1000), PAPER, "73.2", "32 V100, 11 hours per 100 epochs"),
    "imagenet_r50_100ep_paper": (lambda: imagenet_r50(100), PAPER, "68.6", "32 V100, 11 hours"),
    "imagenet_r50_1000ep_code": (lambda: imagenet_r50_code(1000), PAPER, "73.2", "32 GPUs"),
    "imagenet_r50_100ep_code": (lambda: imagenet_r50_code(100), PAPER, "-", "8 GPUs"),
    "imagenet_r50x2_code": (lambda: imagenet_r50_code(1000, width=2), PAPER, "75.5", "-"),
    "cifar10_r18": (cifar10, SOLO_LEARN, "92.07 (online)", "1 GPU"),
    "cifar10_cpu": (cifar10_cpu, "-", "-", "2 CPU cores, minutes"),
    "digits": (digits, "-", "-", "2 CPU cores, minutes"),
}


def get_config(recipe: str = "digits") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/vicreg.py:digits`."""
    return defaults.choose(RECIPES, recipe, __file__, lambda: defaults.smallest(digits()))
