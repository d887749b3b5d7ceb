"""DINO: a student predicts its own momentum encoder from small crops of an image; ResNets and vision transformers.

    python -m ssl_jax.pretrain --config=configs/dino.py:digits --workdir=runs/dino_digits

Paper: Caron et al. 2021, arXiv 2104.14294. Official code: facebookresearch/dino, commit 7c446df; the recipes are the
commands of its README and the defaults of main_dino.py. Published numbers are linear-probe top-1 in percent on
ImageNet's validation set, of the teacher; (online): of the classifier trained along.

The paper raises the teacher's temperature to 0.07 and has batch 1024; the command of `imagenet_vits16_100ep_code`
leaves it at 0.04 and has batch 512, that of `imagenet_vits16_300ep` is as the paper. The README gives no number for
ResNet-50 at 100 epochs: its 75.3 are of a run with LARS at batch 4080, whose other settings are not in the repository.

Where these recipes differ from the code: bfloat16 in place of float16 with loss scaling; the warm-up is k / W of the
rate at step k and not k / (W - 1); it drops the last, smaller batch of an epoch, here batches run on into the next one;
Pillow's blur is three box blurs, here a Gaussian.

`cifar10_r18` is solo-learn's recipe (vturrisi/solo-learn, commit 9187ea3, scripts/pretrain/cifar/dino.yaml): two crops
alone, a LARS that never exceeds the learning rate (`trust_clip`), no blur. Its batch statistics are those of one view,
here those of both.

| recipe                     | paper, section          | published      | hardware of the published run |
|----------------------------|-------------------------|----------------|-------------------------------|
| imagenet_vits16_100ep_code | README, vanilla         | 74.0           | 8 GPUs, 1.75 days             |
| imagenet_vits16_300ep      | README, boosting        | 76.0           | 16 GPUs, 2.6 days             |
| imagenet_r50_100ep_code    | README, convnets        | -              | 8 GPUs                        |
| cifar10_r18                | solo-learn, README      | 89.5 (online)  | 1 GPU                         |
| cifar10_cpu                | none: sized for 2 cores | -              | 2 CPU cores, minutes          |
| digits                     | none: the demo          | -              | 2 CPU cores, minutes          |
"""

import difflib

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

PAPER = "Caron et al. 2021, arXiv 2104.14294"
SOLO_LEARN = "vturrisi/solo-learn, cifar/dino.yaml"


def head(hidden: int, norm: str = "none") -> ConfigDict:
    """Three layers with GELU, whose outputs are brought to unit length; "hidden" is the official `use_bn_in_head`."""
    return ConfigDict(
        {"hidden_dims": (hidden, hidden), "output_dim": 256, "norm": norm, "activation": "gelu", "init": "dino"}
    )


