"""BYOL: predict what a slowly moving target network makes of the other view; no negatives.

    python -m ssl_jax.pretrain --config=configs/byol.py:digits --workdir=runs/byol_digits

Paper: Grill et al. 2020, arXiv 2006.07733. Official code: google-deepmind/deepmind-research, commit f5de0ed, byol/: its
configs/byol.py has the presets for 40, 100, 300 and 1000 epochs, its README a run on Imagenette for one GPU. Published
numbers are linear-probe top-1 in percent on ImageNet's validation set; (online): of the classifier trained along.

The recipes `_code` and `_paper` differ in the first values: the code starts the last norm of every residual block at 0,
the paper at Haiku's 1; the code draws the target's parameters anew, in the paper's run they are taken to be copies.
The 100 and 40 epochs are presets without a published number. The paper's probe sweeps five learning rates on 10,000
training images held out, the code's takes one.

Where these recipes differ from the code: the shortcut of the first stage is the identity where shapes agree, which in
ResNet-50 they never do; its padding is TensorFlow's, at the end only where a stride of 2 makes it uneven; bfloat16.

`cifar10_r18` is solo-learn's recipe (vturrisi/solo-learn, commit 9187ea3, scripts/pretrain/cifar/byol.yaml), whose
number is that of the classifier trained along. `cifar10_r18_200ep` is that of lightly's benchmark (lightly-ai/lightly,
commit e8d317f), whose number is the best kNN (k = 200) of all epochs; its loss is a quarter of BYOL's.

| recipe                     | paper, section               | published     | hardware of the published run |
|----------------------------|------------------------------|---------------|-------------------------------|
| imagenet_r50_1000ep_paper  | table 1                      | 74.3          | 512 TPU v3, 8 hours           |
| imagenet_r50_300ep_paper   | appendix F                   | 72.5 (u)      | 512 TPU v3                    |
| imagenet_r50_1000ep_code   | README                       | 74.4          | 512 TPU v3, 8 hours           |
| imagenet_r50_300ep_code    | configs/byol.py              | -             | TPU v3                        |
| imagenet_r50_100ep_code    | configs/byol.py              | -             | TPU v3                        |
| imagenet_r50_40ep_code     | configs/byol.py              | -             | TPU v3                        |
| imagenette_r18_code        | README, fast iteration       | 92.3 (online) | 1 V100, 4 hours               |
| cifar10_r18                | solo-learn, README           | 92.6 (online) | 1 GPU                         |
| cifar10_r18_200ep          | lightly, benchmarks          | 86.8 (kNN)    | 1 RTX A6000, 108 minutes      |
| cifar10_cpu                | none: sized for 2 cores      | -             | 2 CPU cores, minutes          |
| digits                     | none: the demo               | -             | 2 CPU cores, minutes          |
"""

import difflib

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

PAPER = "Grill et al. 2020, arXiv 2006.07733"
CODE = "google-deepmind/deepmind-research, byol"
SOLO_LEARN = "vturrisi/solo-learn, cifar/byol.yaml"
LIGHTLY = "lightly-ai/lightly, CIFAR-10 benchmark"

# epochs: (base learning rate, weight decay, momentum of the target at the start)
PRESETS = {40: (0.45, 1e-6, 0.97), 100: (0.45, 1e-6, 0.99), 300: (0.3, 1e-6, 0.99), 1000: (0.2, 1.5e-6, 0.996)}


def head(hidden: int) -> ConfigDict:
    """A projector or predictor of 256 outputs; the first layer has a bias although a norm follows, the last none."""
    return ConfigDict(
        {
            "hidden_dims": (hidden,), "output_dim": 256, "norm": "hidden", "hidden_bias": True, "bias": False,
            "init": "haiku",
        }
    )  # fmt: skip


