"""Encoder and heads in sequence: groups of batch norm."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest

from ssl_jax import methods
from ssl_jax.methods.api import Progress

GROUPED = ("simclr", "moco", "byol", "dino", "swav", "rotation", "context_prediction")


@pytest.mark.parametrize("name", GROUPED)
def test_any_number_of_rows_passes_in_evaluation_and_whole_groups_in_training(name, tiny, own_batch):
    config = tiny(name)
    config.train.batch_size, config.model.norm_groups = 16, 4
    batch, facts = own_batch(config, 11)
    method = methods.build(config, facts)
    viewed = jax.eval_shape(jax.vmap(method.views), jax.random.split(jax.random.key(0), 11), batch)
    viewed["index"] = jax.ShapeDtypeStruct((11,), jnp.int32)
    params, state = jax.eval_shape(method.init, jax.random.key(0), viewed)

    def outputs(train):
        run = partial(method.embed, key=jax.random.key(1), progress=Progress(0, 5), axis_name=None, train=train)
        return jax.eval_shape(run, params, state, viewed)[0]

    assert {output.shape[0] for output in outputs(train=False).values()} == {11}
    with pytest.raises(ValueError, match="a global batch of 11 rows and expects a multiple of groups=2"):
        outputs(train=True)
