"""Every key that configs have in common, once, with its default: the pieces that `configs/*.py` are made of.

    config = defaults.experiment("simclr", temperature=0.1)     # locked: a misspelt key raises
    config.model = defaults.resnet(50, projector=defaults.mlp((2048,), 128, norm="all"))
    config.augment = defaults.views("simclr")
    config.optim = defaults.optim("lars", 0.3, weight_decay=1e-6, warmup_epochs=10.0)

`fill` gives these defaults to the config of a run that was begun before a key existed. What a key may hold:
`config_check.py`.
"""

import dataclasses
import difflib
from collections.abc import Callable, Mapping

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from ssl_jax.defaults.finetune import FINETUNE, FINETUNES
from ssl_jax.defaults.optim import EVERYTHING_DECAYS as EVERYTHING_DECAYS
from ssl_jax.defaults.optim import NOTHING_DECAYS_BUT_MATRICES, Group, Optim
from ssl_jax.defaults.views import CIFAR_MEAN, CIFAR_STD, VIEW, VIEWS
from ssl_jax.defaults.views import CIFAR_STD_MOCO as CIFAR_STD_MOCO

HEAD = {"bias": True, "hidden_bias": False, "activation": "relu"}  # of projectors and predictors
DROPPED = ("augment.name",)  # keys of earlier versions that nothing read
_NONE = {"blur_kernel": int, "mean": tuple, "std": tuple, "weight_decay": float, "weight_decay_end": float}


def experiment(method: str, **options) -> ConfigDict:
    """A config on ImageNet without a model: `options` are the keys of `config.method`. Locked."""
    config = ConfigDict()
    config.seed = 0
    config.compute_dtype = "float32"  # or "bfloat16"; "float64" with JAX_ENABLE_X64=1

    config.method = ConfigDict({"name": method, **options})
    config.model = ConfigDict()
    config.augment = ConfigDict()

    config.data = ConfigDict()
    config.data.source = "tfds:imagenet2012"
    config.data.split = "train"
    config.data.canvas = 256  # images are stored squashed to 256 x 256; crops are drawn in their original coordinates
    config.data.sample_rate = 16_000  # Hz, of sound: to which clips of other rates are resampled
    config.data.window = 20_480  # samples of sound that an example has; from a random place of a longer clip
    config.data.short = "join"  # clips below a window: joined with others of the same speaker; or "pad": with zeros
    config.data.workers = 8  # processes that read ahead; 0: a thread

    config.train = ConfigDict()
    config.train.batch_size = 256
    config.train.steps = 0  # steps or epochs: the other is 0
    config.train.epochs = 100
    config.train.microbatches = 1  # of the global batch, encoded one after another: exact large batches on small memory
    config.train.log_every = 50
    config.train.eval_every = 0
    config.train.checkpoint_every = 1000
    config.train.keep = 2  # of the newest checkpoints
    config.train.keep_every = 0  # checkpoints at multiples of this are kept for ever
    config.train.keep_best = False  # keep the best by `train.best` too, and save at evaluations that improve it
    config.train.best = "knn_top1"  # the metric of `keep_best`; of one that ends in "loss" the smallest
    config.train.wandb = ""  # a project of Weights & Biases; empty: off
    config.train.on_nonfinite = "stop"  # or "skip": keep the state, and stop after skip_limit such steps in a row
    config.train.skip_limit = 10
    config.train.init_from = ""  # a run whose parameters and batch statistics this one begins with
    config.train.init_parts = ()  # networks that are taken from it, such as ("encoder",); (): all

    config.optim = optim("sgd", 0.03)

    config.parallel = ConfigDict()
    config.parallel.mode = "shard_map"
    config.parallel.devices = placeholder(int)  # None: all of them
    config.parallel.strict = False  # bitwise equal on any device count that divides `blocks`; slower
    config.parallel.blocks = 8  # of rows in strict mode, a power of two; the bits depend on it

    config.eval = ConfigDict()
    config.eval.source = ""  # empty: config.data.source
    config.eval.train_split = "train"
    config.eval.test_split = "validation"
    config.eval.crop = 0.875
    config.eval.protocols = ("knn", "linear")
    config.eval.analogies = ""  # of words: a file of questions, `a b c d` a line
    config.eval.similarities = ""  # of words: a file of pairs and their similarity, tabs between
    config.eval.classes = ()  # names of the labels, for `zero_shot`; (): those that the data know
    config.eval.prompts = ("a photo of a {}.",)  # for `zero_shot`: the mean of these, with a name in place of {}
    config.eval.pool = ""  # "mean" or "class" in place of the encoder's own pooling of tokens, which "" keeps
    config.eval.layers = ()  # for `layers`: inner layers, such as "conv_3"; (): all that the encoder names
    config.eval.labels_per_class = 10  # for `few_label`
    config.eval.unlabelled = 255  # for `segmentation`: the value of pixels of a mask that do not count
    config.eval.finetune = ConfigDict(FINETUNE)
    return config.lock()


