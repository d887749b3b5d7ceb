"""Initial values of convolutions and dense layers as the libraries of published code have them, by name."""

import flax.linen as nn
import jax
import numpy as np

# The default of Keras' VarianceScaling, which the official SimCLR code initialises convolutions with.
variance_scaling = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")


def haiku_init(key, shape, dtype):
    """Haiku's default, and so BYOL's: normal of deviation 1/sqrt(fan_in), cut off at twice that, not rescaled."""
    return nn.initializers.truncated_normal(1 / np.sqrt(np.prod(shape[:-1])))(key, shape, dtype)


# What PyTorch does by default, and so the official code of MoCo: convolutions as torchvision's ResNet, dense layers
# uniform in +-1/sqrt(fan_in), biases included.
CONV_INITS = {
    "tensorflow": variance_scaling,
    "torch": nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
    "torch_default": nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform"),  # where the code initialises nothing
    "haiku": haiku_init,
    "caffe": nn.initializers.variance_scaling(1.0, "fan_in", "uniform"),  # its "xavier", of the inputs alone
}
DENSE_INITS = {
    "tensorflow": {},
    "torch": {
        "kernel_init": nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform"),
        "bias_init": lambda fan_in: lambda key, shape, dtype: jax.random.uniform(
            key, shape, dtype, -1 / np.sqrt(fan_in), 1 / np.sqrt(fan_in)
        ),
    },
    "haiku": {"kernel_init": haiku_init},
    "caffe": {"kernel_init": CONV_INITS["caffe"]},
    "jigsaw": {"kernel_init": nn.initializers.normal(0.005), "bias_init": lambda fan_in: nn.initializers.ones},
    "dino": {"kernel_init": nn.initializers.normal(0.02)},
}

DENSE_INITS["torch_default"] = DENSE_INITS["torch"]


def choose(choices: dict, name: str, key: str):
    """What a name of the config stands for.

    Raises:
      ValueError: it stands for nothing.
    """
    if name not in choices:
        raise ValueError(f"{key} is {name!r}; expected one of {', '.join(choices)}")
    return choices[name]
