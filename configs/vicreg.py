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
variance of the views is added, its LARS never exceeds the learning rate (`trust_clip`), and it does not blur.

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

import difflib

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

PAPER = "Bardes et al. 2022, arXiv 2105.04906"
SOLO_LEARN = "vturrisi/solo-learn, cifar/vicreg.yaml"


def expander(width: int, hidden_bias: bool = True) -> ConfigDict:
    """Three layers of equal width; the hidden ones have biases although norms follow, the last has neither."""
    return ConfigDict(
        {
            "hidden_dims": (width, width), "output_dim": width, "norm": "hidden", "hidden_bias": hidden_bias,
            "bias": False, "init": "torch",
        }
    )  # fmt: skip


def imagenet_r50(epochs: int = 1000) -> ConfigDict:
    """The paper's run: ResNet-50, batch 2048, LARS 1.6 in 1000 epochs and 2.4 in 100, weights 25, 2 x 25 and 1."""
    config = ConfigDict()
    config.seed = 0
    config.compute_dtype = "bfloat16"

    config.method = ConfigDict()
    config.method.name = "vicreg"
    config.method.invariance_weight = 25.0  # lambda
    config.method.variance_weight = 50.0  # 2 mu, since the loss averages the views; 0: all embeddings become one
    config.method.covariance_weight = 1.0  # nu

    config.model = ConfigDict()
    config.model.name = "resnet"
    config.model.depth = 50
    config.model.width = 1.0
    config.model.stem = "imagenet"
    config.model.zero_init_residual = True
    config.model.init = "torch"
    config.model.norm_momentum = 0.9
    config.model.norm_groups = 1  # of the global batch, each with statistics of its own
    config.model.projector = expander(8192)

    config.augment = ConfigDict()
    config.augment.name = "vicreg"
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
    config.augment.blur_probability = 0.5
    config.augment.blur_sigma = (0.1, 2.0)
    config.augment.blur_kernel = 23
    config.augment.solarise_probability = 0.1
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
    config.optim.learning_rate = 0.3 if epochs == 100 else 0.2
    config.optim.scaling = "linear"
    config.optim.momentum = 0.9
    config.optim.momentum_form = "lr_outside"
    config.optim.trust_coefficient = 1e-3
    config.optim.weight_decay = 1e-6
    config.optim.warmup_epochs = 10.0
    config.optim.warmup_steps = 0
    config.optim.schedule = "cosine"
    config.optim.end_learning_rate = 2e-3
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


def imagenet_r50_code(epochs: int = 1000, width: int = 1) -> ConfigDict:
    """The commands of the README: 1000 epochs at batch 2048, 100 epochs at batch 512."""
    config = imagenet_r50(epochs)
    config.model.width = float(width)
    config.method.variance_weight = 25.0
    config.augment.blur_probability = 1.0
    config.augment.blur_kernel = 17
    config.augment.solarise_probability = 0.0
    config.augment.second = ConfigDict({"blur_probability": 0.1, "solarise_probability": 0.2})  # the second view
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
    config.augment.size = 32
    config.augment.crop_scale = (0.2, 1.0)
    config.augment.blur_probability = 0.0
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
    config.model.width = 0.25
    config.model.projector = expander(512, hidden_bias=False)
    config.augment.size = 16
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
    config.augment.solarise_probability = 0.0
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
    if recipe not in RECIPES:
        nearest = difflib.get_close_matches(recipe, RECIPES, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"its recipes are {', '.join(RECIPES)}"
        raise ValueError(f"configs/vicreg.py has no recipe {recipe!r}; {hint}")
    return RECIPES[recipe][0]()
