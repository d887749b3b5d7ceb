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
of the loss, a LARS that never exceeds the learning rate (`trust_clip`), no blur.

| recipe                    | paper, section          | published      | hardware of the published run |
|---------------------------|-------------------------|----------------|-------------------------------|
| imagenet_r50_1000ep_paper | section 2.2, table 1    | 73.2           | 32 V100, 124 hours            |
| imagenet_r50_300ep_paper  | section 4               | 71.4           | 32 V100                       |
| imagenet_r50_1000ep_code  | README                  | 73.5           | 16 V100, 7 days               |
| cifar10_r18               | solo-learn, README      | 92.1 (online)  | 1 GPU                         |
| cifar10_cpu               | none: sized for 2 cores | -              | 2 CPU cores, minutes          |
| digits                    | none: the demo          | -              | 2 CPU cores, minutes          |
"""

import difflib

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

PAPER = "Zbontar et al. 2021, arXiv 2103.03230"
SOLO_LEARN = "vturrisi/solo-learn, cifar/barlow.yaml"


def projector(width: int) -> ConfigDict:
    """Three layers of equal width without biases; the norm of the outputs is part of the loss."""
    return ConfigDict(
        {"hidden_dims": (width, width), "output_dim": width, "norm": "hidden", "bias": False, "init": "torch"}
    )


def imagenet_r50(epochs: int = 1000) -> ConfigDict:
    """The paper's run: ResNet-50, batch 2048, LARS 1.6 and 0.0384 for biases and norms, lambda 0.005."""
    config = ConfigDict()
    config.seed = 0
    config.compute_dtype = "bfloat16"

    config.method = ConfigDict()
    config.method.name = "barlow_twins"
    config.method.off_diagonal_weight = 5e-3  # lambda; 0: all dimensions repeat one
    config.method.loss_scale = 1.0

    config.model = ConfigDict()
    config.model.name = "resnet"
    config.model.depth = 50
    config.model.width = 1.0
    config.model.stem = "imagenet"
    config.model.zero_init_residual = True
    config.model.init = "torch"
    config.model.norm_momentum = 0.9
    config.model.norm_groups = 1  # of the global batch, each with statistics of its own
    config.model.projector = projector(8192)

    config.augment = ConfigDict()
    config.augment.name = "barlow_twins"
    config.augment.size = 224
    config.augment.crop = True
    config.augment.crop_scale = (0.08, 1.0)
    config.augment.crop_ratio = (3 / 4, 4 / 3)
    config.augment.crop_distribution = "torchvision"
    config.augment.method = "bicubic"
    config.augment.flip_probability = 0.5
    config.augment.jitter = (0.4, 0.4, 0.2, 0.1)  # brightness, contrast, saturation, hue
    config.augment.jitter_strength = 1.0
    config.augment.jitter_probability = 0.8
    config.augment.brightness_mode = "multiplicative"
    config.augment.greyscale_probability = 0.2
    config.augment.greyscale_first = False
    config.augment.blur_probability = 1.0
    config.augment.blur_sigma = (0.1, 2.0)
    config.augment.blur_kernel = 17
    config.augment.solarise_probability = 0.0
    config.augment.second = ConfigDict({"blur_probability": 0.1, "solarise_probability": 0.2})  # the second view
    config.augment.semantics = "torchvision"  # how resizing, contrast, saturation and borders are defined
    config.augment.mean = (0.485, 0.456, 0.406)
    config.augment.std = (0.229, 0.224, 0.225)

    config.data = ConfigDict()
    config.data.source = "tfds:imagenet2012"
    config.data.split = "train"
    config.data.canvas = 256  # images are stored squashed to 256 x 256; crops are drawn in their original coordinates
    config.data.workers = 8

    config.train = ConfigDict()
    config.train.batch_size = 2048
    config.train.steps = 0
    config.train.epochs = epochs
    config.train.microbatches = 1  # of the global batch, encoded one after another: exact large batches on small memory
    config.train.log_every = 50
    config.train.eval_every = 6250
    config.train.checkpoint_every = 3125
    config.train.keep = 2  # of the newest checkpoints
    config.train.keep_every = 0  # checkpoints at multiples of this are kept for ever
    config.train.keep_best = False  # keep the best by online kNN too, and save at evaluations that improve it
    config.train.on_nonfinite = "stop"  # or "skip": keep the state, and stop after skip_limit such steps in a row
    config.train.skip_limit = 10
    config.train.init_from = ""

    config.optim = ConfigDict()
    config.optim.name = "lars"
    config.optim.learning_rate = 0.2
    config.optim.scaling = "linear"
    config.optim.momentum = 0.9
    config.optim.momentum_form = "lr_outside"
    config.optim.trust_coefficient = 1e-3
    config.optim.weight_decay = 1.5e-6
    config.optim.warmup_epochs = 10.0
    config.optim.warmup_steps = 0
    config.optim.schedule = "cosine"
    config.optim.end_learning_rate = 1.6e-3  # a thousandth of the peak
    config.optim.clip_norm = 0.0
    config.optim.groups = ConfigDict(
        {"vectors": {"weight_decay": 0.0, "trust_ratio": False, "learning_rate_factor": 0.0048 / 0.2}}
    )

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
    config.augment.size = 32
    config.augment.blur_probability = 0.0
    config.augment.second.blur_probability = 0.0
    config.augment.mean = (0.4914, 0.4822, 0.4465)
    config.augment.std = (0.2470, 0.2435, 0.2616)
    config.data.source = "tfds:cifar10"
    config.data.canvas = 0
    config.data.workers = 0
    config.train.batch_size = 256
    config.train.eval_every = 1950
    config.train.checkpoint_every = 975
    config.optim.name = "larc"
    config.optim.learning_rate = 0.3
    config.optim.trust_coefficient = 0.02
    config.optim.trust_clip = True  # of a parameter: the learning rate at most
    config.optim.weight_decay = 1e-4
    config.optim.start_learning_rate = 3e-5
    config.optim.end_learning_rate = 0.0
    config.optim.groups = ConfigDict({"vectors": {"weight_decay": 0.0, "trust_ratio": False}})
    config.eval.test_split = "test"
    config.eval.crop = 0.0
    config.eval.protocols = ("knn", "linear", "few_label")
    return config


