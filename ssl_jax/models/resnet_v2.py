"""Residual networks with pre-activation blocks: the patch encoders of CPC for images."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from ssl_jax.models.checks import check_images, check_layer
from ssl_jax.models.convolution import Conv
from ssl_jax.models.initializers import CONV_INITS, choose, variance_scaling
from ssl_jax.models.norm import BatchNorm


class ResNetV2(nn.Module):
    """ResNet-v2 of bottleneck blocks, `x + residual(relu(norm(x)))`; as many stages as there are numbers of blocks.

    Depth 50 is `blocks` (3, 4, 6, 3), depth 101 (3, 4, 23, 3); CPC stops before the last stage. Its ResNet-161 has
    blocks (3, 4, 46), channels (64, 128, 512) and outputs (256, 512, 4096). The stride of a stage, 1 in the first and 2
    in others, is on the 3x3 convolution of its first block. All padding is symmetric, `(size - 1) / 2`.

    Args:
        blocks: residual blocks of each stage.
        channels: of the 3x3 convolutions in each stage.
        outputs: channels that a block of each stage ends with.
        width: multiplies all channels, rounded down.
        stem: "imagenet" (7x7 convolution of stride 2, 3x3 max-pool of stride 2) or "cifar" (3x3 of stride 1, no pool).
        norm: makes norm layers, `norm(name=, dtype=)`, called as `BatchNorm` is.
        kernel_init: initializer of the convolutions.
        dtype: of the computation; parameters are float32 or wider.

    Call with:
        images: float [b, H, W, C].
        train: whether norms use the statistics of the batch.
        group_ids: int32 [b], handed to the norms.
        keys: unused, no layer here is random; so that encoders are called alike.
        layer: None, or the layer to stop at, "stem" or "stage_1" and so on.

    Returns: pooled features [b, feature_dim], float32 or wider; with `layer`, its feature map [b, h, w, c] in `dtype`.

    Raises:
        ValueError: stages of unequal description, unknown stem or layer, images of a wrong rank or dtype.

    >>> import jax
    >>> model = ResNetV2(blocks=(1, 1), channels=(2, 4), outputs=(8, 16))
    >>> images = jnp.ones((2, 32, 32, 3))
    >>> variables = model.init(jax.random.key(0), images)
    >>> model.apply(variables, images).shape, model.apply(variables, images, layer="stage_1").shape
    ((2, 16), (2, 8, 8, 8))

    Source: He et al. 2016, arXiv 1603.05027, figure 4e; ResNet-161: Henaff et al. 2020, arXiv 1905.09272, section 3.1.
    """

    blocks: tuple[int, ...] = (3, 4, 6, 3)
    channels: tuple[int, ...] = (64, 128, 256, 512)
    outputs: tuple[int, ...] = (256, 512, 1024, 2048)
    width: float = 1
    stem: str = "imagenet"
    norm: Callable[..., nn.Module] = BatchNorm
    kernel_init: nn.initializers.Initializer = variance_scaling
    dtype: Any = jnp.float32

    @property
    def feature_dim(self) -> int:
        """Number of pooled features."""
        return int(self.outputs[-1] * self.width)

    @property
    def layers(self) -> tuple[str, ...]:
        """The inner layers that can be asked for."""
        return ("stem", *(f"stage_{i + 1}" for i in range(len(self.blocks))))

    @nn.compact
    def __call__(self, images, *, train: bool = False, group_ids=None, keys=None, layer: str | None = None):
        self._check(images, layer)
        conv = partial(Conv, kernel_init=self.kernel_init, dtype=self.dtype)
        norm = partial(self.norm, dtype=self.dtype)
        large = self.stem == "imagenet"
        x = conv(int(64 * self.width), 7 if large else 3, 2 if large else 1, name="stem_conv")(images)
        if large:
            x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        if layer == "stem":
            return x
        for stage, count in enumerate(self.blocks):
            inner, outputs = (int(numbers[stage] * self.width) for numbers in (self.channels, self.outputs))
            for block in range(count):
                stride = 2 if block == 0 and stage > 0 else 1
                make = PreActivationBlock(inner, outputs, stride, conv, norm, name=f"stage_{stage + 1}_{block + 1}")
                x = make(x, train=train, group_ids=group_ids)
            if layer == f"stage_{stage + 1}":
                return x
        x = nn.relu(norm(name="norm")(x, train=train, group_ids=group_ids))
        return jnp.mean(x, axis=(1, 2), dtype=jnp.promote_types(x.dtype, jnp.float32))

    def _check(self, images, layer):
        if not len(self.blocks) == len(self.channels) == len(self.outputs) >= 1:
            raise ValueError(
                f"ResNetV2 was given blocks {self.blocks}, channels {self.channels} and outputs {self.outputs}, and "
                "expects one number of each for a stage; make them equally long."
            )
        if self.stem not in ("imagenet", "cifar"):
            raise ValueError(f"ResNetV2 was given stem {self.stem!r} and expects 'imagenet' or 'cifar'; choose one.")
        check_layer("ResNetV2", layer, self.layers)
        check_images("ResNetV2", images)


class PreActivationBlock(nn.Module):
    """`shortcut + conv(act(conv(act(conv(act(x))))))` with `act(x) = relu(norm(x))`.

    The shortcut is x, or where the shape changes a 1x1 convolution of `act(x)`.
    """

    channels: int
    outputs: int
    stride: int
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x, *, train: bool, group_ids=None):
        def act(i, x):
            return nn.relu(self.norm(name=f"norm_{i}")(x, train=train, group_ids=group_ids))

        y = act(1, x)
        if self.stride > 1 or x.shape[-1] != self.outputs:
            x = self.conv(self.outputs, 1, self.stride, name="shortcut_conv")(y)
        y = self.conv(self.channels, 1, 1, name="conv_1")(y)
        y = self.conv(self.channels, 3, self.stride, name="conv_2")(act(2, y))
        return x + self.conv(self.outputs, 1, 1, name="conv_3")(act(3, y))


def build(model, *, norm, dtype) -> ResNetV2:
    """The network of `config.model`: `blocks`, `channels`, `outputs`, `width`, `stem`, `init`."""
    return ResNetV2(
        blocks=tuple(model.blocks), channels=tuple(model.channels), outputs=tuple(model.outputs), width=model.width,
        stem=model.stem, norm=norm, kernel_init=choose(CONV_INITS, model.init, "config.model.init"), dtype=dtype,
    )  # fmt: skip
