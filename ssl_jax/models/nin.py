"""Network in Network as the rotation paper has it on CIFAR-10: blocks of one spatial and two 1x1 convolutions."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from ssl_jax.models.checks import check_images, check_layer
from ssl_jax.models.convolution import Conv
from ssl_jax.models.initializers import CONV_INITS, choose
from ssl_jax.models.norm import BatchNorm


class NIN(nn.Module):
    """3, 4 or 5 blocks of three convolutions (no biases, batch norm, ReLU), pooled after the first two blocks.

    Block 1: 5x5 192, 1x1 160, 1x1 96, max-pool 3x3 of stride 2. Block 2: 5x5 192, two 1x1 192, average pool 3x3 of
    stride 2. Later blocks: 3x3 192, two 1x1 192. Then the average over places.

    Args:
      blocks: their number.
      width: multiplies all channels; may be fractional.
      norm: makes norm layers, called as `BatchNorm` is.
      kernel_init: initializer of the convolutions.
      dtype: of the computation; parameters are float32 or wider.

    Call with:
      images: float `[b, H, W, C]`.
      train, group_ids: handed to the norms.
      keys: unused, no layer here is random; so that encoders are called alike.
      layer: None, or "block_1" to "block_<blocks>".

    Returns: pooled features `[b, feature_dim]`, float32 or wider; with `layer`, the map after that block and its pool.

    Raises:
      ValueError: an unknown number of blocks, layer, or images of a wrong rank or dtype.

    >>> import jax
    >>> model, images = NIN(blocks=3, width=0.1), jnp.ones((2, 8, 8, 3))
    >>> variables = model.init(jax.random.key(0), images)
    >>> model.apply(variables, images).shape, model.apply(variables, images, layer="block_1").shape
    ((2, 19), (2, 4, 4, 9))

    Source: Gidaris et al., https://arxiv.org/abs/1803.07728, section 3.1; gidariss/FeatureLearningRotNet,
    architectures/NetworkInNetwork.py (with `use_avg_on_conv3=False`).
    """

    blocks: int = 4
    width: float = 1.0
    norm: Callable[..., nn.Module] = BatchNorm
    kernel_init: nn.initializers.Initializer = CONV_INITS["torch_default"]
    dtype: Any = jnp.float32

    @property
    def feature_dim(self) -> int:
        """Number of pooled features."""
        return int(192 * self.width)

    @property
    def layers(self) -> tuple[str, ...]:
        """The inner layers that can be asked for."""
        return tuple(f"block_{i + 1}" for i in range(self.blocks))

    @nn.compact
    def __call__(self, images, *, train: bool = False, group_ids=None, keys=None, layer: str | None = None):
        self._check(images, layer)
        x = images
        for block in range(1, self.blocks + 1):
            channels = (192, 160, 96) if block == 1 else (192, 192, 192)
            sizes = (5 if block <= 2 else 3, 1, 1)
            for i, (features, size) in enumerate(zip(channels, sizes, strict=True), start=1):
                name = f"block_{block}_{i}"
                x = Conv(int(features * self.width), size, 1, self.kernel_init, self.dtype, name=f"{name}_conv")(x)
                x = self.norm(name=f"{name}_norm", dtype=self.dtype)(x, train=train, group_ids=group_ids)
                x = nn.relu(x)
            if block <= 2:
                pool = nn.max_pool if block == 1 else nn.avg_pool
                x = pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
            if layer == f"block_{block}":
                return x
        return jnp.mean(x, axis=(1, 2), dtype=jnp.promote_types(x.dtype, jnp.float32))

    def _check(self, images, layer):
        if self.blocks not in (3, 4, 5):
            raise ValueError(f"NIN was given blocks {self.blocks} and expects 3, 4 or 5; choose one.")
        check_layer("NIN", layer, self.layers)
        check_images("NIN", images)


def build(model, *, norm, dtype) -> NIN:
    """The network of `config.model`: `blocks`, `width`, `init`."""
    init = choose(CONV_INITS, model.init, "config.model.init")
    return NIN(blocks=model.blocks, width=model.width, norm=norm, kernel_init=init, dtype=dtype)
