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
Lightly's batch statistics are those of one crop, here of both.

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

import difflib

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

PAPER = "Caron et al. 2020, arXiv 2006.09882"
LIGHTLY = "lightly-ai/lightly, CIFAR-10 benchmark"


def imagenet_r50(epochs: int = 800) -> ConfigDict:
    """ResNet-50, batch 4096, LARC 4.8, 2 crops of 224 and 6 of 96 pixels, 3,000 prototypes, no queue."""
    config = ConfigDict()
    config.seed = 0
    config.compute_dtype = "bfloat16"

    config.method = ConfigDict()
    config.method.name = "swav"
    config.method.temperature = 0.1
    config.method.prototypes = 3000
    config.method.epsilon = 0.05
    config.method.iterations = 3  # 0: no equal shares, the ablation that collapses
    config.method.queue_size = 0  # embeddings of each large crop; a multiple of the batch, 0 for none
    config.method.queue_start_epoch = 0  # when it begins to fill; it is used once it is full

    config.model = ConfigDict()
    config.model.name = "resnet"
    config.model.depth = 50
    config.model.width = 1.0
    config.model.stem = "imagenet"
    config.model.zero_init_residual = False
    config.model.init = "torch"
    config.model.norm_momentum = 0.9
    config.model.norm_groups = 8  # of the global batch, each with statistics of its own: 64 GPUs in eights
    config.model.projector = ConfigDict()
    config.model.projector.hidden_dims = (2048,)
    config.model.projector.output_dim = 128
    config.model.projector.norm = "hidden"
    config.model.projector.bias = True
    config.model.projector.hidden_bias = True
    config.model.projector.init = "torch"

    config.augment = ConfigDict()
    config.augment.name = "swav"
    config.augment.size = 224
    config.augment.crop = True
    config.augment.crop_scale = (0.14, 1.0)
    config.augment.crop_ratio = (3 / 4, 4 / 3)
    config.augment.crop_distribution = "torchvision"
    config.augment.method = "bilinear"
    config.augment.flip_probability = 0.5
    config.augment.jitter = (0.8, 0.8, 0.8, 0.2)  # brightness, contrast, saturation, hue
    config.augment.jitter_strength = 1.0
    config.augment.jitter_probability = 0.8
    config.augment.brightness_mode = "multiplicative"
    config.augment.greyscale_probability = 0.2
    config.augment.greyscale_first = False
    config.augment.blur_probability = 0.5
    config.augment.blur_sigma = (0.1, 2.0)
    config.augment.blur_kernel = 17
    config.augment.solarise_probability = 0.0
    config.augment.local = ConfigDict({"count": 6, "size": 96, "crop_scale": (0.05, 0.14)})  # the small crops
    config.augment.semantics = "torchvision"  # how resizing, contrast, saturation and borders are defined
    config.augment.mean = (0.485, 0.456, 0.406)
    config.augment.std = (0.228, 0.224, 0.225)  # 0.228 in the official code, 0.229 elsewhere

    config.data = ConfigDict()
    config.data.source = "tfds:imagenet2012"
    config.data.split = "train"
    config.data.canvas = 256  # images are stored squashed to 256 x 256; crops are drawn in their original coordinates
    config.data.workers = 8

    config.train = ConfigDict()
    config.train.batch_size = 4096
    config.train.steps = 0
    config.train.epochs = epochs
    config.train.microbatches = 1  # of the global batch, encoded one after another: exact large batches on small memory
    config.train.log_every = 50
    config.train.eval_every = 3120
    config.train.checkpoint_every = 1560
    config.train.keep = 2  # of the newest checkpoints
    config.train.keep_every = 0  # checkpoints at multiples of this are kept for ever
    config.train.keep_best = False  # keep the best by online kNN too, and save at evaluations that improve it
    config.train.on_nonfinite = "stop"  # or "skip": keep the state, and stop after skip_limit such steps in a row
    config.train.skip_limit = 10
    config.train.init_from = ""

    config.optim = ConfigDict()
    config.optim.name = "larc"
    config.optim.learning_rate = 4.8
    config.optim.scaling = "none"
    config.optim.momentum = 0.9
    config.optim.trust_coefficient = 1e-3
    config.optim.weight_decay = 1e-6  # of biases and norms too, which LARC rescales like the rest
    config.optim.warmup_epochs = 10.0
    config.optim.warmup_steps = 0
    config.optim.start_learning_rate = 0.3
    config.optim.end_learning_rate = 0.0048
    config.optim.schedule = "cosine"
    config.optim.clip_norm = 0.0
    config.optim.groups = ConfigDict({"vectors": {}, "prototypes": {"frozen_steps": 313}})  # an epoch

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
    small_images(config, 32)
    config.method.prototypes = 512
    config.model.depth = 18
    config.model.stem = "cifar"
    config.model.norm_groups = 1
    config.model.projector.hidden_dims = (512,)
    config.model.projector.hidden_bias = False
    config.augment.crop_scale = (0.14, 1.0)
    config.augment.mean = (0.485, 0.456, 0.406)
    config.augment.std = (0.229, 0.224, 0.225)
    config.train.batch_size = 512
    config.train.epochs = 200
    config.optim = adam("adam", learning_rate=4e-3, weight_decay=1e-6)
    config.optim.schedule = "cosine_epoch"
    return config


