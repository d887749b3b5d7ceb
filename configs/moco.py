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
| digits                | none: a trial           | -                 | 2 CPU cores, minutes          |
"""

import difflib

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

V1, V2 = "He et al. 2020, arXiv 1911.05722", "Chen et al. 2020, arXiv 2003.04297"
DEMO = "facebookresearch/moco, CIFAR-10 demo"


def v1_imagenet() -> ConfigDict:
    """The paper's v1 run: ResNet-50, 200 epochs of SGD, batch 256 in 8 groups, 65,536 keys, one dense layer."""
    config = ConfigDict()
    config.seed = 0
    config.compute_dtype = "float32"

    config.method = ConfigDict()
    config.method.name = "moco"
    config.method.temperature = 0.07
    config.method.momentum = 0.999
    config.method.momentum_schedule = "constant"  # or "cosine", "linear": to 1 at the end of the run
    config.method.queue_size = 65536
    config.method.symmetric = False  # True: both views are queries once, and the losses are summed
    config.method.shuffle_norm = True
    config.method.block_size = placeholder(int)  # None: chosen by the machine

    config.model = ConfigDict()
    config.model.name = "resnet"
    config.model.depth = 50
    config.model.width = 1.0
    config.model.stem = "imagenet"
    config.model.zero_init_residual = False
    config.model.init = "torch"
    config.model.norm_momentum = 0.9
    config.model.norm_groups = 8  # of the global batch, each with statistics of its own: the paper's 8 GPUs
    config.model.projector = ConfigDict()
    config.model.projector.hidden_dims = ()
    config.model.projector.output_dim = 128
    config.model.projector.norm = "none"
    config.model.projector.bias = True
    config.model.projector.init = "torch"

    config.augment = ConfigDict()
    config.augment.name = "moco_v1"
    config.augment.size = 224
    config.augment.crop = True
    config.augment.crop_scale = (0.2, 1.0)
    config.augment.crop_ratio = (3 / 4, 4 / 3)
    config.augment.crop_distribution = "torchvision"
    config.augment.method = "bilinear"
    config.augment.flip_probability = 0.5
    config.augment.jitter = (0.4, 0.4, 0.4, 0.4)  # brightness, contrast, saturation, hue
    config.augment.jitter_strength = 1.0
    config.augment.jitter_probability = 1.0
    config.augment.brightness_mode = "multiplicative"
    config.augment.greyscale_probability = 0.2
    config.augment.greyscale_first = True
    config.augment.blur_probability = 0.0
    config.augment.blur_sigma = (0.1, 2.0)
    config.augment.blur_kernel = 17
    config.augment.solarise_probability = 0.0
    config.augment.semantics = "torchvision"  # how resizing, contrast, saturation and borders are defined
    config.augment.mean = (0.485, 0.456, 0.406)
    config.augment.std = (0.229, 0.224, 0.225)

    config.data = ConfigDict()
    config.data.source = "tfds:imagenet2012"
    config.data.split = "train"
    config.data.canvas = 256  # images are stored squashed to 256 x 256; crops are drawn in their original coordinates
    config.data.workers = 8

    config.train = ConfigDict()
    config.train.batch_size = 256
    config.train.steps = 0
    config.train.epochs = 200
    config.train.microbatches = 1  # of the global batch, encoded one after another: exact large batches on small memory
    config.train.log_every = 100
    config.train.eval_every = 50040
    config.train.checkpoint_every = 5004
    config.train.keep = 2  # of the newest checkpoints
    config.train.keep_every = 0  # checkpoints at multiples of this are kept for ever
    config.train.keep_best = False  # keep the best by online kNN too, and save at evaluations that improve it
    config.train.on_nonfinite = "stop"  # or "skip": keep the state, and stop after skip_limit such steps in a row
    config.train.skip_limit = 10
    config.train.init_from = ""

    config.optim = ConfigDict()
    config.optim.name = "sgd"
    config.optim.learning_rate = 0.03
    config.optim.scaling = "linear"
    config.optim.momentum = 0.9
    config.optim.weight_decay = 1e-4
    config.optim.warmup_epochs = 0.0
    config.optim.warmup_steps = 0
    config.optim.schedule = "step"
    config.optim.boundaries = (120.0, 160.0)
    config.optim.decay_factor = 0.1
    config.optim.clip_norm = 0.0
    config.optim.groups = ConfigDict({"vectors": {}})  # biases and norms decay like the rest

    config.parallel = ConfigDict()
    config.parallel.mode = "shard_map"
    config.parallel.devices = placeholder(int)  # None: all of them
    config.parallel.strict = False  # the same bits on any number of devices that divides `blocks`, at a price
    config.parallel.blocks = 8  # of rows in strict mode, a power of two; the bits depend on it

    config.eval = ConfigDict()
    config.eval.source = ""  # empty: config.data.source
    config.eval.train_split = "train"
    config.eval.test_split = "validation"
    config.eval.crop = 0.875
    config.eval.protocols = ("knn", "linear")
    return config


