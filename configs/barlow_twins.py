"""Barlow Twins: the cross-correlation of two views' embeddings is to be the identity; no negatives, no teacher.

    python -m ssl_jax.pretrain --config=configs/barlow_twins.py:digits --workdir=runs/barlow_twins_digits

Paper: Zbontar et al. 2021, arXiv 2103.03230. Official code: facebookresearch/barlowtwins, commit 8e8d284, main.py.
Published numbers are linear-probe top-1 in percent on the test set (ImageNet: validation); (online): of the classifier
trained along.

The recipes `_paper` and `_code` differ in lambda (0.005 and 0.0051), the weight decay (1.5e-6 and 1e-6) and the scale
of the gradient: the code adds up the correlations of its GPUs without a gradient through the sum, and then averages the
gradients of the GPUs, so that on 16 GPUs 1/16 of the gradient arrives. LARS makes this up for matrices; biases and norm
parameters move 16 times less.

Where all recipes differ from the code: bfloat16 in place of float16 with loss scaling; the last, smaller batch of an
epoch: here batches run on into the next one; Pillow's blur is three box blurs, here a Gaussian.

`cifar10_r18` is solo-learn's recipe (vturrisi/solo-learn, commit 9187ea3, scripts/pretrain/cifar/barlow.yaml): a tenth
of the loss, a LARS that never exceeds the learning rate (`trust_clip`), no blur. Its first convolution pads by 2, so
that its maps are 34 x 34 pixels where ours are 32 x 32, and starts from PyTorch's default.

| recipe                    | paper, section          | published      | hardware of the published run |
|---------------------------|-------------------------|----------------|-------------------------------|
| imagenet_r50_1000ep_paper | section 2.2, table 1    | 73.2           | 32 V100, 124 hours            |
| imagenet_r50_300ep_paper  | section 4               | 71.4           | 32 V100                       |
| imagenet_r50_1000ep_code  | README                  | 73.5           | 16 V100, 7 days               |
| cifar10_r18               | solo-learn, README      | 92.1 (online)  | 1 GPU                         |
| cifar10_cpu               | none: sized for 2 cores | -              | 2 CPU cores, minutes          |
| digits                    | none: the demo          | -              | 2 CPU cores, minutes          |
"""

from ml_collections import ConfigDict

from ssl_jax import defaults

PAPER = "Zbontar et al. 2021, arXiv 2103.03230"
SOLO_LEARN = "vturrisi/solo-learn, cifar/barlow.yaml"


def projector(width: int) -> ConfigDict:
    """Three layers of equal width without biases; the norm of the outputs is part of the loss."""
    return defaults.mlp((width, width), width, norm="hidden", bias=False)


def imagenet_r50(epochs: int = 1000) -> ConfigDict:
    """The paper's run: ResNet-50, batch 2048, LARS 1.6 and 0.0384 for biases and norms, lambda 0.005."""
    # off_diagonal_weight is lambda; with 0 all dimensions repeat one
    config = defaults.experiment("barlow_twins", off_diagonal_weight=5e-3, loss_scale=1.0)
    config.compute_dtype = "bfloat16"
    config.model = defaults.resnet(50, zero_init_residual=True, projector=projector(8192))
    config.augment = defaults.views("barlow_twins")
    config.train.update(batch_size=2048, epochs=epochs)
    vectors = {"weight_decay": 0.0, "trust_ratio": False, "learning_rate_factor": 0.0048 / 0.2}
    config.optim = defaults.optim(
        "lars", 0.2, weight_decay=1.5e-6, warmup_epochs=10.0, momentum_form="lr_outside",
        end_learning_rate=1.6e-3, groups={"vectors": vectors},  # a thousandth of the peak
    )  # fmt: skip
    defaults.intervals(config, 1_281_167, evaluate=10, checkpoint=5)
    return config


def imagenet_r50_code() -> ConfigDict:
    """The official code on 16 GPUs, to the letter, the scale of its gradient included."""
    config = imagenet_r50()
    config.method.off_diagonal_weight = 0.0051
    config.method.loss_scale = 1 / 16
    config.optim.weight_decay = 1e-6
    return config


def cifar10() -> ConfigDict:
    """solo-learn's ResNet-18: batch 256, 1000 epochs, a tenth of the loss, rates that are clipped."""
    config = imagenet_r50()
    config.method.off_diagonal_weight = 0.0051
    config.method.loss_scale = 0.1
    config.model.depth = 18
    config.model.stem = "cifar"
    config.model.zero_init_residual = False
    config.model.projector = projector(2048)
    defaults.on_cifar10(config)
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
    config.method.loss_scale = 1.0
    config.model.projector = projector(512)
    config.optim = defaults.adamw_on_two_cores()
    return config


def digits() -> ConfigDict:
    """scikit-learn's 8 x 8 handwritten digits, embedded, no download."""
    config = cifar10_cpu()
    defaults.on_digits(config)
    config.model.width = 0.25
    config.augment.crop_scale = (0.5, 1.0)
    return config


# name: (config, paper, published linear top-1 in percent, hardware)
RECIPES = {
    "imagenet_r50_1000ep_paper": (lambda: imagenet_r50(1000), PAPER, "73.2", "32 V100, 124 hours"),
    "imagenet_r50_300ep_paper": (lambda: imagenet_r50(300), PAPER, "71.4", "32 V100"),
    "imagenet_r50_1000ep_code": (imagenet_r50_code, PAPER, "73.5", "16 V100, 7 days"),
    "cifar10_r18": (cifar10, SOLO_LEARN, "92.1 (online)", "1 GPU"),
    "cifar10_cpu": (cifar10_cpu, "-", "-", "2 CPU cores, minutes"),
    "digits": (digits, "-", "-", "2 CPU cores, minutes"),
}


def get_config(recipe: str = "digits") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/barlow_twins.py:digits`."""
    return defaults.choose(RECIPES, recipe, __file__, lambda: defaults.smallest(digits()))