def adam(name: str, learning_rate: float, weight_decay: float) -> ConfigDict:
    """Adam or AdamW without warm-up."""
    optim = imagenet_r50().optim
    optim.unlock()
    for key in ("momentum", "trust_coefficient"):
        del optim[key]
    optim.name = name
    optim.learning_rate = learning_rate
    optim.weight_decay = weight_decay
    optim.warmup_epochs = 0.0
    optim.start_learning_rate = optim.end_learning_rate = 0.0
    optim.groups.prototypes.frozen_steps = 0
    return optim


def small_images(config: ConfigDict, size: int) -> None:
    """CIFAR-10 in place of ImageNet: no blur."""
    config.augment.size = size
    config.augment.blur_probability = 0.0
    config.augment.mean = (0.4914, 0.4822, 0.4465)
    config.augment.std = (0.2023, 0.1994, 0.2010)
    config.data.source = "tfds:cifar10"
    config.data.canvas = 0
    config.data.workers = 0
    config.train.eval_every = 970
    config.train.checkpoint_every = 485
    config.eval.test_split = "test"
    config.eval.crop = 0.0
    config.eval.protocols = ("knn", "linear", "few_label")


def cifar10_cpu() -> ConfigDict:
    """CIFAR-10 in minutes on 2 CPU cores: ResNet-18 of a quarter of the width at 16 pixels; data: `npz:DIR`."""
    config = cifar10()
    small_images(config, 16)
    config.compute_dtype = "float32"
    config.method.prototypes = 256
    config.method.epsilon = 0.02  # harder targets: at 0.05 a small network needs an epoch to tell images apart
    config.model.width = 0.25
    config.augment.crop_scale = (0.2, 1.0)
    config.augment.jitter_strength = 0.5
    config.data.source = "npz:data/cifar10"
    config.train.batch_size = 256
    config.train.epochs = 2
    config.train.log_every = 20
    config.train.eval_every = 0
    config.train.checkpoint_every = 200
    config.optim = adam("adamw", learning_rate=0.004, weight_decay=1e-4)
    config.optim.warmup_steps = 20
    return config


def digits() -> ConfigDict:
    """scikit-learn's 8 x 8 handwritten digits, embedded, no download."""
    config = cifar10_cpu()
    config.model.width = 0.5
    config.method.prototypes = 64
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
    if recipe not in RECIPES:
        nearest = difflib.get_close_matches(recipe, RECIPES, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"its recipes are {', '.join(RECIPES)}"
        raise ValueError(f"configs/swav.py has no recipe {recipe!r}; {hint}")
    return RECIPES[recipe][0]()