def imagenet_r50(epochs: int = 1000) -> ConfigDict:
    """ResNet-50, batch 4096, LARS, the target's momentum on a cosine to 1."""
    learning_rate, weight_decay, momentum = PRESETS[epochs]
    config = ConfigDict()
    config.seed = 0
    config.compute_dtype = "bfloat16"

    config.method = ConfigDict()
    config.method.name = "byol"
    config.method.momentum = momentum
    config.method.momentum_schedule = "cosine"  # to 1 at the end of the run; or "constant", "linear"
    config.method.target_init = "copy"  # of the trained parameters; or "own"
    config.method.loss_scale = 1.0
    config.method.predictor = True  # False: a study, all embeddings become one

    config.model = ConfigDict()
    config.model.name = "resnet"
    config.model.depth = 50
    config.model.width = 1.0
    config.model.stem = "imagenet"
    config.model.zero_init_residual = False
    config.model.init = "haiku"
    config.model.norm_momentum = 0.9
    config.model.norm_groups = 1  # of the global batch, each with statistics of its own
    config.model.projector = head(4096)
    config.model.predictor = head(4096)

    config.augment = ConfigDict()
    config.augment.name = "byol"
    config.augment.size = 224
    config.augment.crop = True
    config.augment.crop_scale = (0.08, 1.0)
    config.augment.crop_ratio = (3 / 4, 4 / 3)
    config.augment.crop_distribution = "clamped"
    config.augment.method = "bicubic"
    config.augment.flip_probability = 0.5
    config.augment.jitter = (0.4, 0.4, 0.2, 0.1)  # brightness, contrast, saturation, hue
    config.augment.jitter_strength = 1.0
    config.augment.jitter_probability = 0.8
    config.augment.brightness_mode = "additive"
    config.augment.greyscale_probability = 0.2
    config.augment.greyscale_first = False
    config.augment.blur_probability = 1.0
    config.augment.blur_sigma = (0.1, 2.0)
    config.augment.blur_kernel = placeholder(int)  # None: a tenth of the image
    config.augment.solarise_probability = 0.0
    config.augment.second = ConfigDict({"blur_probability": 0.1, "solarise_probability": 0.2})  # the second view
    config.augment.semantics = "tensorflow"  # how resizing, contrast, saturation and borders are defined
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
    config.optim.learning_rate = learning_rate
    config.optim.scaling = "linear"
    config.optim.momentum = 0.9
    config.optim.momentum_form = "lr_outside"
    config.optim.trust_coefficient = 1e-3
    config.optim.weight_decay = weight_decay
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


def imagenet_r50_code(epochs: int = 1000) -> ConfigDict:
    """What the official code trains: residual blocks start as the identity, the target from its own parameters."""
    config = imagenet_r50(epochs)
    config.model.zero_init_residual = True
    config.method.target_init = "own"
    return config


def imagenette_r18_code() -> ConfigDict:
    """The README's run for one GPU: ResNet-18 at 128 pixels, batch 256, 1000 epochs at ten times the preset's rate."""
    config = imagenet_r50_code(1000)
    config.model.depth = 18
    config.augment.size = 128
    config.data.source = "tfds:imagenette/160px-v2"
    config.data.canvas = 160
    config.train.batch_size = 256
    config.train.eval_every = 1850
    config.train.checkpoint_every = 925
    config.optim.learning_rate = 2.0
    config.optim.weight_decay = 1e-6
    return config


def cifar10_r18() -> ConfigDict:
    """solo-learn's BYOL: ResNet-18, 1000 epochs, batch 256, rates that are clipped; no blur."""
    config = imagenet_r50(1000)
    config.method.momentum = 0.99
    config.model.depth = 18
    config.model.stem = "cifar"
    config.model.init = "torch"
    for name in ("projector", "predictor"):
        config.model[name].bias = True
        config.model[name].init = "torch"
    config.augment.size = 32
    config.augment.crop_distribution = "torchvision"
    config.augment.brightness_mode = "multiplicative"
    config.augment.blur_probability = 0.0
    config.augment.second.blur_probability = 0.0
    config.augment.semantics = "torchvision"
    config.augment.mean = (0.4914, 0.4822, 0.4465)
    config.augment.std = (0.2470, 0.2435, 0.2616)
    config.data.source = "tfds:cifar10"
    config.data.canvas = 0
    config.data.workers = 0
    config.train.batch_size = 256
    config.train.eval_every = 1950
    config.train.checkpoint_every = 975
    config.optim.name = "larc"
    config.optim.learning_rate = 1.0
    config.optim.trust_coefficient = 0.02
    config.optim.trust_clip = True  # of a parameter: the learning rate at most
    config.optim.weight_decay = 1e-5
    config.optim.start_learning_rate = 3e-5
    config.eval.test_split = "test"
    config.eval.crop = 0.0
    config.eval.protocols = ("knn", "linear", "few_label")
    return config


