"""Encoders that make an image a code, and decoders that make a code or a map an image: DCGAN's, context encoders'."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from ssl_jax.models.norm import BatchNorm

INIT = nn.initializers.normal(0.02)


def scale_init(key, shape, dtype):
    """DCGAN's initial scales of batch norm, normal of mean 1 and deviation 0.02."""
    return 1 + 0.02 * jax.random.normal(key, shape, dtype)


class Encoder(nn.Module):
    """4x4 convolutions of stride 2 with leaky ReLUs, batch norm behind all but the first, and a dense layer: the code.

    No layer has a bias but the norms. The discriminator is one with a code of one number.

    Args:
      channels: of the convolutions; each halves the sides.
      bottleneck: length of the code.
      norm: makes norm layers, called as `BatchNorm` is.
      dtype: of the computation; parameters are float32 or wider.

    Call with:
      images: float `[b, H, W, C]`, sides divisible by 2 for every convolution.
      train, group_ids: handed to the norms.
      keys: unused, no layer here is random; so that encoders are called alike.
      layer: None, or "conv_1" to "conv_<n>": after the leaky ReLU.

    Returns: codes `[b, bottleneck]`, float32 or wider; with `layer`, its map.

    Raises:
      ValueError: an unknown layer, or images of a wrong rank, dtype or size.

    >>> model, images = Encoder((4, 8), 5), jnp.ones((1, 8, 8, 3))
    >>> variables = model.init(jax.random.key(0), images)
    >>> model.apply(variables, images).shape, model.apply(variables, images, layer="conv_2").shape
    ((1, 5), (1, 2, 2, 8))

    Source: Radford et al., https://arxiv.org/abs/1511.06434; pathak22/context-encoder, train.lua.
    """

    channels: tuple[int, ...] = (64, 64, 128, 256, 512)
    bottleneck: int = 4000
    norm: Callable[..., nn.Module] = BatchNorm
    dtype: Any = jnp.float32

    @property
    def feature_dim(self) -> int:
        """Length of the code."""
        return self.bottleneck

    @property
    def layers(self) -> tuple[str, ...]:
        """The inner layers that can be asked for."""
        return tuple(f"conv_{i + 1}" for i in range(len(self.channels)))

    @nn.compact
    def __call__(self, images, *, train: bool = False, group_ids=None, keys=None, layer: str | None = None):
        self._check(images, layer)
        wide, x = jnp.promote_types(self.dtype, jnp.float32), images.astype(self.dtype)
        options = {"use_bias": False, "kernel_init": INIT, "dtype": self.dtype, "param_dtype": wide}
        for i, channels in enumerate(self.channels, start=1):
            x = nn.Conv(channels, (4, 4), (2, 2), [(1, 1), (1, 1)], name=f"conv_{i}", **options)(x)
            if i > 1:
                x = self.norm(name=f"norm_{i}", scale_init=scale_init, dtype=self.dtype)(
                    x, train=train, group_ids=group_ids
                )
            x = nn.leaky_relu(x, 0.2)
            if layer == f"conv_{i}":
                return x
        return nn.Dense(self.bottleneck, name="code", **options)(x.reshape(len(x), -1)).astype(wide)

    def _check(self, images, layer):
        if layer is not None and layer not in self.layers:
            raise ValueError(f"Encoder was given layer {layer!r} and expects one of {list(self.layers)}, or None.")
        factor = 2 ** len(self.channels)
        if images.ndim != 4 or not jnp.issubdtype(images.dtype, jnp.floating) or any(
            side % factor for side in images.shape[1:3]
        ):  # fmt: skip
            raise ValueError(
                f"Encoder was given {images.dtype} {list(images.shape)} and expects float images [b, H, W, C] with "
                f"sides that are multiples of {factor}; resize them, or give it fewer channels."
            )


def build(model, *, norm, dtype) -> Encoder:
    """The network of `config.model`: `channels`, `bottleneck`.

    Raises:
      ValueError: one of them is below 1.
    """
    if min((*model.channels, model.bottleneck)) < 1:
        raise ValueError(
            f"config.model.channels is {tuple(model.channels)} and config.model.bottleneck {model.bottleneck}; "
            "expected numbers from 1 on"
        )
    return Encoder(channels=tuple(model.channels), bottleneck=model.bottleneck, norm=norm, dtype=dtype)


