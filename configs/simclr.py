"""SimCLR: contrast two augmented views of every image against the whole batch.

    python -m ssl_jax.pretrain --config=configs/simclr.py:digits --workdir=runs/simclr_digits

Papers: v1 = Chen et al. 2020, arXiv 2002.05709; v2 = Chen et al. 2020, arXiv 2006.10029. Official code:
google-research/simclr, commit 383d414. Published numbers are linear-probe top-1 in percent on the test set (ImageNet:
validation); (u) = not verified against a table of the paper. The recipes `_code` are commands of the official README.
They differ from the paper in the loss (the code's is twice the paper's mean over 2B anchors, which matters for the
biases and norm parameters that LARS does not rescale), the weight decay (1e-4; paper: 1e-6), the projector (three
layers; the paper's v1 has two), the brightness jitter (multiplicative; v1's was additive) and the crops (none below
10 % of the area, aspect ratios uniform instead of log-uniform).

| recipe                    | paper, section           | published  | hardware of the published run   |
|---------------------------|--------------------------|------------|---------------------------------|
| imagenet_r50_1000ep       | v1, section 6 and B.9    | 69.3 (u)   | 128 TPU v3 (u)                  |
| imagenet_r50_100ep        | v1, appendix B           | 64.5       | 32 TPU v3, 6 hours              |
| imagenet_r50_100ep_code   | README, pretraining      | 64.5       | 32 TPU v3, 6 hours              |
| imagenet_r50_2x           | v1, table 6              | 74.2       | TPU v3                          |
| imagenet_r50_4x           | v1, table 6              | 76.5       | TPU v3                          |
| v2_imagenet_r50           | v2, table 1, no memory   | 71.1       | TPU v3                          |
| cifar10_r18               | dkobak/simclr-cifar10    | 85.6       | 1 A100, 20 minutes              |
| cifar10_r18_code          | README, CIFAR-10         | 91         | 1 GPU                           |
| cifar10_r50               | v1, B.9                  | 94.0       | TPU v3                          |
| cifar10_cpu               | none: sized for 2 cores  | -          | 2 CPU cores, minutes            |
| digits                    | none: the demo           | -          | 2 CPU cores, minutes            |
"""

import difflib

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

V1, V2 = "Chen et al. 2020, arXiv 2002.05709", "Chen et al. 2020, arXiv 2006.10029"


def imagenet(epochs: int = 1000, width: int = 1) -> ConfigDict:
    """The paper's v1 run: ResNet-50, batch 4096, LARS 4.8, two-layer projector, temperature 0.1."""
    config = ConfigDict()
    config.seed = 0
    config.compute_dtype = "bfloat16"

    config.method = ConfigDict()
    config.method.name = "simclr"
    config.method.temperature = 0.1
    config.method.loss_scale = 1.0
    config.method.block_size = placeholder(int)  # None: chosen by the machine

    config.model = ConfigDict()
    config.model.name = "resnet"
    config.model.depth = 50
    config.model.width = float(width)
    config.model.stem = "imagenet"
    config.model.zero_init_residual = True
    config.model.init = "tensorflow"
    config.model.norm_momentum = 0.9
    config.model.norm_groups = 1  # of the global batch, each with statistics of its own
    config.model.projector = ConfigDict()
    config.model.projector.hidden_dims = (2048 * width,)
    config.model.projector.output_dim = 128
    config.model.projector.norm = "all"
    config.model.projector.bias = True
    config.model.projector.init = "tensorflow"

    config.augment = ConfigDict()
    config.augment.name = "simclr"
    config.augment.size = 224
    config.augment.crop_scale = (0.08, 1.0)
    config.augment.crop_ratio = (3 / 4, 4 / 3)
    config.augment.crop_distribution = "torchvision"
    config.augment.crop = True
    config.augment.method = "bicubic"
    config.augment.flip_probability = 0.5
    config.augment.jitter = (0.8, 0.8, 0.8, 0.2)  # brightness, contrast, saturation, hue
    config.augment.jitter_strength = 1.0
    config.augment.jitter_probability = 0.8
    config.augment.brightness_mode = "additive"
    config.augment.greyscale_probability = 0.2
    config.augment.blur_probability = 0.5
    config.augment.blur_sigma = (0.1, 2.0)
    config.augment.solarise_probability = 0.0
    config.augment.semantics = "tensorflow"  # how resizing, contrast, saturation and borders are defined
    config.augment.mean = placeholder(tuple)  # None: SimCLR feeds values in [0, 1]
    config.augment.std = placeholder(tuple)

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
    config.optim.name = "lars"
    config.optim.learning_rate = 0.3
    config.optim.scaling = "linear"
    config.optim.momentum = 0.9
    config.optim.momentum_form = "lr_inside"
    config.optim.trust_coefficient = 1e-3
    config.optim.weight_decay = 1e-6
    config.optim.warmup_epochs = 10.0
    config.optim.warmup_steps = 0
    config.optim.schedule = "cosine"
    config.optim.clip_norm = 0.0
    config.optim.groups = ConfigDict({"vectors": {"weight_decay": 0.0, "trust_ratio": False}})

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


