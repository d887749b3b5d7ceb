"""What the command line makes of keys of which one replaces the other."""

import pytest
from ml_collections import ConfigDict

from ssl_jax.run import command_line

SAID = "given       config.train.steps=20, in place of the recipe's config.train.epochs=80"


def recipe(**optim):
    warm_up = {"warmup_steps": 0, "warmup_epochs": 0.0} | optim
    return ConfigDict({"train": {"steps": 0, "epochs": 80}, "optim": warm_up}).lock()


@pytest.mark.parametrize(
    ("given", "left", "said"),
    [
        ({"train.steps": 20}, (20, 0), [SAID]),
        ({"train.epochs": 3}, (0, 3), []),
        ({"train.steps": 20, "train.epochs": 3}, (20, 3), []),  # refused later, since it is not clear
        ({"train.steps": 20, "train.epochs": 0}, (20, 0), []),
        ({"train.steps": 0}, (0, 80), []),
        ({}, (0, 80), []),
    ],
)
def test_the_length_on_the_command_line_replaces_that_of_the_recipe(given, left, said):
    config = recipe()
    config.update_from_flattened_dict(given)
    assert command_line.replace_alternatives(config, given) == said
    assert (config.train.steps, config.train.epochs) == left


def test_so_does_the_warm_up():
    config = recipe(warmup_steps=5, warmup_epochs=2.5)
    (line,) = command_line.replace_alternatives(config, {"optim.warmup_steps": 5})
    assert line.endswith("config.optim.warmup_steps=5, in place of the recipe's config.optim.warmup_epochs=2.5")
    assert (config.optim.warmup_steps, config.optim.warmup_epochs) == (5, 0)
