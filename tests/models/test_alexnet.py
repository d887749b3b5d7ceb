"""AlexNet has the published shapes and number of parameters; encoders are found by file name."""

import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from ssl_jax import models
from ssl_jax.models.alexnet import AlexNet
from ssl_jax.models.norm import BatchNorm


def shapes(model, size, layer=None):
    images = jnp.zeros((2, size, size, 3))
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    count = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    return count, jax.eval_shape(lambda v: model.apply(v, images, layer=layer), variables)


def by_hand(*convolutions):
    """Kernels without biases, and a scale and an offset of each channel."""
    return sum(size * size * inputs * outputs + 2 * outputs for size, inputs, outputs in convolutions)


def test_alexnet_is_that_of_the_rotation_paper():
    convolutions = (11, 3, 64), (5, 64, 192), (3, 192, 384), (3, 384, 256), (3, 256, 256)
    count, features = shapes(AlexNet(), 224)
    assert count == by_hand(*convolutions, (1, 256 * 6 * 6, 4096), (1, 4096, 4096)) and features.shape == (2, 4096)
    sides = [shapes(AlexNet(), 224, f"conv_{i}")[1].shape[1] for i in range(1, 6)]
    assert sides == [55, 27, 13, 13, 13]
    assert shapes(AlexNet(fully_connected=0), 224)[1].shape == (2, 256)


def test_unknown_layers_are_refused():
    with pytest.raises(ValueError, match="expects one of"):
        shapes(AlexNet(), 64, "conv_6")


def test_encoders_are_found_by_file_name():
    names = models.names()
    assert {"alexnet", "nin", "resnet", "vit", "text", "audio"} <= set(names) and "heads" not in names
    config = ConfigDict({"name": "nin", "blocks": 3, "width": 0.5, "init": "torch"})
    assert models.build(config, norm=BatchNorm, dtype=jnp.float32).feature_dim == 96
    config.name = "resnett"
    with pytest.raises(ValueError, match="config.model.name is 'resnett'; .* did you mean 'resnet'"):
        models.build(config, norm=BatchNorm, dtype=jnp.float32)
