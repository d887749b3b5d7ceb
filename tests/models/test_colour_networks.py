"""The networks of colorization and of split brains: resolutions, receptive fields, groups, wrong arguments."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.models.alexnet_map import AlexNetMap
from ssl_jax.models.dilated_vgg import DilatedVGG


def shapes(model, size, layers):
    key, images = jax.random.key(0), jnp.ones((1, size, size, 1))
    made = [lambda layer=layer: model.init_with_output(key, images, layer=layer)[0] for layer in layers]
    return [jax.eval_shape(make).shape for make in made]


def test_maps_have_the_published_sizes():
    vgg = shapes(DilatedVGG(), 176, ("conv_1", "conv_2", "conv_3", "conv_5", "conv_7", "conv_8"))
    assert [shape[1:] for shape in vgg] == [
        (88, 88, 64), (44, 44, 128), (22, 22, 256), (22, 22, 512), (22, 22, 512), (44, 44, 256)
    ]  # fmt: skip
    alexnet = shapes(AlexNetMap(), 180, ("conv_1", "conv_2", "conv_5", "fc_6", "fc_7"))
    assert [shape[1:] for shape in alexnet] == [
        (45, 45, 96), (23, 23, 256), (12, 12, 256), (12, 12, 4096), (12, 12, 4096)
    ]  # fmt: skip


def test_conv_5_sees_as_far_as_its_dilation():
    """Blocks 1 to 4 see 1 + 4 + 8 + 24 + 48 pixels, block 5, three convolutions of dilation 2 at an eighth, 96 more."""
    model, images = DilatedVGG(width=1 / 64, kernel_init=nn.initializers.ones), jnp.ones((1, 256, 8, 1))
    variables = model.init(jax.random.key(1), images, layer="conv_5")
    seen = jax.grad(lambda x: model.apply(variables, x, layer="conv_5")[0, 16].sum())(images)
    rows = np.flatnonzero(np.abs(seen).max((0, 2, 3)))
    assert rows.max() - rows.min() + 1 == 1 + 4 + 8 + 24 + 48 + 96


def test_groups_do_not_see_one_another():
    for groups in (True, False):
        model, images = AlexNetMap(width=1 / 16, groups=groups), jnp.ones((1, 64, 64, 3))
        kernels = jax.eval_shape(model.init, jax.random.key(0), images)["params"]
        assert kernels["conv_2"]["kernel"].shape[2] == (3 if groups else 6)


@pytest.mark.parametrize("model", [DilatedVGG(width=1 / 64), AlexNetMap(width=1 / 64)])
def test_wrong_arguments_get_one_sentence(model):
    with pytest.raises(ValueError, match="was given layer 'conv_9' and expects one of"):
        model.init(jax.random.key(0), jnp.ones((1, 64, 64, 1)), layer="conv_9")
    with pytest.raises(ValueError, match="expects float images"):
        model.init(jax.random.key(0), jnp.ones((1, 64, 64, 1), jnp.uint8))
