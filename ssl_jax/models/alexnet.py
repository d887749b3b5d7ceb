"""AlexNet with batch norm and one tower, as the rotation and colorization papers train it."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from ssl_jax.models.checks import check_images, check_layer
from ssl_jax.models.initializers import CONV_INITS, DENSE_INITS, choose
from ssl_jax.models.norm import BatchNorm

# channels, size, stride, padding, whether a 3x3 max-pool of stride 2 follows
CONVOLUTIONS = ((64, 11, 4, 2, True), (192, 5, 1, 2, True), (384, 3, 1, 1, False), (256, 3, 1, 1, False),
                (256, 3, 1, 1, True))  # fmt: skip


class AlexNet(nn.Module):
    """Five convolutions of 64, 192, 384, 256 and 256 channels, and `fully_connected` dense layers of 4,096.

    A batch norm and a ReLU follow each; convolutions and dense layers have no bias. There is no dropout.

    Args:
      width: multiplies all channels; may be fractional.
      fully_connected: number of dense layers after the last pool; 0 averages the map over its places.
      norm: makes norm layers, called as `BatchNorm` is.
      kernel_init, dense_init: initializers.
      dtype: of the computation; parameters are float32 or wider.

    Call with:
      images: float `[b, H, W, C]`, at least 63 pixels on a side.
      train, group_ids: handed to the norms.
      keys: unused, no layer here is random; so that encoders are called alike.
      layer: None, or "conv_1" to "conv_5": after the ReLU, before a pool.

    Returns: features `[b, feature_dim]`, float32 or wider; with `layer`, its map.

    Raises:
      ValueError: an unknown layer, or images of a wrong rank, dtype or size.

    >>> import jax
    >>> model, images = AlexNet(width=0.1, fully_connected=1), jnp.ones((1, 64, 64, 3))
    >>> variables = model.init(jax.random.key(0), images)
    >>> model.apply(variables, images).shape, model.apply(variables, images, layer="conv_3").shape
    ((1, 409), (1, 3, 3, 38))

    Source: Krizhevsky 2014, https://arxiv.org/abs/1404.5997; gidariss/FeatureLearningRotNet, architectures/AlexNet.py.
    """

    width: float = 1.0
    fully_connected: int = 2
    norm: Callable[..., nn.Module] = BatchNorm
    kernel_init: nn.initializers.Initializer = CONV_INITS["torch_default"]
    dense_init: nn.initializers.Initializer = DENSE_INITS["torch"]["kernel_init"]
    dtype: Any = jnp.float32

    @property
    def feature_dim(self) -> int:
        """Number of features."""
        return int((4096 if self.fully_connected else 256) * self.width)

    @property
    def layers(self) -> tuple[str, ...]:
        """The inner layers that can be asked for."""
        return tuple(f"conv_{i + 1}" for i in range(len(CONVOLUTIONS)))

    @nn.compact
    def __call__(self, images, *, train: bool = False, group_ids=None, keys=None, layer: str | None = None):
        check_layer("AlexNet", layer, self.layers)
        check_images("AlexNet", images, smallest=63)
        wide, x = jnp.promote_types(self.dtype, jnp.float32), images.astype(self.dtype)
        options = {"use_bias": False, "dtype": self.dtype, "param_dtype": wide}

        def activate(x, name):
            return nn.relu(self.norm(name=name, dtype=self.dtype)(x, train=train, group_ids=group_ids))

        for i, (channels, size, stride, margin, pooled) in enumerate(CONVOLUTIONS, start=1):
            x = nn.Conv(
                int(channels * self.width), (size, size), (stride, stride), [(margin, margin)] * 2,
                kernel_init=self.kernel_init, name=f"conv_{i}", **options,
            )(x)  # fmt: skip
            x = activate(x, f"norm_{i}")
            if layer == f"conv_{i}":
                return x
            if pooled:
                x = nn.max_pool(x, (3, 3), strides=(2, 2))
        if not self.fully_connected:
            return jnp.mean(x, axis=(1, 2), dtype=wide)
        x = x.reshape(len(x), -1)
        for i in range(6, 6 + self.fully_connected):
            x = nn.Dense(self.feature_dim, kernel_init=self.dense_init, name=f"dense_{i}", **options)(x)
            x = activate(x, f"norm_{i}")
        return x.astype(wide)


def build(model, *, norm, dtype) -> AlexNet:
    """The network of `config.model`: `width`, `fully_connected`, `init`."""
    return AlexNet(
        width=model.width, fully_connected=model.fully_connected, norm=norm,
        kernel_init=choose(CONV_INITS, model.init, "config.model.init"),
        dense_init=DENSE_INITS[model.init].get("kernel_init", nn.initializers.normal(0.01)), dtype=dtype,
    )  # fmt: skip