def imagenet_code() -> ConfigDict:
    """The README's 100-epoch command, to the letter."""
    config = imagenet(epochs=100)
    config.method.loss_scale = 2.0
    config.model.projector.hidden_dims = (2048, 2048)
    config.augment.crop_distribution = "tensorflow"
    config.augment.crop_scale = (0.1, 1.0)  # asks for 0.08, and refuses crops that cover less than 0.1 of the image
    config.augment.brightness_mode = "multiplicative"
    config.optim.learning_rate = 0.075
    config.optim.scaling = "sqrt"
    config.optim.weight_decay = 1e-4
    return config


def v2_imagenet() -> ConfigDict:
    """SimCLR v2's ResNet-50 without the memory: three-layer projector, 800 epochs, weight decay 1e-4, 5 % warm-up."""
    config = imagenet_code()
    config.train.epochs = 800
    config.optim.learning_rate = 0.1
    config.optim.warmup_epochs = 40.0
    return config


def cifar10() -> ConfigDict:
    """ResNet-18 in 100 epochs of SGD: the cleanest public reference for a short run (dkobak/simclr-cifar10)."""
    config = imagenet(epochs=100)
    config.compute_dtype = "bfloat16"
    config.method.temperature = 0.5
    config.model.depth = 18
    config.model.stem = "cifar"
    config.model.zero_init_residual = False
    config.model.projector.hidden_dims = (1024,)
    config.model.projector.norm = "none"
    config.augment.size = 32
    config.augment.crop_scale = (0.2, 1.0)
    config.augment.method = "bilinear"
    config.augment.jitter_strength = 0.5
    config.augment.brightness_mode = "multiplicative"
    config.augment.semantics = "torchvision"
    config.augment.greyscale_probability = 0.1
    config.augment.blur_probability = 0.0
    config.data.source = "tfds:cifar10"
    config.data.canvas = 0
    config.data.workers = 0
    config.train.batch_size = 512
    config.train.eval_every = 970
    config.train.checkpoint_every = 485
    config.optim.name = "sgd"
    config.optim.learning_rate = 0.06
    config.optim.weight_decay = 5e-4
    config.optim.warmup_epochs = 0.0
    config.optim.schedule = "cosine_epoch"
    config.optim.groups = ConfigDict({"vectors": {}})
    config.eval.test_split = "test"
    config.eval.crop = 0.0
    config.eval.protocols = ("knn", "linear", "few_label")
    return config


def cifar10_code() -> ConfigDict:
    """The README's CIFAR-10 command: LARS 2.0 after scaling, temperature 0.5, jitter strength 0.5, no blur."""
    config = cifar10()
    config.method.loss_scale = 2.0
    config.model.zero_init_residual = True
    config.model.projector.hidden_dims = (512, 512)
    config.model.projector.norm = "all"
    config.augment.crop_distribution = "tensorflow"
    config.augment.crop_scale = (0.1, 1.0)
    config.augment.method = "bicubic"
    config.augment.semantics = "tensorflow"
    config.augment.greyscale_probability = 0.2
    config.train.epochs = 1000
    config.optim = imagenet().optim
    config.optim.learning_rate = 1.0
    config.optim.weight_decay = 1e-4
    return config


