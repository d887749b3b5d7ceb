"""MoCo: contrast a query with its key among the keys of earlier batches, which a momentum encoder made.

    python -m ssl_jax.pretrain --config=configs/moco.py:digits --workdir=runs/moco_digits

Papers: v1 = He et al. 2020, arXiv 1911.05722; v2 = Chen et al. 2020, arXiv 2003.04297. Official code:
facebookresearch/moco, commit 132aea9, and its CIFAR-10 demo on the branch colab-notebook. Published numbers are top-1
in percent: linear probe on ImageNet's validation set (the README's pretrained models; the means of five runs are 60.8
and 67.5), for the demo its kNN (k = 200) on the test set, of the 128 numbers after the projector
(`python -m ssl_jax.evaluate --layer=projection --protocols=knn`).

Where these recipes differ from the code: its running statistics are those of GPU 0, here the mean over the groups; it
drops the last, smaller batch of an epoch, here batches run on into the next one; Pillow's blur is three box blurs, here
a Gaussian. The demo counts epochs from 1, so that its cosine is an epoch ahead; its groups of queries are every eighth
row, here contiguous; its first convolution starts as PyTorch's default has it, here as torchvision's others.

| recipe                | paper, section          | published         | hardware of the published run |
|-----------------------|-------------------------|-------------------|-------------------------------|
| v1_imagenet_r50       | v1, section 4.1         | 60.6              | 8 V100, 53 hours              |
| v2_imagenet_r50_200ep | v2, table 1             | 67.7              | 8 V100, 53 hours              |
| v2_imagenet_r50_800ep | v2, table 2             | 71.1              | 8 V100                        |
| cifar10_r18           | demo, symmetric, 200 ep | 85.3 kNN          | 1 V100                        |
| cifar10_cpu           | none: sized for 2 cores | -                 | 2 CPU cores, minutes          |
| digits                | none: sized for 2 cores | -                 | 2 CPU cores, minutes          |
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from ssl_jax import defaults

V1, V2 = "He et al. 2020, arXiv 1911.05722", "Chen et al. 2020, arXiv 2003.04297"
DEMO = "facebookresearch/moco, CIFAR-10 demo"


def v1_imagenet() -> ConfigDict:
    """The paper's v1 run: ResNet-50, 200 epochs of SGD, batch 256 in 8 groups, 65,536 keys, one dense layer."""
    config = defaults.experiment(
        "moco", temperature=0.07, momentum=0.999, momentum_schedule="constant",  # or "cosine", "linear": to 1
        queue_size=65536, symmetric=False,  # True: both views are queries once, and the losses are summed
        shuffle_norm=True, block_size=placeholder(int),  # None: chosen by the machine
    )  # fmt: skip
    config.model = defaults.resnet(50, norm_groups=8, projector=defaults.mlp((), 128))  # the paper's 8 GPUs
    config.augment = defaults.views("moco_v1")
    config.train.update(epochs=200, log_every=100)
    config.optim = defaults.optim(
        "sgd", 0.03, weight_decay=1e-4, schedule="step", boundaries=(120.0, 160.0), groups=defaults.EVERYTHING_DECAYS
    )
    defaults.intervals(config, 1_281_167, evaluate=10, checkpoint=1)
    return config


def v2_imagenet(epochs: int = 200) -> ConfigDict:
    """v2: a hidden layer in the projector, SimCLR-like augmentation with blur, temperature 0.2, a cosine by epochs."""
    config = v1_imagenet()
    config.method.temperature = 0.2
    config.model.projector.hidden_dims = (2048,)
    config.augment = defaults.views("moco_v2")
    config.train.epochs = epochs
    config.optim.schedule = "cosine_epoch"
    return config


def cifar10() -> ConfigDict:
    """The authors' demo in its symmetric form: ResNet-18, batch 512 in 8 groups, 4,096 keys, 200 epochs."""
    config = v2_imagenet()
    config.method.temperature = 0.1
    config.method.momentum = 0.99
    config.method.queue_size = 4096
    config.method.symmetric = True
    config.model.depth = 18
    config.model.stem = "cifar"
    config.model.projector.hidden_dims = ()
    defaults.on_cifar10(config, std=defaults.CIFAR_STD_MOCO)
    config.augment.crop_scale = (0.08, 1.0)
    config.train.batch_size = 512
    defaults.intervals(config, 50_000, evaluate=10, checkpoint=5)
    config.optim.weight_decay = 5e-4
    return config


def cifar10_cpu() -> ConfigDict:
    """MoCo v2 on CIFAR-10 in minutes on 2 CPU cores: 16 pixels, a quarter of the width; data: `npz:DIR`."""
    config = cifar10()
    defaults.on_two_cores(config, epochs=6, batch_size=256)
    config.train.eval_every = 390
    config.method.symmetric = False
    config.model.projector.hidden_dims = (128,)
    config.optim = defaults.adamw_on_two_cores()
    return config


def digits() -> ConfigDict:
    """A demo without a download on scikit-learn's 8 x 8 digits: 128 images a step and a queue of two steps."""
    config = cifar10_cpu()
    defaults.on_digits(config)
    # A queue near the size of the data would hold keys of the query's own image among the negatives.
    config.method.update(queue_size=256, temperature=0.2)
    config.train.batch_size = 128
    config.model.norm_groups = 4
    config.optim.learning_rate = 0.001
    return config


# name: (config, paper, published top-1 in percent, hardware)
RECIPES = {
    "v1_imagenet_r50": (v1_imagenet, V1, "60.6", "8 V100, 53 hours"),
    "v2_imagenet_r50_200ep": (lambda: v2_imagenet(200), V2, "67.7", "8 V100, 53 hours"),
    "v2_imagenet_r50_800ep": (lambda: v2_imagenet(800), V2, "71.1", "8 V100"),
    "cifar10_r18": (cifar10, DEMO, "85.3 (kNN)", "1 V100"),
    "cifar10_cpu": (cifar10_cpu, "-", "-", "2 CPU cores, minutes"),
    "digits": (digits, "-", "-", "2 CPU cores, minutes"),
}


def get_config(recipe: str = "digits") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/moco.py:digits`."""
    return defaults.choose(RECIPES, recipe, __file__, lambda: defaults.smallest(digits()))