def v2_imagenet(epochs: int = 200) -> ConfigDict:
    """v2: a hidden layer in the projector, SimCLR-like augmentation with blur, temperature 0.2, a cosine by epochs."""
    config = v1_imagenet()
    config.method.temperature = 0.2
    config.model.projector.hidden_dims = (2048,)
    config.augment.name = "moco_v2"
    config.augment.jitter = (0.4, 0.4, 0.4, 0.1)
    config.augment.jitter_probability = 0.8
    config.augment.greyscale_first = False
    config.augment.blur_probability = 0.5
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
    config.augment.size = 32
    config.augment.crop_scale = (0.08, 1.0)
    config.augment.blur_probability = 0.0
    config.augment.mean = (0.4914, 0.4822, 0.4465)
    config.augment.std = (0.2023, 0.1994, 0.2010)
    config.data.source = "tfds:cifar10"
    config.data.canvas = 0
    config.data.workers = 0
    config.train.batch_size = 512
    config.train.eval_every = 970
    config.train.checkpoint_every = 485
    config.optim.weight_decay = 5e-4
    config.eval.test_split = "test"
    config.eval.crop = 0.0
    config.eval.protocols = ("knn", "linear", "few_label")
    return config


def cifar10_cpu() -> ConfigDict:
    """MoCo v2 on CIFAR-10 in minutes on 2 CPU cores: 16 pixels, a quarter of the width; data: `npz:DIR`."""
    config = cifar10()
    config.method.symmetric = False
    config.model.width = 0.25
    config.model.projector.hidden_dims = (128,)
    config.augment.size = 16
    config.augment.crop_scale = (0.2, 1.0)
    config.data.source = "npz:data/cifar10"
    config.train.batch_size = 256
    config.train.epochs = 6
    config.train.log_every = 20
    config.train.eval_every = 390
    config.train.checkpoint_every = 200
    for name in ("momentum", "boundaries", "decay_factor"):
        del config.optim[name]
    config.optim.name = "adamw"
    config.optim.learning_rate = 0.004
    config.optim.scaling = "none"
    config.optim.weight_decay = 1e-4
    config.optim.schedule = "cosine"
    config.optim.warmup_steps = 20
    return config


def digits() -> ConfigDict:
    """A trial without a download on scikit-learn's 8 x 8 digits; cifar10_cpu is the one to see MoCo learn from."""
    config = cifar10_cpu()
    config.method.queue_size = 1024
    config.model.width = 0.5
    config.augment.size = 8
    config.augment.flip_probability = 0.0
    config.augment.jitter = (0.8, 0.8, 0.0, 0.0)  # digits have one channel: no saturation, no hue
    config.augment.greyscale_probability = 0.0
    config.augment.mean = (0.5,)
    config.augment.std = (0.5,)
    config.data.source = "digits"
    config.train.epochs = 80
    config.train.log_every = 10
    config.train.eval_every = 150
    config.train.checkpoint_every = 150
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
    if recipe not in RECIPES:
        nearest = difflib.get_close_matches(recipe, RECIPES, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"its recipes are {', '.join(RECIPES)}"
        raise ValueError(f"configs/moco.py has no recipe {recipe!r}; {hint}")
    return RECIPES[recipe][0]()