def imagenet_vits16(epochs: int = 100) -> ConfigDict:
    """ViT-S/16: 2 crops of 224 and 8 of 96 pixels; for 300 epochs batch 1024, a warmer teacher and trained gains."""
    long = epochs > 100
    config = ConfigDict()
    config.seed = 0
    config.compute_dtype = "bfloat16"

    config.method = ConfigDict()
    config.method.name = "dino"
    config.method.student_temperature = 0.1
    config.method.teacher_temperature = 0.07 if long else 0.04
    config.method.warmup_teacher_temperature = 0.04  # of the first epoch; it then rises from epoch to epoch
    config.method.warmup_teacher_temperature_epochs = 30 if long else 0
    config.method.centre = True  # False: no centring, which collapses
    config.method.centre_momentum = 0.9
    config.method.momentum = 0.996
    config.method.momentum_schedule = "cosine"  # to 1 at the end of the run; or "constant", "linear"

    config.model = ConfigDict()
    config.model.name = "vit"
    config.model.size = "small"  # "tiny", "small", "base", "large" or "huge"
    config.model.patch_size = 16
    config.model.heads = 0  # 0: those usual for the size
    config.model.positions = "learned"  # interpolated for small crops
    config.model.class_token = True
    config.model.pool = "class"  # or "mean"
    config.model.init = "dino"  # or "moco_v3", "mae"
    config.model.drop_path = 0.1  # of the student alone
    config.model.attention = placeholder(str)  # None: chosen by jax; or "xla", "cudnn"
    config.model.remat = False  # True: a block is computed again in the backward pass instead of being kept
    config.model.norm_momentum = 0.9
    config.model.norm_groups = 1
    config.model.projector = head(2048)
    # norm_last_layer of the official code is learn_gain=False
    config.model.last_layer = ConfigDict({"output_dim": 65536, "learn_gain": long})

    config.augment = ConfigDict()
    config.augment.name = "dino"
    config.augment.size = 224
    config.augment.crop = True
    config.augment.crop_scale = (0.4, 1.0)
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
    config.augment.local = ConfigDict(
        {"count": 8, "size": 96, "crop_scale": (0.05, 0.4), "blur_probability": 0.5}
    )  # the small crops
    config.augment.semantics = "torchvision"  # how resizing, contrast, saturation and borders are defined
    config.augment.mean = (0.485, 0.456, 0.406)
    config.augment.std = (0.229, 0.224, 0.225)

    config.data = ConfigDict()
    config.data.source = "tfds:imagenet2012"
    config.data.split = "train"
    config.data.canvas = 256  # images are stored squashed to 256 x 256; crops are drawn in their original coordinates
    config.data.workers = 8

    config.train = ConfigDict()
    config.train.batch_size = 1024 if long else 512
    config.train.steps = 0
    config.train.epochs = epochs
    config.train.microbatches = 1  # of the global batch, encoded one after another: exact large batches on small memory
    config.train.log_every = 50
    config.train.eval_every = 12510
    config.train.checkpoint_every = 2502
    config.train.keep = 2  # of the newest checkpoints
    config.train.keep_every = 0  # checkpoints at multiples of this are kept for ever
    config.train.keep_best = False  # keep the best by online kNN too, and save at evaluations that improve it
    config.train.on_nonfinite = "stop"  # or "skip": keep the state, and stop after skip_limit such steps in a row
    config.train.skip_limit = 10
    config.train.init_from = ""

    config.optim = ConfigDict()
    config.optim.name = "adamw"
    config.optim.learning_rate = 5e-4
    config.optim.scaling = "linear"
    config.optim.weight_decay = 0.04
    config.optim.weight_decay_end = 0.4
    config.optim.warmup_epochs = 10.0
    config.optim.warmup_steps = 0
    config.optim.schedule = "cosine"
    config.optim.end_learning_rate = 1e-6
    config.optim.clip_norm = 3.0
    config.optim.clip_per_parameter = True
    frozen_steps = 1251 if long else 2502  # the first epoch
    config.optim.groups = ConfigDict({"vectors": {"weight_decay": 0.0}, "last_layer": {"frozen_steps": frozen_steps}})

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


def imagenet_r50() -> ConfigDict:
    """ResNet-50 for 100 epochs: SGD 0.06, constant weight decay, larger and smaller crops than the transformers'."""
    config = imagenet_vits16()
    config.model = resnet(50, "imagenet", head(2048), outputs=65536)
    config.augment.crop_scale = (0.14, 1.0)
    config.augment.local.crop_scale = (0.05, 0.14)
    optim = config.optim
    optim.name = "sgd"
    optim.learning_rate = 0.03
    optim.momentum = 0.9
    optim.weight_decay = optim.weight_decay_end = 1e-4
    return config


def resnet(depth: int, stem: str, projector: ConfigDict, outputs: int) -> ConfigDict:
    """A ResNet with torchvision's initial values."""
    model = ConfigDict()
    model.name = "resnet"
    model.depth = depth
    model.width = 1.0
    model.stem = stem
    model.zero_init_residual = False
    model.init = "torch"
    model.norm_momentum = 0.9
    model.norm_groups = 1  # of the global batch, each with statistics of its own
    model.projector = projector
    model.last_layer = ConfigDict({"output_dim": outputs, "learn_gain": False})
    return model


def cifar10() -> ConfigDict:
    """solo-learn's ResNet-18: batch 256, 1000 epochs, two crops, 4096 outputs, momentum 0.9995."""
    config = imagenet_vits16()
    config.method.teacher_temperature = 0.07
    config.method.momentum = 0.9995
    config.model = resnet(18, "cifar", head(2048), outputs=4096)
    config.augment.size = 32
    config.augment.crop_scale = (0.08, 1.0)
    config.augment.blur_probability = 0.0
    config.augment.second.blur_probability = 0.0
    config.augment.local = ConfigDict({"count": 0, "size": 16, "crop_scale": (0.05, 0.4)})
    config.augment.mean = (0.4914, 0.4822, 0.4465)
    config.augment.std = (0.2470, 0.2435, 0.2616)
    config.data.source = "tfds:cifar10"
    config.data.canvas = 0
    config.data.workers = 0
    config.train.batch_size = 256
    config.train.epochs = 1000
    config.train.eval_every = 1950
    config.train.checkpoint_every = 975
    config.optim = ConfigDict()
    config.optim.name = "larc"
    config.optim.learning_rate = 0.3
    config.optim.scaling = "linear"
    config.optim.momentum = 0.9
    config.optim.trust_coefficient = 0.02
    config.optim.trust_clip = True  # of a parameter: the learning rate at most
    config.optim.weight_decay = 1e-6
    config.optim.warmup_epochs = 10.0
    config.optim.warmup_steps = 0
    config.optim.schedule = "cosine"
    config.optim.start_learning_rate = 3e-5
    config.optim.clip_norm = 0.0
    config.optim.groups = ConfigDict(
        {"vectors": {"weight_decay": 0.0, "trust_ratio": False}, "last_layer": {"frozen_steps": 195}}
    )
    config.eval.test_split = "test"
    config.eval.crop = 0.0
    config.eval.protocols = ("knn", "linear", "few_label")
    return config


