"""MoCo v3: contrast queries with a momentum encoder's keys of the same batch; ResNets and vision transformers.

    python -m ssl_jax.pretrain --config=configs/moco_v3.py:digits --workdir=runs/moco_v3_digits

Paper: Chen, Xie and He 2021, arXiv 2104.02057. Official code: facebookresearch/moco-v3, commit c349e6e; the recipes
are its CONFIG.md, in which ResNets run at temperature 1.0 and transformers at 0.2. Published numbers are linear-probe
top-1 in percent on ImageNet's validation set. There is no published recipe for CIFAR-10: those here are ours.

Where these recipes differ from the code: bfloat16 in place of float16 with loss scaling; it drops the last, smaller
batch of an epoch, here batches run on into the next one; Pillow's blur is three box blurs, here a Gaussian.

| recipe             | paper, section          | published | hardware of the published run  |
|--------------------|-------------------------|-----------|--------------------------------|
| imagenet_r50_100ep | CONFIG.md               | 68.9      | 16 V100                        |
| imagenet_r50_300ep | CONFIG.md               | 72.8      | 16 V100                        |
| imagenet_r50_1000ep| CONFIG.md               | 74.6      | 16 V100                        |
| imagenet_vits      | CONFIG.md               | 73.2      | 32 V100                        |
| imagenet_vitb      | CONFIG.md               | 76.7      | 64 V100                        |
| cifar10_vit_ti     | none: one GPU           | -         | 1 GPU                          |
| cifar10_cpu        | none: sized for 2 cores | -         | 2 CPU cores, minutes           |
| digits             | none: the demo          | -         | 2 CPU cores, minutes           |
"""

import difflib

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

PAPER = "Chen et al. 2021, arXiv 2104.02057"


def head(hidden_dims, norm: str) -> ConfigDict:
    """A projector or predictor of 256 outputs without biases."""
    return ConfigDict(
        {"hidden_dims": hidden_dims, "output_dim": 256, "norm": norm, "bias": False, "init": "torch"}
    )


def imagenet_r50(epochs: int = 100) -> ConfigDict:
    """ResNet-50, batch 4096, LARS, temperature 1.0, momentum 0.99 on a cosine to 1; 300 epochs at half the rate."""
    config = ConfigDict()
    config.seed = 0
    config.compute_dtype = "bfloat16"

    config.method = ConfigDict()
    config.method.name = "moco_v3"
    config.method.temperature = 1.0
    config.method.momentum = 0.996 if epochs == 1000 else 0.99
    config.method.momentum_schedule = "cosine"  # to 1 at the end of the run; or "constant", "linear"
    config.method.block_size = placeholder(int)  # None: chosen by the machine

    config.model = ConfigDict()
    config.model.name = "resnet"
    config.model.depth = 50
    config.model.width = 1.0
    config.model.stem = "imagenet"
    config.model.zero_init_residual = True
    config.model.init = "torch"
    config.model.norm_momentum = 0.9
    config.model.norm_groups = 1  # of the global batch, each with statistics of its own
    config.model.projector = head((4096,), "all_unscaled")
    config.model.predictor = head((4096,), "hidden")

    config.augment = ConfigDict()
    config.augment.name = "moco_v3"
    config.augment.size = 224
    config.augment.crop = True
    config.augment.crop_scale = (0.2, 1.0)
    config.augment.crop_ratio = (3 / 4, 4 / 3)
    config.augment.crop_distribution = "torchvision"
    config.augment.method = "bilinear"
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
    config.optim.learning_rate = 0.6 if epochs == 100 else 0.3
    config.optim.scaling = "linear"
    config.optim.momentum = 0.9
    config.optim.momentum_form = "lr_outside"
    config.optim.trust_coefficient = 1e-3
    config.optim.weight_decay = 1.5e-6 if epochs == 1000 else 1e-6
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


def imagenet_vit(size: str = "small") -> ConfigDict:
    """ViT-S/16 or -B/16 with 12 heads: 300 epochs of AdamW, temperature 0.2, the random patch projection frozen."""
    config = imagenet_r50(epochs=300)
    config.method.temperature = 0.2
    projector, predictor = head((4096, 4096), "all_unscaled"), head((4096,), "all_unscaled")
    config.model = vit(size, patch_size=16, heads=12, projector=projector, predictor=predictor)
    config.augment.crop_scale = (0.08, 1.0)
    config.optim = adamw(learning_rate=1.5e-4, weight_decay=0.1)
    config.optim.warmup_epochs = 40.0
    return config