def cifar10_r18_200ep() -> ConfigDict:
    """lightly's BYOL: ResNet-18, 200 epochs of SGD, batch 512, constant momentum, a quarter of the loss; no blur."""
    config = cifar10_r18()
    config.method.momentum_schedule = "constant"
    config.method.loss_scale = 0.25
    for name in ("projector", "predictor"):
        config.model[name].hidden_dims = (1024,)
        config.model[name].hidden_bias = False
    config.augment.method = "bilinear"
    config.augment.mean = (0.485, 0.456, 0.406)
    config.augment.std = (0.229, 0.224, 0.225)
    config.train.batch_size = 512
    config.train.epochs = 200
    config.train.eval_every = 970
    config.train.checkpoint_every = 485
    config.optim = sgd(learning_rate=0.12, weight_decay=5e-4)
    return config


def sgd(learning_rate: float, weight_decay: float) -> ConfigDict:
    """SGD over all parameters, on a cosine that moves once an epoch."""
    optim = ConfigDict()
    optim.name = "sgd"
    optim.learning_rate = learning_rate
    optim.scaling = "linear"
    optim.momentum = 0.9
    optim.weight_decay = weight_decay
    optim.warmup_epochs = 0.0
    optim.warmup_steps = 0
    optim.schedule = "cosine_epoch"
    optim.clip_norm = 0.0
    optim.groups = ConfigDict({"vectors": {}})
    return optim


def cifar10_cpu() -> ConfigDict:
    """CIFAR-10 in minutes on 2 CPU cores: ResNet-18 of a quarter of the width at 16 pixels; data: `npz:DIR`."""
    config = cifar10_r18()
    config.compute_dtype = "float32"
    config.method.momentum = 0.97
    config.model.width = 0.25
    config.model.projector = head(512)
    config.model.projector.norm = "all_unscaled"  # not BYOL's: without it all targets are much alike for many epochs
    config.model.predictor = head(512)
    config.augment.size = 16
    config.augment.crop_scale = (0.2, 1.0)
    config.augment.method = "bilinear"
    config.data.source = "npz:data/cifar10"
    config.train.batch_size = 128
    config.train.epochs = 3
    config.train.log_every = 20
    config.train.eval_every = 0
    config.train.checkpoint_every = 200
    config.optim = sgd(learning_rate=0.2, weight_decay=5e-4)
    config.optim.scaling = "none"
    config.optim.schedule = "cosine"
    config.optim.warmup_steps = 20
    return config


def digits() -> ConfigDict:
    """The demo: scikit-learn's 8 x 8 handwritten digits, embedded, no download."""
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
    config.train.batch_size = 256
    config.train.epochs = 80
    config.train.log_every = 10
    config.train.eval_every = 150
    config.train.checkpoint_every = 150
    del config.optim["momentum"]
    config.optim.name = "adamw"
    config.optim.learning_rate = 0.004
    config.optim.weight_decay = 1e-4
    return config


# name: (config, paper, published linear top-1 in percent, hardware)
RECIPES = {
    "imagenet_r50_1000ep_paper": (lambda: imagenet_r50(1000), PAPER, "74.3", "512 TPU v3, 8 hours"),
    "imagenet_r50_300ep_paper": (lambda: imagenet_r50(300), PAPER, "72.5 (unverified)", "512 TPU v3"),
    "imagenet_r50_1000ep_code": (lambda: imagenet_r50_code(1000), CODE, "74.4", "512 TPU v3, 8 hours"),
    "imagenet_r50_300ep_code": (lambda: imagenet_r50_code(300), CODE, "-", "TPU v3"),
    "imagenet_r50_100ep_code": (lambda: imagenet_r50_code(100), CODE, "-", "TPU v3"),
    "imagenet_r50_40ep_code": (lambda: imagenet_r50_code(40), CODE, "-", "TPU v3"),
    "imagenette_r18_code": (imagenette_r18_code, CODE, "92.3 (online)", "1 V100, 4 hours"),
    "cifar10_r18": (cifar10_r18, SOLO_LEARN, "92.6 (online)", "1 GPU"),
    "cifar10_r18_200ep": (cifar10_r18_200ep, LIGHTLY, "86.8 (kNN)", "1 RTX A6000, 108 minutes"),
    "cifar10_cpu": (cifar10_cpu, "-", "-", "2 CPU cores, minutes"),
    "digits": (digits, "-", "-", "2 CPU cores, minutes"),
}


def get_config(recipe: str = "digits") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/byol.py:digits`."""
    if recipe not in RECIPES:
        nearest = difflib.get_close_matches(recipe, RECIPES, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"its recipes are {', '.join(RECIPES)}"
        raise ValueError(f"configs/byol.py has no recipe {recipe!r}; {hint}")
    return RECIPES[recipe][0]()
