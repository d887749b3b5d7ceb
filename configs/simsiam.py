"""SimSiam: predict the projection of the other view, whose gradient is stopped; no negatives, no momentum encoder.

    python -m ssl_jax.pretrain --config=configs/simsiam.py:digits --workdir=runs/simsiam_digits

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
| digits               | none: the demo          | -         | 2 CPU cores, minutes          |
"""

import difflib

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

PAPER = "Chen and He 2021, arXiv 2011.10566"


def projector(layers: int, width: int) -> ConfigDict:
    """Dense layers of one width, each with a norm, of which the last is neither scaled nor shifted; no biases."""
    return ConfigDict(
        {
            "hidden_dims": (width,) * (layers - 1), "output_dim": width, "norm": "all_unscaled", "bias": False,
            "init": "torch",
        }
    )  # fmt: skip


def predictor(hidden: int, width: int) -> ConfigDict:
    """A bottleneck; the last layer has a bias and no norm."""
    return ConfigDict({"hidden_dims": (hidden,), "output_dim": width, "norm": "hidden", "bias": True, "init": "torch"})


def imagenet_r50(batch_size: int = 512) -> ConfigDict:
    """ResNet-50, 100 epochs of SGD, the predictor at a constant rate."""
    config = ConfigDict()
    config.seed = 0
    config.compute_dtype = "float32"

    config.method = ConfigDict()
    config.method.name = "simsiam"
    config.method.stop_gradient = True  # False: a study, all embeddings become one

    config.model = ConfigDict()
    config.model.name = "resnet"
    config.model.depth = 50
    config.model.width = 1.0
    config.model.stem = "imagenet"
    config.model.zero_init_residual = True
    config.model.init = "torch"
    config.model.norm_momentum = 0.9
    config.model.norm_groups = 1  # of the global batch, each with statistics of its own
    config.model.projector = projector(layers=3, width=2048)
    config.model.predictor = predictor(hidden=512, width=2048)

    config.augment = ConfigDict()
    config.augment.name = "moco_v2"
    config.augment.size = 224
    config.augment.crop = True
    config.augment.crop_scale = (0.2, 1.0)
    config.augment.crop_ratio = (3 / 4, 4 / 3)
    config.augment.crop_distribution = "torchvision"
    config.augment.method = "bilinear"
    config.augment.flip_probability = 0.5
    config.augment.jitter = (0.4, 0.4, 0.4, 0.1)  # brightness, contrast, saturation, hue
    config.augment.jitter_strength = 1.0
    config.augment.jitter_probability = 0.8
    config.augment.brightness_mode = "multiplicative"
    config.augment.greyscale_probability = 0.2
    config.augment.greyscale_first = False
    config.augment.blur_probability = 0.5
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
    config.train.batch_size = batch_size
    config.train.steps = 0
    config.train.epochs = 100
    config.train.microbatches = 1  # of the global batch, encoded one after another: exact large batches on small memory
    config.train.log_every = 100
    config.train.eval_every = 25020
    config.train.checkpoint_every = 2502
    config.train.keep = 2  # of the newest checkpoints
    config.train.keep_every = 0  # checkpoints at multiples of this are kept for ever
    config.train.keep_best = False  # keep the best by online kNN too, and save at evaluations that improve it
    config.train.on_nonfinite = "stop"  # or "skip": keep the state, and stop after skip_limit such steps in a row
    config.train.skip_limit = 10
    config.train.init_from = ""

    config.optim = ConfigDict()
    config.optim.name = "sgd"
    config.optim.learning_rate = 0.05
    config.optim.scaling = "linear"
    config.optim.momentum = 0.9
    config.optim.weight_decay = 1e-4
    config.optim.warmup_epochs = 0.0
    config.optim.warmup_steps = 0
    config.optim.schedule = "cosine_epoch"
    config.optim.clip_norm = 0.0
    # Biases and norms decay like the rest.
    config.optim.groups = ConfigDict({"vectors": {}, "predictor": {"constant_learning_rate": True}})

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


def cifar10_r18() -> ConfigDict:
    """The paper's CIFAR-10 run: ResNet-18, 800 epochs, batch 512, a projector of two layers, no blur."""
    config = imagenet_r50()
    config.model.depth = 18
    config.model.stem = "cifar"
    config.model.projector = projector(layers=2, width=2048)
    config.augment.size = 32
    config.augment.blur_probability = 0.0
    config.augment.mean = (0.4914, 0.4822, 0.4465)
    config.augment.std = (0.2023, 0.1994, 0.2010)
    config.data.source = "tfds:cifar10"
    config.data.canvas = 0
    config.data.workers = 0
    config.train.epochs = 800
    config.train.eval_every = 970
    config.train.checkpoint_every = 485
    config.optim.learning_rate = 0.03
    config.optim.weight_decay = 5e-4
    config.eval.test_split = "test"
    config.eval.crop = 0.0
    config.eval.protocols = ("knn", "linear", "few_label")
    return config


def cifar10_cpu() -> ConfigDict:
    """CIFAR-10 in minutes on 2 CPU cores: ResNet-18 of a quarter of the width at 16 pixels; data: `npz:DIR`."""
    config = cifar10_r18()
    config.model.width = 0.25
    config.model.zero_init_residual = False
    config.model.projector = projector(layers=2, width=512)
    config.model.predictor = predictor(hidden=128, width=512)
    config.augment.size = 16
    config.data.source = "npz:data/cifar10"
    config.train.batch_size = 128
    config.train.epochs = 4
    config.train.log_every = 20
    config.train.eval_every = 0
    config.train.checkpoint_every = 200
    config.optim.learning_rate = 0.2
    config.optim.warmup_steps = 20
    config.optim.schedule = "cosine"
    return config


def digits() -> ConfigDict:
    """The demo: scikit-learn's 8 x 8 handwritten digits, embedded, no download."""
    config = cifar10_cpu()
    config.model.width = 0.5
    config.augment.size = 8
    config.augment.flip_probability = 0.0
    config.augment.jitter = (0.8, 0.8, 0.0, 0.0)  # digits have one channel: no saturation, no hue
    config.augment.greyscale_probability = 0.0
    config.augment.mean = (0.5,)
    config.augment.std = (0.5,)
    config.data.source = "digits"
    config.train.batch_size = 256
    config.train.epochs = 80
    config.train.log_every = 10
    config.train.eval_every = 150
    config.train.checkpoint_every = 150
    return config


# name: (config, paper, published linear top-1 in percent, hardware)
RECIPES = {
    "imagenet_r50": (imagenet_r50, PAPER, "68.1", "8 V100"),
    "imagenet_r50_bs256": (lambda: imagenet_r50(batch_size=256), PAPER, "68.3", "8 V100"),
    "cifar10_r18": (cifar10_r18, PAPER, "91.8 (unverified)", "1 GPU"),
    "cifar10_cpu": (cifar10_cpu, "-", "-", "2 CPU cores, minutes"),
    "digits": (digits, "-", "-", "2 CPU cores, minutes"),
}


def get_config(recipe: str = "digits") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/simsiam.py:digits`."""
    if recipe not in RECIPES:
        nearest = difflib.get_close_matches(recipe, RECIPES, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"its recipes are {', '.join(RECIPES)}"
        raise ValueError(f"configs/simsiam.py has no recipe {recipe!r}; {hint}")
    return RECIPES[recipe][0]()