def resnet(depth: int, *, init: str = "torch", stem: str = "imagenet", zero_init_residual=False, **parts) -> ConfigDict:
    """`config.model` of a ResNet; `parts` are its heads, and other values of its keys."""
    keys = {"name": "resnet", "depth": depth, "width": 1.0, "stem": stem, "zero_init_residual": zero_init_residual}
    return _locked(keys | {"init": init, "norm_momentum": 0.9, "norm_groups": 1} | parts)


def vit(size: str, *, patch_size: int, **parts) -> ConfigDict:
    """`config.model` of a vision transformer; `parts` are its heads, and other values of its keys."""
    keys = {
        "name": "vit", "size": size,  # "nano", "micro", "tiny", "small", "base", "large" or "huge"
        "patch_size": patch_size, "heads": 0,  # 0: those usual for the size
        "positions": "learned",  # or "sincos_moco_v3", "sincos_mae"
        "class_token": True, "pool": "class",  # or "mean"
        "init": "moco_v3",  # or "mae", "dino"
        "drop_path": 0.0, "attention": placeholder(str),  # None: chosen by jax; or "xla", "cudnn"
        "remat": False,  # True: a block is computed again in the backward pass instead of being kept
        "norm_momentum": 0.9, "norm_groups": 1,
    }  # fmt: skip
    return _locked(keys | parts)


def text(vocabulary: int, *, length: int = 77, width: int = 512, depth: int = 12, heads: int = 8, **keys) -> ConfigDict:
    """`config.model.text`: the text tower of CLIP, or with `keys` otherwise."""
    own = {"name": "text", "vocabulary": vocabulary, "length": length, "width": width, "depth": depth, "heads": heads}
    own |= {"causal": True, "pool": "end", "activation": "quick_gelu", "init": "clip", "epsilon": 1e-5, "remat": False}
    return _locked(own | keys)


def mlp(hidden_dims: tuple, output_dim: int, *, norm: str = "none", init: str = "torch", **keys) -> ConfigDict:
    """A projector or predictor, see `methods/parts/networks.py`, which says what its keys mean."""
    own = {"hidden_dims": tuple(hidden_dims), "output_dim": output_dim, "norm": norm, "init": init}
    return _locked(HEAD | own | keys)


def views(name: str, **changes) -> ConfigDict:
    """`config.augment` of a published augmentation, with all arguments of `augment.views.view`."""
    return _locked(VIEW | VIEWS[name] | changes)


def optim(name: str, learning_rate: float, *, groups: Mapping | None = None, **changes) -> ConfigDict:
    """`config.optim` with all keys of `Optim`; by default weight decay and trust ratios are for matrices alone."""
    groups = NOTHING_DECAYS_BUT_MATRICES if groups is None else groups
    held = {field.name: field.default for field in dataclasses.fields(Optim) if field.name != "groups"}
    held |= {"name": name, "learning_rate": learning_rate} | changes
    group = {field.name: field.default for field in dataclasses.fields(Group)}
    return _locked(held | {"groups": {name: group | dict(keys) for name, keys in groups.items()}})


def finetuning(name: str) -> dict:
    """`config.eval.finetune` of published fine-tuning: a name of `finetune.FINETUNES`; "small" for small data."""
    return FINETUNE | FINETUNES[name]


def intervals(config: ConfigDict, examples: int, *, evaluate: int, checkpoint: int) -> None:
    """Sets how often a run evaluates and saves, given in epochs of so many examples."""
    steps = examples // config.train.batch_size
    config.train.eval_every, config.train.checkpoint_every = evaluate * steps, checkpoint * steps


def on_cifar10(config: ConfigDict, size: int = 32, std=CIFAR_STD) -> None:
    """CIFAR-10 in place of ImageNet: no blur, its mean and `std` where images are normalised, its splits."""
    config.augment.size, config.augment.blur_probability = size, 0.0
    if "second" in config.augment:
        config.augment.second.blur_probability = 0.0
    if config.augment.mean is not None:
        config.augment.mean, config.augment.std = CIFAR_MEAN, std
    config.data.update(source="tfds:cifar10", canvas=0, workers=0)
    config.eval.update(test_split="test", crop=0.0, protocols=("knn", "linear", "few_label"))


def on_two_cores(config: ConfigDict, epochs: int, batch_size: int) -> None:
    """Minutes on 2 CPU cores: a ResNet of a quarter of the width at 16 pixels; data: `npz:DIR`, see the README."""
    config.compute_dtype = "float32"
    if "width" in config.model:
        config.model.width = 0.25
    config.augment.update(size=16, crop_scale=(0.2, 1.0))
    config.data.source = "npz:data/cifar10"
    config.train.update(epochs=epochs, batch_size=batch_size, log_every=20, eval_every=0, checkpoint_every=200)