def cifar10_r50() -> ConfigDict:
    """The paper's CIFAR-10 run (B.9): ResNet-50, batch 1024, learning rate 1.0 and temperature 0.5 out of its grids."""
    config = cifar10_code()
    config.method.loss_scale = 1.0
    config.model.depth = 50
    config.model.projector.hidden_dims = (2048,)
    config.augment.crop_distribution = "torchvision"
    config.augment.crop_scale = (0.08, 1.0)
    config.augment.brightness_mode = "additive"
    config.train.batch_size = 1024
    config.optim.weight_decay = 1e-6
    return config


def cifar10_cpu() -> ConfigDict:
    """CIFAR-10 in minutes on 2 CPU cores: 16 pixels, a quarter of the width; data: `npz:DIR`, see the README."""
    config = cifar10()
    config.compute_dtype = "float32"
    config.method.temperature = 0.2
    config.model.width = 0.25
    config.model.projector.hidden_dims = (512,)
    config.model.projector.norm = "all"
    config.augment.size = 16
    config.augment.greyscale_probability = 0.2
    config.data.source = "npz:data/cifar10"
    config.train.batch_size = 256
    config.train.epochs = 8
    config.train.log_every = 20
    config.train.eval_every = 0
    config.train.checkpoint_every = 200
    config.optim.name = "adamw"
    config.optim.learning_rate = 0.004
    config.optim.scaling = "none"
    config.optim.weight_decay = 1e-4
    config.optim.schedule = "cosine"
    config.optim.warmup_steps = 20
    return config


def digits() -> ConfigDict:
    """The demo: scikit-learn's 8 x 8 handwritten digits, embedded, no download."""
    config = cifar10_cpu()
    config.data.source = "digits"
    config.model.width = 0.5
    config.augment.size = 8
    config.augment.flip_probability = 0.0
    config.augment.jitter = (0.8, 0.8, 0.0, 0.0)  # digits have one channel: no saturation, no hue
    config.augment.greyscale_probability = 0.0
    config.train.epochs = 80
    config.train.log_every = 10
    config.train.eval_every = 150
    config.train.checkpoint_every = 150
    return config


# name: (config, paper, published linear top-1 in percent, hardware)
RECIPES = {
    "imagenet_r50_1000ep": (lambda: imagenet(1000), V1, "69.3 (unverified)", "128 TPU v3 (unverified)"),
    "imagenet_r50_100ep": (lambda: imagenet(100), V1, "64.5", "32 TPU v3, 6 hours"),
    "imagenet_r50_100ep_code": (imagenet_code, V1, "64.5", "32 TPU v3, 6 hours"),
    "imagenet_r50_2x": (lambda: imagenet(1000, width=2), V1, "74.2", "TPU v3"),
    "imagenet_r50_4x": (lambda: imagenet(1000, width=4), V1, "76.5", "TPU v3"),
    "v2_imagenet_r50": (v2_imagenet, V2, "71.1", "TPU v3"),
    "cifar10_r18": (cifar10, "dkobak/simclr-cifar10", "85.6", "1 A100, 20 minutes"),
    "cifar10_r18_code": (cifar10_code, V1, "91", "1 GPU"),
    "cifar10_r50": (cifar10_r50, V1, "94.0", "TPU v3"),
    "cifar10_cpu": (cifar10_cpu, "-", "-", "2 CPU cores, minutes"),
    "digits": (digits, "-", "-", "2 CPU cores, minutes"),
}


def get_config(recipe: str = "digits") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/simclr.py:digits`."""
    if recipe not in RECIPES:
        nearest = difflib.get_close_matches(recipe, RECIPES, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"its recipes are {', '.join(RECIPES)}"
        raise ValueError(f"configs/simclr.py has no recipe {recipe!r}; {hint}")
    return RECIPES[recipe][0]()