def check_side(side: int, channels, key: str) -> None:
    """Refuses a side, the value of a key of the config, that a `CodeDecoder` of these channels cannot make."""
    if not channels or min(channels) < 1 or side % 2 ** len(channels):
        raise ValueError(
            f"{key} is {side} and config.model.decoder.channels {tuple(channels)}, each of which doubles the side; "
            f"expected one or more numbers from 1 on, and a side that is a multiple of {2 ** len(channels)}"
        )


class CodeDecoder(nn.Module):
    """A code as an image: a dense layer to a small map, and 4x4 up-convolutions that double its sides.

    Batch norm and a ReLU follow all layers but the last, which `final` follows. No layer has a bias but the norms.

    Args:
      channels: of the maps from the first to the last but one.
      side: of the image, a multiple of `2 ** len(channels)`.
      outputs: its channels.
      final: what follows the last layer; `jnp.tanh` for images in [-1, 1].
      activate: whether batch norm and a leaky ReLU precede the dense layer (context encoders).
      norm, dtype: see `Encoder`.

    Call with: codes `[b, D]`, train, group_ids. Returns: `[b, side, side, outputs]`, float32 or wider.

    >>> model = CodeDecoder((8, 4), side=16, outputs=3)
    >>> model.init_with_output(jax.random.key(0), jnp.ones((1, 5)))[0].shape
    (1, 16, 16, 3)

    Source: pathak22/context-encoder, train.lua.
    """

    channels: tuple[int, ...]
    side: int
    outputs: int
    final: Callable = jnp.tanh
    activate: bool = True
    norm: Callable[..., nn.Module] = BatchNorm
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, codes, *, train: bool = False, group_ids=None):
        def normed(x, name):
            layer = self.norm(name=name, scale_init=scale_init, dtype=self.dtype)
            return layer(x.astype(self.dtype), train=train, group_ids=group_ids)

        wide, start = jnp.promote_types(self.dtype, jnp.float32), self.side // 2 ** len(self.channels)
        x = nn.leaky_relu(normed(codes, "norm_code"), 0.2) if self.activate else codes.astype(self.dtype)
        x = nn.Dense(
            start * start * self.channels[0], use_bias=False, kernel_init=INIT, dtype=self.dtype, param_dtype=wide,
            name="dense",
        )(x)  # fmt: skip
        x = nn.relu(normed(x.reshape(-1, start, start, self.channels[0]), "norm_0"))
        for i, channels in enumerate(self.channels[1:], start=1):
            x = nn.relu(normed(UpConv(channels, kernel_init=INIT, dtype=self.dtype, name=f"up_{i}")(x), f"norm_{i}"))
        x = UpConv(self.outputs, kernel_init=INIT, dtype=self.dtype, name="up_last")(x)
        return self.final(x.astype(wide))


class MapDecoder(nn.Module):
    """A map as an image: max-pool, a channel-wise fully connected layer, 1x1 convolution, 5x5 up-convolutions, resize.

    A map of side n becomes one of 2 n - 1 in each up-convolution: for AlexNet 6, 11, 21, 41, 81, 161, resized to 227.
    ReLUs follow all layers but the last; batch norm where the encoder has it.

    Args:
      channels: of the up-convolutions but the last.
      side: of the image.
      outputs: its channels.
      norm, dtype: see `Encoder`.

    Call with: maps `[b, h, w, C]`, train, group_ids. Returns: `[b, side, side, outputs]`, float32 or wider.

    >>> model = MapDecoder((4,), side=8, outputs=3)
    >>> model.init_with_output(jax.random.key(0), jnp.ones((1, 5, 5, 2)))[0].shape
    (1, 8, 8, 3)

    Source: Pathak et al., https://arxiv.org/abs/1604.07379, section 3.1 and the supplementary material's figure 9.
    """

    channels: tuple[int, ...]
    side: int
    outputs: int
    norm: Callable[..., nn.Module] = BatchNorm
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, maps, *, train: bool = False, group_ids=None):
        wide, count = jnp.promote_types(self.dtype, jnp.float32), maps.shape[-1]
        options = {"kernel_init": nn.initializers.he_normal(), "dtype": self.dtype}

        def active(x, name):
            return nn.relu(self.norm(name=name, dtype=self.dtype)(x, train=train, group_ids=group_ids))

        x = nn.max_pool(maps.astype(self.dtype), (3, 3), strides=(2, 2))
        x = active(ChannelwiseDense(dtype=self.dtype, name="channelwise")(x), "norm_channelwise")
        x = active(nn.Conv(count, (1, 1), use_bias=False, param_dtype=wide, name="mix", **options)(x), "norm_mix")
        for i, channels in enumerate(self.channels, start=1):
            x = active(UpConv(channels, size=5, name=f"up_{i}", **options)(x), f"norm_{i}")
        x = UpConv(self.outputs, size=5, name="up_last", **options)(x).astype(wide)
        return jax.image.resize(x, (len(x), self.side, self.side, self.outputs), "bilinear")


