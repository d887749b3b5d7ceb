"""Which images share batch statistics in SimCLR: both views, as in the official code, or those of one view."""

import jax
import numpy as np
import pytest

from tests.methods.by_hand import loss_and_outputs, prepare


@pytest.mark.parametrize("separate", [False, True])
def test_separate_views_know_nothing_of_each_other(separate, tiny, tiny_batch):
    config = tiny("simclr")
    config.method.separate_views = separate
    method, views, params, state = prepare(config, tiny_batch())
    run = jax.jit(lambda views: loss_and_outputs(method, views, params, state)[1][0]["z_a"])
    other = views | {"view_1": 2 * views["view_1"] + 1}
    assert np.array_equal(run(views), run(other)) == separate
