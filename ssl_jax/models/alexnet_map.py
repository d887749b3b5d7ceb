"""AlexNet as a fully convolutional network, as Colorful Image Colorization and Split-Brain Autoencoders train it."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from ssl_jax.models.checks import check_images, check_layer
from ssl_jax.models.initializers import CONV_INITS, choose
from ssl_jax.models.norm import BatchNorm

# channels, size, stride, padding, dilation, groups (the original's two towers), stride of the 3x3 max-pool behind it
CONVOLUTIONS = {
    "conv_1": (96, 11, 4, 5, 1, 1, 2), "conv_2": (256, 5, 1, 2, 1, 2, 2), "conv_3": (384, 3, 1, 1, 1, 1, 0),
    "conv_4": (384, 3, 1, 1, 1, 2, 0), "conv_5": (256, 3, 1, 1, 1, 2, 1), "fc_6": (4096, 6, 1, 5, 2, 1, 0),
    "fc_7": (4096, 1, 1, 0, 1, 1, 0),
}  # fmt: skip


class AlexNetMap(nn.Module):
    """AlexNet's five convolutions and, as convolutions, its two dense layers: a map at a sixteenth of the resolution.

    A batch norm without scale and offset and a ReLU follow each, so convolutions have no bias. No layer but the first
    two pools and the first convolution has a stride; fc_6 is a 6x6 convolution of dilation 2.

    Args:
      width: multiplies all channels; may be fractional: 0.5 is half of a split brain.
      groups: whether conv_2, conv_4 and conv_5 have two groups; False where `width` halves the network instead.
      norm: makes norm layers, called as `BatchNorm` is.
      kernel_init: initializer of the convolutions.
      dtype: of the computation; parameters are float32 or wider.

    Call with:
      images: float `[b, H, W, C]`, of any size.
      train, group_ids: handed to the norms.
      keys: unused, no layer here is random; so that encoders are called alike.
      layer: None, or "conv_1" to "conv_5", "fc_6", "fc_7": after the ReLU, before a pool.

    Returns: the means of the last map, `[b, feature_dim]`, float32 or wider; with `layer`, its map.

    Raises:
      ValueError: an unknown layer, or images of a wrong rank or dtype.

    >>> import jax
    >>> model, images = AlexNetMap(width=0.05, groups=False), jnp.ones((1, 180, 180, 1))
    >>> shapes = jax.eval_shape(lambda key: model.init_with_output(key, images, layer="fc_7")[0], jax.random.key(0))
    >>> shapes.shape
    (1, 12, 12, 204)

    Source: Zhang et al., https://arxiv.org/abs/1603.08511, section 3.2; https://arxiv.org/abs/1611.09842, appendix;
    richzhang/colorization, colorization/train_alexnet/train_val.prototxt.
    """

    width: float = 1.0
    groups: bool = True
    norm: Callable[..., nn.Module] = BatchNorm
    kernel_init: nn.initializers.Initializer = CONV_INITS["torch"]
    dtype: Any = jnp.float32

    @property
    def feature_dim(self) -> int:
        """Number of pooled features."""
        return int(4096 * self.width)

    @property
    def layers(self) -> tuple[str, ...]:
        """The inner layers that can be asked for."""
        return tuple(CONVOLUTIONS)

    @nn.compact
    def __call__(self, images, *, train: bool = False, group_ids=None, keys=None, layer: str | None = None):
        check_layer("AlexNetMap", layer, self.layers)
        check_images("AlexNetMap", images)
        wide, x = jnp.promote_types(self.dtype, jnp.float32), images.astype(self.dtype)
        for name, (channels, size, stride, margin, dilation, groups, pool) in CONVOLUTIONS.items():
            x = nn.Conv(
                int(channels * self.width), (size, size), (stride, stride), [(margin, margin)] * 2,
                kernel_dilation=(dilation, dilation), feature_group_count=groups if self.groups else 1, use_bias=False,
                kernel_init=self.kernel_init, dtype=self.dtype, param_dtype=wide, name=name,
            )(x)  # fmt: skip
            norm = self.norm(use_scale=False, use_bias=False, dtype=self.dtype, name=f"norm_{name}")
            x = nn.relu(norm(x, train=train, group_ids=group_ids))
            if layer == name:
                return x
            if pool:
                x = nn.max_pool(x, (3, 3), (pool, pool), ((1, 1), (1, 1)))
        return jnp.mean(x, axis=(1, 2), dtype=wide)


def build(model, *, norm, dtype) -> AlexNetMap:
    """The network of `config.model`: `width`, `groups`, `init`."""
    return AlexNetMap(
        width=model.width, groups=model.groups, norm=norm, dtype=dtype,
        kernel_init=choose(CONV_INITS, model.init, "config.model.init"),
    )  # fmt: skip