def adamw_on_two_cores(learning_rate: float = 0.004, **changes) -> ConfigDict:
    """AdamW with a warm-up of 20 steps: what short runs of small networks train with."""
    values = {"scaling": "none", "weight_decay": 1e-4, "warmup_steps": 20, "groups": EVERYTHING_DECAYS} | changes
    return optim("adamw", learning_rate, **values)


def on_digits(config: ConfigDict) -> None:
    """scikit-learn's 8 x 8 handwritten digits, embedded, no download: one channel, so no saturation and no hue."""
    if "width" in config.model:
        config.model.width = 0.5
    config.augment.update(size=8, flip_probability=0.0, jitter=(0.8, 0.8, 0.0, 0.0), greyscale_probability=0.0)
    config.augment.solarise_probability = 0.0
    if "second" in config.augment:
        config.augment.second.solarise_probability = 0.0
    if config.augment.mean is not None:
        config.augment.mean, config.augment.std = (0.5,), (0.5,)
    config.data.source = "digits"
    config.train.update(steps=0, epochs=80, log_every=10, eval_every=150, checkpoint_every=150)


def smallest(config: ConfigDict) -> ConfigDict:
    """The smallest run of a recipe for digits: a ResNet of two stages with a quarter of the channels, 5 steps of 16."""
    config.compute_dtype = "float32"
    if config.model.name == "resnet":
        config.model.depth, config.model.width = 6, 1 / 4
        if config.method.get("layer", "") == "stage_3":
            config.method.layer = "stage_2"  # it has no third
    if config.model.name == "vit":
        config.model.size = "nano"
    if "norm_groups" in config.model:
        config.model.norm_groups = min(config.model.norm_groups, 2)  # a norm of two values would be a step function
    config.train.update(batch_size=16, steps=5, epochs=0, log_every=1, eval_every=0, checkpoint_every=0)
    config.optim.update(warmup_steps=0, warmup_epochs=0.0)
    config.data.update(source="digits", canvas=0, workers=0)
    return config


def choose(recipes: Mapping, name: str, file: str, tiny: Callable[[], ConfigDict] | None = None) -> ConfigDict:
    """The config of a recipe; "tiny", the smallest run, is for tests and not listed.

    Raises:
      ValueError: there is none of that name; names the nearest.
    """
    if name == "tiny" and tiny is not None:
        return tiny().lock()
    if name not in recipes:
        nearest = difflib.get_close_matches(name, recipes, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"its recipes are {', '.join(recipes)}"
        raise ValueError(f"configs/{file.rpartition('/')[2]} has no recipe {name!r}; {hint}")
    return recipes[name][0]().lock()


def fill(config: Mapping) -> dict:
    """The config of a run as nested dicts, with the defaults of keys that did not exist when it was begun."""
    filled = {name: dict(value) if isinstance(value, Mapping) else value for name, value in config.items()}
    for section in ("data", "train", "optim", "parallel", "eval"):
        common = experiment("")[section]
        missing = {name: value for name, value in common.items() if name != "groups"}
        filled[section] = missing | filled.get(section, {})
    filled["eval"]["finetune"] = FINETUNE | dict(filled["eval"]["finetune"])
    if "crop_scale" in filled.get("augment", {}):
        filled["augment"] = {name: v for name, v in (VIEW | filled["augment"]).items() if name != "name"}
    return filled


def is_default(name: str, value) -> bool:
    """Whether the value of a dotted key is what a run has that was begun before the key existed."""
    section, _, key = name.partition(".")
    if key.startswith("groups."):
        key, held = name.split(".")[-1], {field.name: field.default for field in dataclasses.fields(Group)}
    elif section == "augment":
        held = VIEW
    elif section in ("data", "train", "optim", "parallel", "eval"):
        held = experiment("")[section].to_dict()
        if key.startswith("finetune."):
            key, held = key.removeprefix("finetune."), FINETUNE
    elif section == "model":
        key, held = name.split(".")[-1], HEAD
    else:
        return False
    default = held.get(key)
    return key in held and (list(default) if isinstance(default, tuple) else default) == value


def _locked(values: Mapping) -> ConfigDict:
    """A locked config of nested dicts; None is a placeholder of the type that the key has otherwise."""

    def read(values):
        return {
            name: read(value) if isinstance(value, Mapping) and not isinstance(value, ConfigDict)
            else placeholder(_NONE[name]) if value is None else value
            for name, value in values.items()
        }  # fmt: skip

    return ConfigDict(read(values)).lock()