def cifar10_cpu() -> ConfigDict:
    """CIFAR-10 in minutes on 2 CPU cores: ResNet-18 of a quarter of the width at 16 pixels; data: `npz:DIR`."""
    config = cifar10()
    config.compute_dtype = "float32"
    config.method.loss_scale = 1.0
    config.model.width = 0.25
    config.model.projector = projector(512)
    config.augment.size = 16
    config.augment.crop_scale = (0.2, 1.0)
    config.data.source = "npz:data/cifar10"
    config.train.epochs = 2
    config.train.log_every = 20
    config.train.eval_every = 0
    config.train.checkpoint_every = 200
    config.optim = adamw(learning_rate=0.004, weight_decay=1e-4)
    return config


def adamw(learning_rate: float, weight_decay: float) -> ConfigDict:
    """AdamW with a warm-up of 20 steps: what short runs of small networks train with."""
    optim = ConfigDict()
    optim.name = "adamw"
    optim.learning_rate = learning_rate
    optim.scaling = "none"
    optim.weight_decay = weight_decay
    optim.warmup_epochs = 0.0
    optim.warmup_steps = 20
    optim.schedule = "cosine"
    optim.clip_norm = 0.0
    optim.groups = ConfigDict({"vectors": {}})
    return optim


def digits() -> ConfigDict:
    """scikit-learn's 8 x 8 handwritten digits, embedded, no download."""
    config = cifar10_cpu()
    config.model.width = 0.5
    config.augment.size = 8
    config.augment.flip_probability = 0.0
    config.augment.jitter = (0.8, 0.8, 0.0, 0.0)  # digits have one channel: no saturation, no hue
    config.augment.greyscale_probability = 0.0
    config.augment.second.solarise_probability = 0.0
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
    "imagenet_r50_1000ep_paper": (lambda: imagenet_r50(1000), PAPER, "73.2", "32 V100, 124 hours"),
    "imagenet_r50_300ep_paper": (lambda: imagenet_r50(300), PAPER, "71.4", "32 V100"),
    "imagenet_r50_1000ep_code": (imagenet_r50_code, PAPER, "73.5", "16 V100, 7 days"),
    "cifar10_r18": (cifar10, SOLO_LEARN, "92.1 (online)", "1 GPU"),
    "cifar10_cpu": (cifar10_cpu, "-", "-", "2 CPU cores, minutes"),
    "digits": (digits, "-", "-", "2 CPU cores, minutes"),
}


def get_config(recipe: str = "digits") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/barlow_twins.py:digits`."""
    if recipe not in RECIPES:
        nearest = difflib.get_close_matches(recipe, RECIPES, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"its recipes are {', '.join(RECIPES)}"
        raise ValueError(f"configs/barlow_twins.py has no recipe {recipe!r}; {hint}")
    return RECIPES[recipe][0]()
