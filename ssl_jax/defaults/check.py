"""What every common key may be, and `check`, which refuses a config that has anything else."""

import difflib
from collections.abc import Iterator, Mapping

from ssl_jax.defaults.rules import (
    BELOW_ONE,
    BOOL,
    NAME,
    NOT_NEGATIVE,
    POSITIVE,
    PROBABILITY,
    SOURCE,
    TEXT,
    Rule,
    one_of,
    or_none,
    rising,
    several,
    whole,
)  # fmt: skip

DATA = {
    "source": SOURCE, "split": NAME, "canvas": whole(0, 8192), "sample_rate": whole(1), "window": whole(1),
    "short": one_of("join", "pad"), "workers": whole(0),
}  # fmt: skip
TRAIN = {
    "batch_size": whole(1), "steps": whole(0), "epochs": NOT_NEGATIVE, "microbatches": whole(1), "log_every": whole(0),
    "eval_every": whole(0), "checkpoint_every": whole(0), "keep": whole(1), "keep_every": whole(0), "keep_best": BOOL,
    "best": NAME, "wandb": TEXT, "on_nonfinite": one_of("stop", "skip"), "skip_limit": whole(1), "init_from": TEXT,
    "init_parts": several(NAME),
}  # fmt: skip
OPTIM = {
    "name": one_of("sgd", "lars", "larc", "adam", "adamw"), "learning_rate": NOT_NEGATIVE,
    "scaling": one_of("none", "linear", "sqrt"),
    "weight_decay": NOT_NEGATIVE, "weight_decay_end": or_none(NOT_NEGATIVE),
    "schedule": one_of("cosine", "cosine_epoch", "linear", "linear_bert", "step", "constant"),
    "warmup_steps": or_none(whole(0)),
    "warmup_epochs": or_none(NOT_NEGATIVE), "start_learning_rate": NOT_NEGATIVE, "end_learning_rate": NOT_NEGATIVE,
    "boundaries": several(NOT_NEGATIVE), "decay_factor": POSITIVE, "momentum": BELOW_ONE, "nesterov": BOOL,
    "b1": BELOW_ONE, "b2": BELOW_ONE, "eps": POSITIVE, "bias_correction": BOOL,
    "trust_coefficient": POSITIVE, "trust_clip": BOOL,
    "momentum_form": one_of("lr_inside", "lr_outside"), "clip_norm": or_none(NOT_NEGATIVE), "clip_per_parameter": BOOL,
}  # fmt: skip
GROUP = {
    "learning_rate_factor": NOT_NEGATIVE, "constant_learning_rate": BOOL, "weight_decay": or_none(NOT_NEGATIVE),
    "trust_ratio": BOOL, "frozen_steps": whole(-1),
}  # fmt: skip
PARALLEL = {
    "mode": one_of("shard_map", "pmap"), "devices": or_none(whole(1)), "strict": BOOL, "blocks": whole(1)
}  # fmt: skip
EVAL = {
    "source": TEXT, "train_split": NAME, "test_split": NAME, "crop": PROBABILITY, "protocols": several(NAME),
    "analogies": TEXT, "similarities": TEXT,
    "classes": several(NAME), "prompts": several(NAME, at_least=1), "pool": one_of("", "mean", "class"),
    "layers": several(NAME), "labels_per_class": whole(1), "unlabelled": whole(0, 255),
}  # fmt: skip
FINETUNE = {
    "epochs": POSITIVE, "batch_size": whole(1), "learning_rate": NOT_NEGATIVE, "warmup_epochs": NOT_NEGATIVE,
    "end_learning_rate": NOT_NEGATIVE, "weight_decay": NOT_NEGATIVE, "layer_decay": POSITIVE, "drop_path": BELOW_ONE,
    "label_smoothing": BELOW_ONE, "pool": one_of("", "mean", "class"), "mixup": NOT_NEGATIVE,
    "cutmix": NOT_NEGATIVE, "crop_min": PROBABILITY, "flip_probability": PROBABILITY,
}  # fmt: skip
VIEW = {
    "size": whole(1, 8192), "crop": BOOL, "pad": whole(0), "crop_scale": rising(PROBABILITY),
    "crop_ratio": rising(POSITIVE),
    "crop_distribution": one_of("torchvision", "tensorflow", "clamped", "pixels"),
    "method": one_of("bicubic", "bilinear"), "flip_probability": PROBABILITY, "jitter": several(NOT_NEGATIVE, 4),
    "jitter_strength": NOT_NEGATIVE, "jitter_probability": PROBABILITY, "jitter_order": one_of("random", "fixed"),
    "brightness_mode": one_of("multiplicative", "additive"), "greyscale_probability": PROBABILITY,
    "greyscale_first": BOOL, "blur_probability": PROBABILITY, "blur_sigma": rising(POSITIVE),
    "blur_kernel": or_none(whole(1)), "solarise_probability": PROBABILITY, "solarise_threshold": PROBABILITY,
    "semantics": one_of("torchvision", "tensorflow"), "mean": or_none(several(PROBABILITY, at_least=1)),
    "std": or_none(several(POSITIVE, at_least=1)),
}  # fmt: skip
NORMS = {"norm_momentum": PROBABILITY, "norm_groups": whole(1)}
MODELS = {  # what the encoders of `ssl_jax/models/` read; a method may have more beside it
    "resnet": {
        "depth": one_of(6, 10, 18, 34, 50, 101, 152), "width": POSITIVE, "stem": one_of("imagenet", "cifar"),
        "zero_init_residual": BOOL, "init": NAME, **NORMS,
    },
    "resnet_v2": {
        "blocks": several(whole(1), at_least=1), "channels": several(whole(1), at_least=1),
        "outputs": several(whole(1), at_least=1), "width": POSITIVE, "stem": one_of("imagenet", "cifar"), "init": NAME,
        **NORMS,
    },
    "clip_resnet": {"blocks": several(whole(1), 4), "width": POSITIVE, "output_dim": whole(1), "init": NAME, **NORMS},
    "vit": {
        "size": one_of("nano", "micro", "tiny", "small", "base", "large", "huge"), "patch_size": whole(1),
        "heads": whole(0), "positions": one_of("learned", "sincos_moco_v3", "sincos_mae"), "class_token": BOOL,
        "pool": one_of("class", "mean", "map"), "init": one_of("moco_v3", "mae", "dino", "clip", "siglip"),
        "drop_path": BELOW_ONE,
        "attention": or_none(one_of("xla", "cudnn")), "remat": BOOL, **NORMS,
    },
    "nin": {"blocks": one_of(3, 4, 5), "width": POSITIVE, "init": NAME, **NORMS},
    "alexnet": {"width": POSITIVE, "fully_connected": whole(0), "init": NAME, **NORMS},
    "alexnet_map": {"width": POSITIVE, "groups": BOOL, "init": NAME, **NORMS},
    "dilated_vgg": {"width": POSITIVE, "init": NAME, **NORMS},
    "caffenet": {"jigsaw": BOOL, "width": POSITIVE, "init": NAME, **NORMS},
    "encoder_decoder": {"channels": several(whole(1)), "bottleneck": whole(1), **NORMS},
}  # fmt: skip
HEAD = {"hidden_dims": several(whole(1)), "output_dim": whole(1), "bias": BOOL, "hidden_bias": BOOL}
SECTIONS = {"data": DATA, "train": TRAIN, "optim": OPTIM, "parallel": PARALLEL, "eval": EVAL}
GENERAL = {"seed": whole(0, 2**32 - 1), "compute_dtype": one_of("float32", "bfloat16", "float64")}
OWN = {"": {*SECTIONS, "method", "model", "augment"}, "optim.": {"groups"}, "eval.": {"finetune"}}  # sections inside


