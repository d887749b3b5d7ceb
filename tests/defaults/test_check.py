"""Every recipe passes `check`; a wrong value is refused with its path, what was given and what is expected."""

import pytest

from ssl_jax.defaults.check import check
from ssl_jax.recipes import CONFIGS, config_module

ALL = [(path.stem, name) for path in sorted(CONFIGS.glob("*.py")) for name in config_module(path).RECIPES]


def digits() -> dict:
    return config_module(CONFIGS / "simclr.py").get_config("digits").to_dict()


@pytest.mark.parametrize(("method", "recipe"), ALL)
def test_every_recipe_passes(method, recipe):
    check(config_module(CONFIGS / f"{method}.py").get_config(recipe))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("optim.learning_rate", float("nan")), ("optim.weight_decay", -1.0), ("optim.momentum", -0.1),
        ("optim.name", "sdg"), ("optim.groups.vectors.frozen_steps", -2), ("augment.flip_probability", 2.0),
        ("augment.crop_scale", (1.0, 0.2)), ("augment.crop_scale", (0.2,)), ("augment.jitter", (0.8, 0.8)),
        ("augment.size", 0), ("augment.std", (0.0,)), ("train.log_every", -1), ("train.batch_size", True),
        ("model.projector.hidden_dims", (0,)), ("data.canvas", 1_000_000), ("data.source", "npz:"),
        ("eval.protocols", "knn"), ("parallel.mode", "vmap"), ("seed", -1), ("seed", 10**22), ("seed", 0.5),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused(path, value):
    config = digits()
    *folders, last = path.split(".")
    inner = config
    for folder in folders:
        inner = inner[folder]
    assert last in inner
    inner[last] = value
    with pytest.raises(ValueError, match=rf"config\.{path} is .*; expected "):
        check(config)


@pytest.mark.parametrize(
    ("method", "recipe", "key", "value"),
    [
        ("colorization", "imagenet_vgg_paper", "width", 0.0), ("colorization", "imagenet_alexnet_code", "groups", 1),
        ("context_prediction", "imagenet_caffenet_code", "width", -1.0), ("jigsaw", "imagenet_cfn", "jigsaw", "yes"),
        ("inpainting", "digits", "bottleneck", 0), ("autoencoder", "digits", "channels", (8, 0)),
    ],
)  # fmt: skip
def test_a_wrong_value_of_an_encoder_is_refused(method, recipe, key, value):
    config = config_module(CONFIGS / f"{method}.py").get_config(recipe).to_dict()
    assert key in config["model"]
    config["model"][key] = value
    with pytest.raises(ValueError, match=rf"config\.model\.{key} is .*; expected "):
        check(config)


def test_seeds_are_what_random_keys_tell_apart():
    config = digits() | {"seed": 2**32 - 1}
    check(config)
    with pytest.raises(ValueError, match="config.seed is 4294967296; expected a whole number from 0 to 4294967295"):
        check(config | {"seed": 2**32})  # of which jax would make the key of 0


def test_a_missing_and_an_unknown_key_are_named():
    config = digits()
    config["train"]["microbatchs"] = config["train"].pop("microbatches")
    with pytest.raises(ValueError, match=r"config\.train\.microbatches is missing"):
        check(config)
    config["train"]["microbatches"] = 1
    with pytest.raises(ValueError, match=r"did you mean config\.train\.microbatches\?"):
        check(config)


def test_evaluation_that_cannot_be_is_said_before_the_training(tmp_path):
    from ssl_jax import pretrain

    config = config_module(CONFIGS / "simclr.py").get_config("tiny")
    assert pretrain.evaluation_problem(config) == ""
    config.eval.test_split = "tset"
    assert "no split 'tset'" in pretrain.evaluation_problem(config)
    config.eval.protocols = ()
    assert pretrain.evaluation_problem(config) == ""
    config.eval.protocols = ("knn", "linaer")
    with pytest.raises(ValueError, match="did you mean 'linear'"):
        pretrain.pretrain(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
