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
        (dict(warmup_steps=20), "warm-up of 20 steps must be .* run of 20 steps: shorten config.optim.warmup_steps"),
        (dict(warmup_epochs=10), "warm-up of 50 steps must be shorter than the run of 20 steps"),
    ],
)
def test_wrong_configs_get_one_sentence(config, sentence):
    config = ConfigDict(dict(groups=EXCLUDED) | config)
    with pytest.raises(ValueError, match=sentence):
        optim.build(config, PARAMS, NAMES, **RUN)


def test_group_names_must_match_the_parameters():
    with pytest.raises(ValueError, match="one name per parameter"):
        optim.build(ConfigDict(), PARAMS, {"dense": "default"}, **RUN)