def cifar10_cpu() -> ConfigDict:
    """CIFAR-10 in minutes on 2 CPU cores: ResNet-18 of a quarter of the width at 16 pixels; data: `npz:DIR`."""
    config = cifar10()
    config.compute_dtype = "float32"
    config.method.teacher_temperature = 0.02  # sharper than published: logits differ little at first
    config.method.momentum = 0.99
    config.method.momentum_schedule = "constant"  # so that at the end of a short run the teacher is not far behind
    config.model = resnet(18, "cifar", head(512, "hidden"), outputs=512)
    config.model.projector.output_dim = 64  # few, so that logits differ enough for the temperatures from the start
    config.model.width = 0.25
    config.augment.size = 16
    config.augment.crop_scale = (0.2, 1.0)
    config.augment.local = ConfigDict({"count": 0, "size": 8, "crop_scale": (0.05, 0.4)})  # at 8 pixels they do harm
    config.data.source = "npz:data/cifar10"
    config.train.batch_size = 128
    config.train.steps, config.train.epochs = 1200, 0  # 3.1 epochs
    config.train.log_every = 20
    config.train.eval_every = 0
    config.train.checkpoint_every = 200
    config.optim = ConfigDict()
    config.optim.name = "adamw"
    config.optim.learning_rate = 0.002
    config.optim.scaling = "none"
    config.optim.weight_decay = 1e-4
    config.optim.warmup_epochs = 0.0
    config.optim.warmup_steps = 150  # with less, all images have much the same embedding for hundreds of steps
    config.optim.schedule = "cosine"
    config.optim.clip_norm = 3.0
    config.optim.clip_per_parameter = True
    config.optim.groups = ConfigDict(
        {"vectors": {"weight_decay": 0.0}, "last_layer": {"frozen_steps": 2000}}  # to the end
    )
    return config


def digits() -> ConfigDict:
    """scikit-learn's 8 x 8 handwritten digits, embedded, no download."""
    config = cifar10_cpu()
    config.method.teacher_temperature = 0.04
    config.method.momentum_schedule = "cosine"
    config.model.width = 0.5
    config.augment.size = 8
    config.augment.local = ConfigDict({"count": 2, "size": 4, "crop_scale": (0.05, 0.4)})
    config.augment.flip_probability = 0.0
    config.augment.jitter = (0.8, 0.8, 0.0, 0.0)  # digits have one channel: no saturation, no hue
    config.augment.greyscale_probability = 0.0
    config.augment.second.solarise_probability = 0.0
    config.augment.mean = (0.5,)
    config.augment.std = (0.5,)
    config.data.source = "digits"
    config.train.batch_size = 256
    config.train.steps, config.train.epochs = 0, 80
    config.train.log_every = 10
    config.train.eval_every = 150
    config.train.checkpoint_every = 150
    config.optim.learning_rate = 0.004
    config.optim.warmup_steps = 20
    config.optim.groups.last_layer.frozen_steps = 20
    return config


# name: (config, paper, published linear top-1 in percent, hardware)
RECIPES = {
    "imagenet_vits16_100ep_code": (lambda: imagenet_vits16(100), PAPER, "74.0", "8 GPUs, 1.75 days"),
    "imagenet_vits16_300ep": (lambda: imagenet_vits16(300), PAPER, "76.0", "16 GPUs, 2.6 days"),
    "imagenet_r50_100ep_code": (imagenet_r50, PAPER, "-", "8 GPUs"),
    "cifar10_r18": (cifar10, SOLO_LEARN, "89.5 (online)", "1 GPU"),
    "cifar10_cpu": (cifar10_cpu, "-", "-", "2 CPU cores, minutes"),
    "digits": (digits, "-", "-", "2 CPU cores, minutes"),
}


def get_config(recipe: str = "digits") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/dino.py:digits`."""
    if recipe not in RECIPES:
        nearest = difflib.get_close_matches(recipe, RECIPES, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"its recipes are {', '.join(RECIPES)}"
        raise ValueError(f"configs/dino.py has no recipe {recipe!r}; {hint}")
    return RECIPES[recipe][0]()
