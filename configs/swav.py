"""SwAV: crops of an image predict one another's assignment to prototypes, which share the batch equally.

    python -m ssl_jax.pretrain --config=configs/swav.py:digits --workdir=runs/swav_digits

Paper: Caron et al. 2020, arXiv 2006.09882. Official code: facebookresearch/swav, commit 06b1b7c; the recipes are its
scripts, whose values are those of the paper's appendix. Published numbers are linear-probe top-1 in percent on
ImageNet's validation set (README). `cifar10_r18` is the benchmark of lightly-ai/lightly (commit e8d317f,
docs/source/getting_started/benchmarks/cifar10_benchmark.py), whose number is the best kNN (k = 200) of all epochs on
the test set.

Where these recipes differ from the code: bfloat16 in place of float16 with loss scaling; it drops the last, smaller
batch of an epoch, here batches run on into the next one; its warm-up reaches the peak one step earlier; the queue must
hold a whole number of batches, where it would cut the rest off; Pillow's blur is three box blurs, here a Gaussian.
Lightly's batch statistics are those of one crop, here of both; its convolutions start from PyTorch's default.

| recipe                    | paper, section                | published | hardware of the published run |
|---------------------------|-------------------------------|-----------|-------------------------------|
| imagenet_r50_100ep        | scripts, 2 x 224 + 6 x 96     | 72.1      | 64 V100, 6 hours              |
| imagenet_r50_200ep        | scripts, 2 x 224 + 6 x 96     | 73.9      | 64 V100, 12 hours             |
| imagenet_r50_400ep        | scripts, 2 x 224 + 6 x 96     | 74.6      | 64 V100, 24 hours             |
| imagenet_r50_800ep        | section 4.1, figure 2         | 75.3      | 64 V100, 49 hours             |
| imagenet_r50_2x224_400ep  | scripts, no small crops       | 70.1      | 64 V100                       |
| imagenet_r50_bs256_200ep  | section 4.2, with a queue     | 72.7      | 4 V100, 7 days                |
| imagenet_r50_bs256_400ep  | section 4.2, with a queue     | 74.3      | 4 V100, 14 days               |
| imagenet_r50_2x           | scripts, 2 x 224 + 4 x 96     | 77.3      | 128 V100                      |
| imagenet_r50_4x           | scripts, 2 x 224 + 4 x 96     | 77.9      | 64 V100                       |
| cifar10_r18               | lightly, 200 epochs           | 84.2 kNN  | 1 A6000, 89 minutes           |
| cifar10_cpu               | none: sized for 2 cores       | -         | 2 CPU cores, minutes          |
| digits                    | none: the demo                | -         | 2 CPU cores, minutes          |
"""

from ml_collections import ConfigDict

from ssl_jax import defaults

PAPER = "Caron et al. 2020, arXiv 2006.09882"
LIGHTLY = "lightly-ai/lightly, CIFAR-10 benchmark"


def imagenet_r50(epochs: int = 800) -> ConfigDict:
    """ResNet-50, batch 4096, LARC 4.8, 2 crops of 224 and 6 of 96 pixels, 3,000 prototypes, no queue."""
    config = defaults.experiment(
        "swav", temperature=0.1, prototypes=3000, epsilon=0.05,
        iterations=3,  # 0: no equal shares, the ablation that collapses
        queue_size=0,  # embeddings of each large crop; a multiple of the batch, 0 for none
        queue_start_epoch=0,  # when it begins to fill; it is used once it is full
    )  # fmt: skip
    config.compute_dtype = "bfloat16"
    projector = defaults.mlp((2048,), 128, norm="hidden", hidden_bias=True)
    config.model = defaults.resnet(50, norm_groups=8, projector=projector)  # 64 GPUs in eights
    config.augment = defaults.views("swav")
    config.train.update(batch_size=4096, epochs=epochs)
    config.optim = defaults.optim(  # LARC rescales biases and norms like the rest, and they decay
        "larc", 4.8, scaling="none", weight_decay=1e-6, warmup_epochs=10.0, start_learning_rate=0.3,
        end_learning_rate=0.0048, groups={"vectors": {}, "prototypes": {"frozen_steps": 313}},  # an epoch
    )  # fmt: skip
    defaults.intervals(config, 1_281_167, evaluate=10, checkpoint=5)
    return config


def imagenet_r50_2x224() -> ConfigDict:
    """Two large crops alone, for 400 epochs."""
    config = imagenet_r50(epochs=400)
    config.augment.local.count = 0
    config.augment.crop_scale = (0.08, 1.0)
    return config


def imagenet_r50_bs256(epochs: int) -> ConfigDict:
    """Batch 256 on 4 GPUs: LARC 0.6 without warm-up, and a queue of 15 batches from epoch 15 on."""
    config = imagenet_r50(epochs)
    config.method.queue_size = 3840
    config.method.queue_start_epoch = 15
    config.model.norm_groups = 1
    config.train.batch_size = 256
    config.train.eval_every = 50_000
    config.train.checkpoint_every = 5_000
    config.optim.learning_rate = 0.6
    config.optim.warmup_epochs = 0.0
    config.optim.start_learning_rate = 0.0
    config.optim.end_learning_rate = 0.0006
    config.optim.groups.prototypes.frozen_steps = 5005
    return config