class ChannelwiseDense(nn.Module):
    """A dense layer over the places of each channel by itself, `y[:, q, c] = sum_p x[:, p, c] W[c, p, q]`.

    It carries information from one end of a map to the other, with `C n^2` weights where a dense layer has `(C n)^2`.

    >>> model = ChannelwiseDense()
    >>> variables = model.init(jax.random.key(0), jnp.ones((1, 2, 3, 4)))
    >>> variables["params"]["kernel"].shape
    (4, 6, 6)

    Source: Pathak et al., https://arxiv.org/abs/1604.07379, section 3.1.
    """

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        b, h, w, c = x.shape
        kernel = self.param(
            "kernel", nn.initializers.variance_scaling(1.0, "fan_in", "normal", batch_axis=0), (c, h * w, h * w),
            jnp.promote_types(self.dtype, jnp.float32),
        )  # fmt: skip
        y = jnp.einsum("bpc,cpq->bqc", x.reshape(b, h * w, c).astype(self.dtype), kernel.astype(self.dtype))
        return y.reshape(b, h, w, c)


class UpConv(nn.Module):
    """An up-convolution of stride 2 without bias: sides n to 2 n (`size` 4) or 2 n - 1 (5)."""

    features: int
    kernel_init: nn.initializers.Initializer
    size: int = 4
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.promote_types(self.dtype, jnp.float32))
        return upconvolve(x.astype(self.dtype), kernel.astype(self.dtype))


def upconvolve(x, kernel):
    """A convolution of `x [B, H, W, C]` with a zero between its places, `kernel [n, n, C, K]`, padded by 2.

    >>> upconvolve(jnp.ones((1, 2, 2, 1)), jnp.ones((4, 4, 1, 1)))[0, :, :, 0].tolist()
    [[1.0, 2.0, 2.0, 1.0], [2.0, 4.0, 4.0, 2.0], [2.0, 4.0, 4.0, 2.0], [1.0, 2.0, 2.0, 1.0]]
    """
    layout = ("NHWC", "HWIO", "NHWC")
    if jax.default_backend() != "cpu" or len(kernel) != 4:
        return lax.conv_general_dilated(x, kernel, (1, 1), [(2, 2)] * 2, lhs_dilation=(2, 2), dimension_numbers=layout)
    # XLA's convolutions with zeros between places are slow on a CPU: here as one of 3x3, an output for each of the four
    # phases of the larger map, eight times as fast. Phase 0 sees a place and the one before it, phase 1 the one after.
    b, h, w, c = x.shape
    phases = jnp.zeros((3, 3, c, 2, 2, kernel.shape[-1]), kernel.dtype)
    for i in range(2):
        for j in range(2):
            phases = phases.at[i : i + 2, j : j + 2, :, i, j].set(kernel[i::2, j::2])
    y = lax.conv_general_dilated(x, phases.reshape(3, 3, c, -1), (1, 1), [(1, 1)] * 2, dimension_numbers=layout)
    return y.reshape(b, h, w, 2, 2, -1).transpose(0, 1, 3, 2, 4, 5).reshape(b, 2 * h, 2 * w, -1)
