"""SimSiam: predict the projection of the other view, whose gradient is stopped; no negatives, no momentum encoder.

    python -m ssl_jax.pretrain --config=configs/simsiam.py:cifar10_cpu --workdir=runs/simsiam

Paper: Chen and He 2021, arXiv 2011.10566. Official code: facebookresearch/simsiam, commit a7bc177; the ImageNet recipes
are its README's, at a constant rate of the predictor (--fix-pred-lr), without which the paper has 67.7. The CIFAR-10
recipe is the paper's appendix D: a projector of two layers, no blur, all else as the code has it. Published numbers are
linear-probe top-1 in percent on the test set (ImageNet: validation); (u) = not verified against the paper.

Where these recipes differ from the code: the projector's last layer has a bias there that is never trained and has no
effect in front of its norm; it drops the last, smaller batch of an epoch, here batches run on into the next one;
Pillow's blur is three box blurs, here a Gaussian.

| recipe               | paper, section          | published | hardware of the published run |
|----------------------|-------------------------|-----------|-------------------------------|
| imagenet_r50         | README                  | 68.1      | 8 V100                        |
| imagenet_r50_bs256   | README                  | 68.3      | 8 V100                        |
| cifar10_r18          | appendix D              | 91.8 (u)  | 1 GPU                         |
| cifar10_cpu          | none: sized for 2 cores | -         | 2 CPU cores, minutes          |
"""

from ml_collections import ConfigDict

from ssl_jax import defaults

PAPER = "Chen and He 2021, arXiv 2011.10566"


def projector(layers: int, width: int) -> ConfigDict:
    """Dense layers of one width, each with a norm, of which the last is neither scaled nor shifted; no biases."""
    return defaults.mlp((width,) * (layers - 1), width, norm="all_unscaled", bias=False)


def predictor(hidden: int, width: int) -> ConfigDict:
    """A bottleneck; the last layer has a bias and no norm."""
    return defaults.mlp((hidden,), width, norm="hidden")


def imagenet_r50(batch_size: int = 512) -> ConfigDict:
    """ResNet-50, 100 epochs of SGD, the predictor at a constant rate."""
    config = defaults.experiment("simsiam", stop_gradient=True)  # False: a study, all embeddings become one
    config.model = defaults.resnet(
        50, zero_init_residual=True, projector=projector(layers=3, width=2048),
        predictor=predictor(hidden=512, width=2048),
    )  # fmt: skip
    config.augment = defaults.views("moco_v2")
    config.train.log_every = 100
    config.train.batch_size = 512
    defaults.intervals(config, 1_281_167, evaluate=10, checkpoint=1)
    config.train.batch_size = batch_size
    config.optim = defaults.optim(  # biases and norms decay like the rest
        "sgd", 0.05, weight_decay=1e-4, schedule="cosine_epoch",
        groups={"vectors": {}, "predictor": {"constant_learning_rate": True}},
    )  # fmt: skip
    return config


def cifar10_r18() -> ConfigDict:
    """The paper's CIFAR-10 run: ResNet-18, 800 epochs, batch 512, a projector of two layers, no blur."""
    config = imagenet_r50()
    config.model.depth = 18
    config.model.stem = "cifar"
    config.model.projector = projector(layers=2, width=2048)
    defaults.on_cifar10(config, std=defaults.CIFAR_STD_MOCO)
    config.train.epochs = 800
    defaults.intervals(config, 50_000, evaluate=10, checkpoint=5)
    config.optim.learning_rate = 0.03
    config.optim.weight_decay = 5e-4
    return config


def cifar10_cpu() -> ConfigDict:
    """CIFAR-10 in minutes on 2 CPU cores: ResNet-18 of a quarter of the width at 16 pixels; data: `npz:DIR`."""
    config = cifar10_r18()
    defaults.on_two_cores(config, epochs=4, batch_size=128)
    config.model.zero_init_residual = False
    config.model.projector = projector(layers=2, width=512)
    config.model.predictor = predictor(hidden=128, width=512)
    config.optim.learning_rate = 0.2
    config.optim.warmup_steps = 20
    config.optim.schedule = "cosine"
    return config


def tiny() -> ConfigDict:
    """The smallest run, for tests; on digits SimSiam learns no better features than random weights have."""
    config = cifar10_cpu()
    defaults.on_digits(config)
    return defaults.smallest(config)


# name: (config, paper, published linear top-1 in percent, hardware)
RECIPES = {
    "imagenet_r50": (imagenet_r50, PAPER, "68.1", "8 V100"),
    "imagenet_r50_bs256": (lambda: imagenet_r50(batch_size=256), PAPER, "68.3", "8 V100"),
    "cifar10_r18": (cifar10_r18, PAPER, "91.8 (unverified)", "1 GPU"),
    "cifar10_cpu": (cifar10_cpu, "-", "-", "2 CPU cores, minutes"),
}


def get_config(recipe: str = "cifar10_cpu") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/simsiam.py:cifar10_cpu`."""
    return defaults.choose(RECIPES, recipe, __file__, tiny)