def imagenet_r50_wide(width: int) -> ConfigDict:
    """Twice or four times as wide, 400 epochs, 4 small crops; four times at batch 2560 with a queue of one batch."""
    config = imagenet_r50(epochs=400)
    config.model.width = float(width)
    config.model.projector.hidden_dims = (8192,)
    config.augment.local.count = 4
    if width == 2:
        config.model.norm_groups = 16  # 128 GPUs in eights
    else:
        config.augment.crop_scale = (0.08, 1.0)
        config.augment.local.crop_scale = (0.08, 0.14)
        config.method.queue_size = 2560
        config.train.batch_size = 2560
    return config


def cifar10() -> ConfigDict:
    """ResNet-18 on CIFAR-10 for one GPU: batch 512, 200 epochs of Adam, two crops, 512 prototypes, no blur."""
    config = imagenet_r50_2x224()
    defaults.on_cifar10(config)
    config.method.prototypes = 512
    config.model.depth = 18
    config.model.stem = "cifar"
    config.model.norm_groups = 1
    config.model.projector.hidden_dims = (512,)
    config.model.projector.hidden_bias = False
    config.model.init = "torch_default"
    config.augment.crop_scale = (0.14, 1.0)
    config.augment.jitter_strength = 0.5
    config.augment.mean = (0.485, 0.456, 0.406)
    config.augment.std = (0.229, 0.224, 0.225)
    config.train.update(batch_size=512, epochs=200)
    defaults.intervals(config, 50_000, evaluate=10, checkpoint=5)
    config.optim = adam("adam", learning_rate=4e-3, weight_decay=1e-6)
    config.optim.schedule = "cosine_epoch"
    return config


def adam(name: str, learning_rate: float, weight_decay: float) -> ConfigDict:
    """Adam or AdamW without warm-up."""
    groups = {"vectors": {}, "prototypes": {}}
    return defaults.optim(name, learning_rate, scaling="none", weight_decay=weight_decay, groups=groups)


def cifar10_cpu() -> ConfigDict:
    """CIFAR-10 in minutes on 2 CPU cores: ResNet-18 of a quarter of the width at 16 pixels; data: `npz:DIR`."""
    config = cifar10()
    defaults.on_cifar10(config, std=defaults.CIFAR_STD_MOCO)
    defaults.on_two_cores(config, epochs=2, batch_size=256)
    config.method.prototypes = 256
    config.method.epsilon = 0.02  # harder targets: at 0.05 a small network needs an epoch to tell images apart
    config.model.init = "torch"
    config.optim = adam("adamw", learning_rate=0.004, weight_decay=1e-4)
    config.optim.warmup_steps = 20
    return config


def digits() -> ConfigDict:
    """scikit-learn's 8 x 8 handwritten digits, embedded, no download."""
    config = cifar10_cpu()
    defaults.on_digits(config)
    config.method.prototypes = 64
    return config


def tiny() -> ConfigDict:
    """The smallest run, for tests."""
    config = defaults.smallest(digits())
    config.method.update(prototypes=8, queue_size=32)  # in use from the third step on
    config.optim.groups.prototypes.frozen_steps = 1
    return config


# name: (config, paper, published linear top-1 in percent, hardware)
RECIPES = {
    "imagenet_r50_100ep": (lambda: imagenet_r50(100), PAPER, "72.1", "64 V100, 6 hours"),
    "imagenet_r50_200ep": (lambda: imagenet_r50(200), PAPER, "73.9", "64 V100, 12 hours"),
    "imagenet_r50_400ep": (lambda: imagenet_r50(400), PAPER, "74.6", "64 V100, 24 hours"),
    "imagenet_r50_800ep": (lambda: imagenet_r50(800), PAPER, "75.3", "64 V100, 49 hours"),
    "imagenet_r50_2x224_400ep": (imagenet_r50_2x224, PAPER, "70.1", "64 V100"),
    "imagenet_r50_bs256_200ep": (lambda: imagenet_r50_bs256(200), PAPER, "72.7", "4 V100, 7 days"),
    "imagenet_r50_bs256_400ep": (lambda: imagenet_r50_bs256(400), PAPER, "74.3", "4 V100, 14 days"),
    "imagenet_r50_2x": (lambda: imagenet_r50_wide(2), PAPER, "77.3", "128 V100"),
    "imagenet_r50_4x": (lambda: imagenet_r50_wide(4), PAPER, "77.9", "64 V100"),
    "cifar10_r18": (cifar10, LIGHTLY, "84.2 (kNN)", "1 A6000, 89 minutes"),
    "cifar10_cpu": (cifar10_cpu, "-", "-", "2 CPU cores, minutes"),
    "digits": (digits, "-", "-", "2 CPU cores, minutes"),
}


def get_config(recipe: str = "digits") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/swav.py:digits`."""
    return defaults.choose(RECIPES, recipe, __file__, tiny)
