"""Encoders of sound: strided convolutions from samples to frames, and a recurrent network that sums the past up.

A waveform `[b, N]` becomes frames `z [b, T, D]` and contexts `c [b, T, C]`, `T = N / hop`, hop the product of strides:
`z_t` sees the samples around its hop, `c_t` sees `z_1 ... z_t`. No norm mixes frames or examples.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.models.initializers import CONV_INITS, DENSE_INITS

CELLS = {"gru": nn.GRUCell, "lstm": nn.OptimizedLSTMCell}
NORMS = ("none", "channel")


class ChannelNorm(nn.Module):
    """Every frame normalised over its own channels, with a learned scale and bias; the variance is the unbiased one.

    >>> y, _ = ChannelNorm().init_with_output(jax.random.key(0), jnp.array([[[1.0, 3.0]]]))
    >>> np.round(np.float64(y), 2).tolist()
    [[[-0.71, 0.71]]]

    Source: facebookresearch/CPC_audio, cpc/model.py, `ChannelNorm`.
    """

    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x):
        wide, channels = jnp.promote_types(x.dtype, jnp.float32), x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, channels, wide)
        bias = self.param("bias", nn.initializers.zeros, channels, wide)
        y = x.astype(wide)
        mean, var = jnp.mean(y, axis=-1, keepdims=True), jnp.var(y, axis=-1, keepdims=True, ddof=1)
        y = (y - mean) * jax.lax.rsqrt(var + self.epsilon)
        return (y * _per_channel(scale, y) + _per_channel(bias, y)).astype(x.dtype)


class FrameEncoder(nn.Module):
    """Strided convolutions with bias, each followed by its norm and ReLU: samples `[b, N]` to frames `[b, T, D]`.

    Each layer is padded by its kernel less its stride, the larger half in front, so that there are exactly
    `T = N / hop` frames. The last frame of a waveform that is no multiple of the hop is left out.
    """

    channels: int
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    norm: str
    dtype: Any

    @nn.compact
    def __call__(self, audio):
        hop = int(np.prod(self.strides))
        if audio.ndim != 2 or audio.shape[1] < hop:
            raise ValueError(
                f"Sound of shape {list(audio.shape)} was given; expected [b, N] with at least the {hop} samples of a "
                "frame; pad it with zeros"
            )
        x = audio[:, : audio.shape[1] // hop * hop, None].astype(self.dtype)
        for i, (size, stride) in enumerate(zip(self.kernels, self.strides, strict=True)):
            margin, fan_in = size - stride, size * x.shape[-1]
            x = nn.Conv(
                self.channels, (size,), (stride,), padding=[((margin + 1) // 2, margin // 2)], dtype=self.dtype,
                param_dtype=jnp.promote_types(self.dtype, jnp.float32), kernel_init=CONV_INITS["torch_default"],
                bias_init=DENSE_INITS["torch"]["bias_init"](fan_in), name=f"conv_{i + 1}",
            )(x)  # fmt: skip
            if self.norm == "channel":
                x = ChannelNorm(name=f"norm_{i + 1}")(x)
            x = nn.relu(x)
        return x


class Audio(nn.Module):
    """Frames and their contexts; as an encoder, the mean context of a waveform.

    Args:
        channels: D, of every convolution.
        kernels, strides: of the convolutions, in samples of their inputs.
        norm: after each convolution: "none", or "channel" for `ChannelNorm`.
        cell: of the recurrent network: "gru" or "lstm".
        context: C, its width; its state is zero at the start of every waveform.
        dtype: of the computation; parameters are float32 or wider.

    Call with:
        audio: float [b, N].
        lengths: int [b], how many samples of each waveform are sound and no padding behind it; None: all.
        layer: "frames" or "context" for `[b, T, D]` and `[b, T, C]`, "both" for the two; None for the mean of the
            contexts `[b, C]` over the frames that hold sound alone, float32 or wider.

    Source: van den Oord et al. 2018, https://arxiv.org/abs/1807.03748, section 3.1.
    """

    channels: int
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    norm: str
    cell: str
    context: int
    dtype: Any

    layers = ("frames", "context")

    @nn.compact
    def __call__(self, audio, *, lengths=None, train=False, group_ids=None, keys=None, layer=None):
        frames = FrameEncoder(self.channels, self.kernels, self.strides, self.norm, self.dtype, name="frames")(audio)
        if layer == "frames":
            return frames
        wide = jnp.promote_types(self.dtype, jnp.float32)
        cell = CELLS[self.cell](self.context, dtype=self.dtype, param_dtype=wide, name="cell")
        context = nn.RNN(cell, name="context")(frames)
        if layer in ("context", "both"):
            return context if layer == "context" else (frames, context)
        if layer is not None:
            raise ValueError(f"There is no layer {layer!r}; the layers are {', '.join(self.layers)}")
        return mean_over(context, valid_frames(lengths, len(audio), frames.shape[1], int(np.prod(self.strides))))


def valid_frames(lengths, b: int, frames: int, hop: int):
    """Which frames of waveforms with `lengths` `[b]` samples of sound (None: all) have a hop that is all sound.

    Returns: bool `[b, frames]`.

    >>> valid_frames(jnp.array([8, 5]), 2, frames=4, hop=2).tolist()
    [[True, True, True, True], [True, True, False, False]]
    """
    if lengths is None:
        return jnp.ones((b, frames), bool)
    return jnp.arange(frames)[None] < (lengths // hop)[:, None]


def mean_over(sequences, valid):
    """The mean of `[b, T, C]` over the frames that count, bool `[b, T]`, float32 or wider; 0 where none does."""
    weights = valid.astype(jnp.promote_types(sequences.dtype, jnp.float32))
    return jnp.einsum("btc,bt->bc", sequences, weights) / jnp.maximum(jnp.sum(weights, axis=1, keepdims=True), 1)


def build(model, *, norm, dtype) -> Audio:
    """The encoder that `model` describes: `channels`, `kernels`, `strides`, `norm`, `cell` and `context`.

    Raises:
      ValueError: kernels that do not fit their strides, an unknown norm or cell.
    """
    kernels, strides = tuple(model.kernels), tuple(model.strides)
    if len(kernels) != len(strides) or not kernels or any(k < s for k, s in zip(kernels, strides, strict=True)):
        raise ValueError(
            f"config.model.kernels is {kernels} and config.model.strides is {strides}; expected one of each a layer, "
            "and no kernel below its stride, which would skip samples"
        )
    if model.norm not in NORMS:
        raise ValueError(
            f"config.model.norm is {model.norm!r}; expected one of {', '.join(NORMS)}: batch norm is refused, since "
            "its statistics of a whole batch would tell every frame of the later frames that it is to predict"
        )
    if model.cell not in CELLS:
        raise ValueError(f"config.model.cell is {model.cell!r}; expected one of {', '.join(CELLS)}")
    return Audio(model.channels, kernels, strides, model.norm, model.cell, model.context, dtype)


def _per_channel(values, x):
    return values.reshape((1,) * (x.ndim - 1) + (-1,))