def check(config) -> None:
    """Refuses a config with a common key that is missing, unknown, or has a value that it may not have.

    Args:
      config: the whole config. `config.method`, and what `config.model` and `config.augment` have beyond the keys of
        encoders, heads and views, are the method's business.

    Raises:
      ValueError: with the key's path, what was given and what is expected.
    """
    config = config.to_dict() if hasattr(config, "to_dict") else config
    for name in OWN[""]:
        if not isinstance(config.get(name), Mapping):
            raise ValueError(f"config.{name} is missing; begin a recipe with ssl_jax.defaults.experiment")
    for path, held, rules, complete in _parts(config):
        for name, rule in rules.items():
            if name in held and not rule.allows(held[name]):
                raise ValueError(f"config.{path}{name} is {held[name]!r}; expected {rule.says}")
            if complete and name not in held:
                raise ValueError(f"config.{path}{name} is missing; expected {rule.says}")
        for name in held.keys() - rules.keys() - OWN.get(path, set()) if complete else ():
            near = difflib.get_close_matches(name, rules, n=1)
            hint = f"did you mean config.{path}{near[0]}?" if near else f"its keys are {', '.join(rules)}"
            raise ValueError(f"config.{path}{name} is unknown, and nothing reads it; {hint}")


def _parts(config: Mapping) -> Iterator[tuple[str, Mapping, dict[str, Rule], bool]]:
    """The sections of a config: path, values, rules, and whether their keys are these and no others."""
    yield "", config, GENERAL, True
    for name, rules in SECTIONS.items():
        yield f"{name}.", config[name], rules, True
    for name, group in config["optim"].get("groups", {}).items():
        yield f"optim.groups.{name}.", group, GROUP, True
    yield "eval.finetune.", config["eval"]["finetune"], FINETUNE, True
    yield "model.", config["model"], MODELS.get(config["model"].get("name"), {}), False
    for name, part in config["model"].items():
        if isinstance(part, Mapping):
            yield f"model.{name}.", part, HEAD, False
    yield "augment.", config["augment"], VIEW, False
    for name in ("second", "local"):
        if name in config["augment"]:
            yield f"augment.{name}.", config["augment"][name], VIEW, False
