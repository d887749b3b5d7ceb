"""Residual networks with post-activation blocks, for ImageNet and for small images."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from ssl_jax.models.checks import check_images, check_layer
from ssl_jax.models.convolution import Conv
from ssl_jax.models.initializers import CONV_INITS, choose, variance_scaling
from ssl_jax.models.norm import BatchNorm

BLOCKS = {
    6: (1, 1), 10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3),
    50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3),
}  # fmt: skip
LAYERS = ("stem", "stage_1", "stage_2", "stage_3", "stage_4")


class ResNet(nn.Module):
    """ResNet-18, -34, -50, -101 or -152: a stem, four stages of residual blocks, global average pooling.

    In bottleneck blocks the stride is on the 3x3 convolution ("v1.5"), as in torchvision and in the official SimCLR
    code (`tf2/resnet.py`, `BottleneckBlock`). All padding is symmetric, `(size - 1) / 2`, as in torchvision. The SimCLR
    code differs twice: its max-pool pads at the end only (`SAME`), and the first block of every stage has a projection
    shortcut, in ResNet-18 and -34 also in stage 1, where shapes do not change; here they have one only where they do.

    Args:
        depth: 6 (two stages, for tests), 10, 18 or 34 (basic blocks), 50, 101 or 152 (bottleneck blocks).
        width: multiplies the channels, `int(64 * width)` in the stem; may be fractional.
        stem: "imagenet" (7x7 convolution of stride 2, 3x3 max-pool of stride 2) or "cifar" (3x3 of stride 1, no pool).
        zero_init_residual: start the last norm of every residual block at scale 0, so that each block is the identity.
        norm: makes norm layers, `norm(name=, dtype=[, scale_init=])`, called as `BatchNorm` is.
        kernel_init: initializer of the convolutions.
        dtype: of the computation; parameters are float32 or wider.

    Call with:
        images: float [b, H, W, C].
        train: whether norms use the statistics of the batch.
        group_ids: int32 [b], handed to the norms.
        keys: unused, no layer here is random; so that encoders are called alike.
        layer: None, or the layer to stop at, one of `layers`.

    Returns: pooled features [b, feature_dim], float32 or wider; with `layer`, its feature map [b, h, w, c] in `dtype`.

    Raises:
        ValueError: unknown depth, stem or layer, a width without channels, images of a wrong rank or dtype.

    >>> import jax
    >>> model = ResNet(depth=10, width=0.25, stem="cifar")
    >>> images = jnp.ones((2, 8, 8, 3))
    >>> variables = jax.jit(model.init)(jax.random.key(0), images)
    >>> jax.jit(model.apply)(variables, images).shape
    (2, 128)
    >>> jax.eval_shape(partial(model.apply, layer="stage_2"), variables, images).shape
    (2, 4, 4, 32)

    Source: He et al., https://arxiv.org/abs/1512.03385, table 1; zero initialisation: Goyal et al.,
    https://arxiv.org/abs/1706.02677, section 5.1.
    """

    depth: int = 50
    width: float = 1
    stem: str = "imagenet"
    zero_init_residual: bool = True
    norm: Callable[..., nn.Module] = BatchNorm
    kernel_init: nn.initializers.Initializer = variance_scaling
    dtype: Any = jnp.float32

    @property
    def feature_dim(self) -> int:
        """Number of pooled features."""
        return int(64 * self.width) * 2 ** (len(BLOCKS[self.depth]) - 1) * (1 if self.depth < 50 else 4)

    @property
    def layers(self) -> tuple[str, ...]:
        """The inner layers that can be asked for."""
        return LAYERS[: 1 + len(BLOCKS[self.depth])]

    @nn.compact
    def __call__(self, images, *, train: bool = False, group_ids=None, keys=None, layer: str | None = None):
        self._check(images, layer)
        conv = partial(Conv, kernel_init=self.kernel_init, dtype=self.dtype)
        norm = partial(self.norm, dtype=self.dtype)
        channels = int(64 * self.width)

        size, stride = (7, 2) if self.stem == "imagenet" else (3, 1)
        x = conv(channels, size, stride, name="stem_conv")(images)
        x = nn.relu(norm(name="stem_norm")(x, train=train, group_ids=group_ids))
        if self.stem == "imagenet":
            x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        if layer == "stem":
            return x

        for stage, blocks in enumerate(BLOCKS[self.depth]):
            name = f"stage_{stage + 1}"
            stride = 1 if stage == 0 else 2
            x = Stage(
                blocks, channels * 2**stage, stride, self.depth >= 50, self.zero_init_residual, conv, norm, name=name
            )(x, train=train, group_ids=group_ids)
            if layer == name:
                return x
        return jnp.mean(x, axis=(1, 2), dtype=jnp.promote_types(x.dtype, jnp.float32))

    def _check(self, images, layer):
        if self.depth not in BLOCKS:
            raise ValueError(f"ResNet was given depth {self.depth} and expects one of {list(BLOCKS)}; choose one.")
        if self.stem not in ("imagenet", "cifar"):
            raise ValueError(f"ResNet was given stem {self.stem!r} and expects 'imagenet' or 'cifar'; choose one.")
        if int(64 * self.width) < 1:
            raise ValueError(f"ResNet was given width {self.width} and expects at least 1/64; choose a larger one.")
        check_layer("ResNet", layer, self.layers)
        check_images("ResNet", images)


class Stage(nn.Module):
    """Residual blocks of equal width; the first one has the stride."""

    blocks: int
    channels: int
    stride: int
    bottleneck: bool
    zero_init_residual: bool
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x, *, train: bool, group_ids=None):
        c = self.channels
        for block in range(self.blocks):
            stride = self.stride if block == 0 else 1
            convs = ((c, 1, 1), (c, 3, stride), (4 * c, 1, 1)) if self.bottleneck else ((c, 3, stride), (c, 3, 1))
            x = ResidualBlock(convs, stride, self.zero_init_residual, self.conv, self.norm, name=f"block_{block + 1}")(
                x, train=train, group_ids=group_ids
            )
        return x


class ResidualBlock(nn.Module):
    """`relu(shortcut(x) + residual(x))`; `convs` are the residual's (features, size, stride), a norm after each.

    The shortcut is a 1x1 convolution and a norm where the residual changes the shape, and the identity elsewhere.
    """

    convs: tuple[tuple[int, int, int], ...]
    stride: int
    zero_init_residual: bool
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x, *, train: bool, group_ids=None):
        y = x
        for i, (features, size, stride) in enumerate(self.convs, start=1):
            last = i == len(self.convs)
            scale = {"scale_init": nn.initializers.zeros} if last and self.zero_init_residual else {}
            y = self.conv(features, size, stride, name=f"conv_{i}")(y)
            y = self.norm(name=f"norm_{i}", **scale)(y, train=train, group_ids=group_ids)
            y = y if last else nn.relu(y)
        if x.shape != y.shape:
            x = self.conv(y.shape[-1], 1, self.stride, name="shortcut_conv")(x)
            x = self.norm(name="shortcut_norm")(x, train=train, group_ids=group_ids)
        return nn.relu(x + y)


def build(model, *, norm, dtype) -> ResNet:
    """The network of `config.model`: `depth`, `width`, `stem`, `zero_init_residual`, `init`."""
    return ResNet(
        depth=model.depth, width=model.width, stem=model.stem, zero_init_residual=model.zero_init_residual, norm=norm,
        kernel_init=choose(CONV_INITS, model.get("init", "tensorflow"), "config.model.init"), dtype=dtype,
    )  # fmt: skip
