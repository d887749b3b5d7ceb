"""Configs that the optimizer refuses: one sentence each, with the nearest name that exists."""

import numpy as np
import pytest
from ml_collections import ConfigDict

from ssl_jax.methods.api import matrices_and_vectors
from ssl_jax.train import optim

RUN = dict(batch_size=256, steps=20, steps_per_epoch=5)
EXCLUDED = {"vectors": {"weight_decay": 0.0, "trust_ratio": False}}
PARAMS = {"dense": {"kernel": np.ones((4, 3)), "bias": np.zeros(3)}}
NAMES = matrices_and_vectors(PARAMS)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (dict(name="lard"), "config.optim.name is 'lard', which is unknown: did you mean 'lars'"),
        (dict(scaling="square"), "config.optim.scaling is 'square'.*: none, linear, sqrt"),
        (dict(schedule="cosin"), "did you mean 'cosine'"),
        (dict(momentum_form="lr_insid"), "did you mean 'lr_inside'"),
        (dict(learningrate=0.1), "The key in config.optim is 'learningrate', .*did you mean 'learning_rate'"),
        (dict(groups={"vectors": {"trust": True}}), "The key in config.optim.groups.vectors is 'trust'"),
        (dict(groups={"vector": {}}), "'vectors', which is unknown: did you mean 'vector'. Choices: default, vector"),
        (dict(groups={"vectors": {"frozen_steps": -2}}), "frozen_steps is -2"),
        (dict(warmup_steps=3, warmup_epochs=1), r"both warmup_steps \(3\) and warmup_epochs \(1\)"),
        (dict(warmup_steps=20), "up of 20 steps must be .* run of 20 steps: give --config.optim.warmup_steps=2, or"),
        (dict(warmup_epochs=10), "up of 50 steps must be .* run of 20 steps: give --config.optim.warmup_epochs=0.4,"),
    ],
)
def test_wrong_configs_get_one_sentence(config, sentence):
    config = ConfigDict(dict(groups=EXCLUDED) | config)
    with pytest.raises(ValueError, match=sentence):
        optim.build(config, PARAMS, NAMES, **RUN)


@pytest.mark.parametrize("config", [dict(warmup_steps=20), dict(warmup_epochs=10.0)])
@pytest.mark.parametrize("steps", [1, 2, 7, 20, 44])
def test_the_warm_up_that_is_advised_works(config, steps):
    run = RUN | dict(steps=steps, steps_per_epoch=5.6)
    with pytest.raises(ValueError, match="must be shorter") as refusal:
        optim.build(ConfigDict(dict(groups=EXCLUDED) | config), PARAMS, NAMES, **run | dict(steps=min(steps, 20)))
    name, value = str(refusal.value).split("--config.optim.")[1].split(",")[0].split("=")
    assert name in config
    _, schedule = optim.build(ConfigDict(dict(groups=EXCLUDED) | {name: float(value)}), PARAMS, NAMES, **run)
    assert float(schedule(steps // 2)) > 0


def test_group_names_must_match_the_parameters():
    with pytest.raises(ValueError, match="one name per parameter"):
        optim.build(ConfigDict(), PARAMS, {"dense": "default"}, **RUN)
