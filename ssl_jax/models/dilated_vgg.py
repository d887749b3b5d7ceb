"""The convolutional network of Colorful Image Colorization: VGG without pools, whose later blocks are dilated."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from ssl_jax.models.checks import check_images, check_layer
from ssl_jax.models.initializers import CONV_INITS, choose
from ssl_jax.models.norm import BatchNorm

# channels, convolutions, stride of the last of them, dilation; conv_8 doubles the resolution first
BLOCKS = ((64, 2, 2, 1), (128, 2, 2, 1), (256, 3, 2, 1), (512, 3, 1, 1), (512, 3, 1, 2), (512, 3, 1, 2), (512, 3, 1, 1))
LAYERS = tuple(f"conv_{i}" for i in range(1, 9))


class DilatedVGG(nn.Module):
    """Seven blocks of two or three 3x3 convolutions, to an eighth of the resolution, and an eighth block at a quarter.

    A ReLU follows every convolution, and a batch norm without scale and offset each of the blocks 1 to 7. Block 8 is a
    4x4 transposed convolution of stride 2 and two convolutions, without a norm.

    Args:
      width: multiplies all channels; may be fractional.
      norm: makes norm layers, called as `BatchNorm` is.
      kernel_init: initializer of the convolutions.
      dtype: of the computation; parameters are float32 or wider.

    Call with:
      images: float `[b, H, W, C]`, of any size.
      train, group_ids: handed to the norms.
      keys: unused, no layer here is random; so that encoders are called alike.
      layer: None, or "conv_1" to "conv_8": the map of a block.

    Returns: the means of the last map, `[b, feature_dim]`, float32 or wider; with `layer`, its map.

    Raises:
      ValueError: an unknown layer, or images of a wrong rank or dtype.

    >>> import jax
    >>> model, images = DilatedVGG(width=0.05), jnp.ones((1, 16, 24, 1))
    >>> variables = model.init(jax.random.key(0), images)
    >>> model.apply(variables, images).shape, model.apply(variables, images, layer="conv_8").shape
    ((1, 12), (1, 4, 6, 12))

    Source: Zhang et al., https://arxiv.org/abs/1603.08511, table 4; richzhang/colorization,
    models/colorization_train_val_v2.prototxt.
    """

    width: float = 1.0
    norm: Callable[..., nn.Module] = BatchNorm
    kernel_init: nn.initializers.Initializer = CONV_INITS["torch"]
    dtype: Any = jnp.float32

    @property
    def feature_dim(self) -> int:
        """Number of pooled features."""
        return int(256 * self.width)

    @property
    def layers(self) -> tuple[str, ...]:
        """The inner layers that can be asked for."""
        return LAYERS

    @nn.compact
    def __call__(self, images, *, train: bool = False, group_ids=None, keys=None, layer: str | None = None):
        check_layer("DilatedVGG", layer, self.layers)
        check_images("DilatedVGG", images)
        wide, x = jnp.promote_types(self.dtype, jnp.float32), images.astype(self.dtype)
        options = {"kernel_init": self.kernel_init, "dtype": self.dtype, "param_dtype": wide}

        def conv(channels, stride, dilation, name):
            return nn.Conv(
                int(channels * self.width), (3, 3), (stride, stride), [(dilation, dilation)] * 2,
                kernel_dilation=(dilation, dilation), name=name, **options,
            )  # fmt: skip

        for block, (channels, count, stride, dilation) in enumerate(BLOCKS, start=1):
            for i in range(1, count + 1):
                x = nn.relu(conv(channels, stride if i == count else 1, dilation, f"conv_{block}_{i}")(x))
            norm = partial(self.norm, use_scale=False, use_bias=False, dtype=self.dtype)
            x = norm(name=f"norm_{block}")(x, train=train, group_ids=group_ids)
            if layer == f"conv_{block}":
                return x
        x = nn.relu(nn.ConvTranspose(self.feature_dim, (4, 4), (2, 2), "SAME", name="conv_8_1", **options)(x))
        for i in (2, 3):
            x = nn.relu(conv(256, 1, 1, f"conv_8_{i}")(x))
        return x if layer else jnp.mean(x, axis=(1, 2), dtype=wide)


def build(model, *, norm, dtype) -> DilatedVGG:
    """The network of `config.model`: `width`, `init`."""
    return DilatedVGG(
        width=model.width, norm=norm, kernel_init=choose(CONV_INITS, model.init, "config.model.init"), dtype=dtype
    )