def vit(size: str, *, patch_size: int, heads: int, projector: ConfigDict, predictor: ConfigDict) -> ConfigDict:
    """A vision transformer as in the official code: fixed positions, class token; 12 heads in small and base."""
    model = ConfigDict()
    model.name = "vit"
    model.size = size  # "tiny", "small", "base", "large" or "huge"
    model.patch_size = patch_size
    model.heads = heads  # 0: those usual for the size
    model.positions = "sincos_moco_v3"  # or "sincos_mae", "learned"
    model.class_token = True
    model.pool = "class"  # or "mean"
    model.init = "moco_v3"  # or "mae"
    model.drop_path = 0.0
    model.attention = placeholder(str)  # None: chosen by jax; or "xla", "cudnn"
    model.remat = False  # True: a block is computed again in the backward pass instead of being kept
    model.norm_momentum = 0.9
    model.norm_groups = 1
    model.projector = projector
    model.predictor = predictor
    return model


def adamw(learning_rate: float, weight_decay: float) -> ConfigDict:
    """AdamW as in the official code: biases and norms decay like the rest; the patch projection is frozen."""
    optim = imagenet_r50().optim
    optim.unlock()
    for name in ("momentum", "momentum_form", "trust_coefficient"):
        del optim[name]
    optim.name = "adamw"
    optim.learning_rate = learning_rate
    optim.weight_decay = weight_decay
    optim.groups = ConfigDict({"vectors": {}, "patch_projection": {"frozen_steps": -1}})
    return optim


def cifar10_vit_ti() -> ConfigDict:
    """ViT-Ti/4 on CIFAR-10 for one GPU: batch 512, 200 epochs."""
    config = imagenet_vit()
    projector, predictor = head((1024, 1024), "all_unscaled"), head((1024,), "all_unscaled")
    config.model = vit("tiny", patch_size=4, heads=0, projector=projector, predictor=predictor)
    small_images(config, 32)
    config.train.batch_size = 512
    config.train.epochs = 200
    config.optim.learning_rate = 5e-4
    config.optim.warmup_epochs = 10.0
    return config


def small_images(config: ConfigDict, size: int) -> None:
    """CIFAR-10 in place of ImageNet: no blur, crops of at least a fifth."""
    config.augment.size = size
    config.augment.crop_scale = (0.2, 1.0)
    config.augment.blur_probability = 0.0
    config.augment.second.blur_probability = 0.0
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
    config = imagenet_r50()
    small_images(config, 16)
    config.compute_dtype = "float32"
    config.method.temperature = 0.2
    config.model.depth = 18
    config.model.width = 0.25
    config.model.stem = "cifar"
    config.model.zero_init_residual = False
    config.model.projector = head((512,), "all_unscaled")
    config.model.predictor = head((512,), "hidden")
    config.data.source = "npz:data/cifar10"
    config.train.batch_size = 256
    config.train.epochs = 5
    config.train.log_every = 20
    config.train.eval_every = 0
    config.train.checkpoint_every = 200
    config.optim = adamw(learning_rate=0.004, weight_decay=1e-4)
    config.optim.scaling = "none"
    config.optim.warmup_epochs = 0.0
    config.optim.warmup_steps = 20
    return config


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
    "imagenet_r50_100ep": (lambda: imagenet_r50(100), PAPER, "68.9", "16 V100"),
    "imagenet_r50_300ep": (lambda: imagenet_r50(300), PAPER, "72.8", "16 V100"),
    "imagenet_r50_1000ep": (lambda: imagenet_r50(1000), PAPER, "74.6", "16 V100"),
    "imagenet_vits": (lambda: imagenet_vit("small"), PAPER, "73.2", "32 V100"),
    "imagenet_vitb": (lambda: imagenet_vit("base"), PAPER, "76.7", "64 V100"),
    "cifar10_vit_ti": (cifar10_vit_ti, "-", "-", "1 GPU"),
    "cifar10_cpu": (cifar10_cpu, "-", "-", "2 CPU cores, minutes"),
    "digits": (digits, "-", "-", "2 CPU cores, minutes"),
}


def get_config(recipe: str = "digits") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/moco_v3.py:digits`."""
    if recipe not in RECIPES:
        nearest = difflib.get_close_matches(recipe, RECIPES, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"its recipes are {', '.join(RECIPES)}"
        raise ValueError(f"configs/moco_v3.py has no recipe {recipe!r}; {hint}")
    return RECIPES[recipe][0]()
