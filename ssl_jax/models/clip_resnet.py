"""The residual networks of CLIP: a stem of three convolutions, strides by averaging, pooling by attention."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from ssl_jax.models.attention_pool import attend
from ssl_jax.models.checks import check_images, check_layer
from ssl_jax.models.convolution import Conv
from ssl_jax.models.initializers import CONV_INITS, DENSE_INITS, choose
from ssl_jax.models.norm import BatchNorm

LAYERS = ("stem", "stage_1", "stage_2", "stage_3", "stage_4")
SHRINKS = 32  # a place of the last map stands for so many pixels on a side
HEAD = 64  # channels of an attention head


class CLIPResNet(nn.Module):
    """The image tower of CLIP's RN50 to RN50x64: a ResNet changed in three places.

    The stem has three 3x3 convolutions and averages in place of one 7x7 and a maximum. Where a residual block has a
    stride, both of its branches average over 2 x 2 places before a 1x1 convolution of stride 1, so that nothing is
    skipped. The last map is pooled by attention: its mean asks it and its places, with learned positions.

    Args:
        blocks: residual blocks of the four stages.
        width: multiplies the channels, `c = int(64 * width)` in the stem; c is even.
        output_dim: number of features, which CLIP compares with texts as they are, without another projection.
        norm: makes norm layers, `norm(name=, dtype=[, scale_init=])`, called as `BatchNorm` is.
        kernel_init: initializer of the convolutions; the kernels of the pooling are N(0, 1 / (32 c)).
        dtype: of the computation; parameters and softmax are float32 or wider.

    Call with:
        images: float [b, H, W, C], of the size that they had in `init`, at least 32 pixels.
        train: whether norms use the statistics of the batch.
        group_ids: int32 [b], handed to the norms.
        keys: unused, no layer here is random; so that encoders are called alike.
        layer: None, or the layer to stop at, one of `LAYERS`.

    Returns: features [b, output_dim], float32 or wider; with `layer`, its feature map [b, h, w, c] in `dtype`.

    Raises:
        ValueError: an odd number of channels, not four stages, an unknown layer, images of a wrong rank, dtype or size.

    >>> import jax
    >>> model = CLIPResNet(blocks=(1, 1, 1, 1), width=1 / 16, output_dim=5)
    >>> images = jnp.ones((2, 64, 64, 3))
    >>> variables = jax.eval_shape(model.init, jax.random.key(0), images)
    >>> jax.eval_shape(model.apply, variables, images).shape
    (2, 5)
    >>> jax.eval_shape(partial(model.apply, layer="stage_4"), variables, images).shape
    (2, 2, 2, 128)

    Source: Radford et al. 2021, arXiv 2103.00020, section 2.4 and table 19; openai/CLIP at d05afc4, clip/model.py;
    strides by averaging: He et al. 2019, arXiv 1812.01187, and Zhang 2019, arXiv 1904.11486.
    """

    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    width: float = 1
    output_dim: int = 1024
    norm: Callable[..., nn.Module] = BatchNorm
    kernel_init: nn.initializers.Initializer = CONV_INITS["torch_default"]
    dtype: Any = jnp.float32

    @property
    def feature_dim(self) -> int:
        """Number of features."""
        return self.output_dim

    @property
    def layers(self) -> tuple[str, ...]:
        """The inner layers that can be asked for."""
        return LAYERS

    @nn.compact
    def __call__(self, images, *, train: bool = False, group_ids=None, keys=None, layer: str | None = None):
        self._check(images, layer)
        channels = int(64 * self.width)
        conv = partial(Conv, kernel_init=self.kernel_init, dtype=self.dtype)
        norm = partial(self.norm, dtype=self.dtype)

        x = images
        for i, (features, stride) in enumerate(((channels // 2, 2), (channels // 2, 1), (channels, 1)), start=1):
            x = conv(features, 3, stride, name=f"stem_conv_{i}")(x)
            x = nn.relu(norm(name=f"stem_norm_{i}")(x, train=train, group_ids=group_ids))
        x = halved(x)
        if layer == "stem":
            return x
        for stage, count in enumerate(self.blocks):
            for block in range(count):
                name = f"stage_{stage + 1}_block_{block + 1}"
                x = Bottleneck(channels * 2**stage, block == 0 and stage > 0, conv, norm, name=name)(
                    x, train=train, group_ids=group_ids
                )
            if layer == f"stage_{stage + 1}":
                return x
        pool = MeanAttentionPool(32 * channels // HEAD, self.output_dim, dtype=self.dtype, name="pool")
        return pool(x).astype(jnp.promote_types(self.dtype, jnp.float32))

    def _check(self, images, layer):
        if int(64 * self.width) < 2 or int(64 * self.width) % 2:
            raise ValueError(
                f"CLIPResNet was given width {self.width}, {int(64 * self.width)} channels, and expects an even number "
                "of channels above 0; choose a multiple of 1/32."
            )
        if len(self.blocks) != 4 or min(self.blocks) < 1:
            raise ValueError(
                f"CLIPResNet was given blocks {tuple(self.blocks)} and expects four numbers above 0, one a stage."
            )
        check_layer("CLIPResNet", layer, LAYERS)
        check_images("CLIPResNet", images, smallest=SHRINKS)


class Bottleneck(nn.Module):
    """`relu(shortcut(x) + residual(x))` of a 1x1, a 3x3 and a 1x1 convolution, to four times the channels.

    With a stride, the residual averages after its 3x3 convolution and the shortcut before its 1x1 convolution, which
    is there where the shape changes. The last norm of the residual begins at scale 0.
    """

    channels: int
    strided: bool
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x, *, train: bool, group_ids=None):
        def normed(name, x, **options):
            return self.norm(name=name, **options)(x, train=train, group_ids=group_ids)

        shrink = halved if self.strided else lambda x: x
        y = nn.relu(normed("norm_1", self.conv(self.channels, 1, 1, name="conv_1")(x)))
        y = nn.relu(normed("norm_2", self.conv(self.channels, 3, 1, name="conv_2")(y)))
        y = self.conv(4 * self.channels, 1, 1, name="conv_3")(shrink(y))
        y = normed("norm_3", y, scale_init=nn.initializers.zeros)
        if x.shape != y.shape:
            x = normed("shortcut_norm", self.conv(y.shape[-1], 1, 1, name="shortcut_conv")(shrink(x)))
        return nn.relu(x + y)


class MeanAttentionPool(nn.Module):
    """Attention of the mean of a map: `out(attend(query(m), key([m, x]), value([m, x])))`, positions added before.

    Args:
        heads: of the attention.
        output_dim: of the result.
        dtype: of the computation; parameters and softmax are float32 or wider.

    Call with: x float [b, h, w, D], of one size.

    Returns: [b, output_dim] in `dtype`.

    Raises:
        ValueError: a map of another size than in `init`.

    >>> import jax
    >>> pool = MeanAttentionPool(heads=2, output_dim=3)
    >>> pool.init_with_output(jax.random.key(0), jnp.ones((4, 2, 2, 8)))[0].shape
    (4, 3)

    Source: Radford et al. 2021, arXiv 2103.00020, section 2.4; openai/CLIP, clip/model.py, `AttentionPool2d`.
    """

    heads: int
    output_dim: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        (b, height, width, channels), wide = x.shape, jnp.promote_types(self.dtype, jnp.float32)
        init = nn.initializers.normal(channels**-0.5)

        def dense(name, columns=channels):
            bias_init = DENSE_INITS["torch"]["bias_init"](channels)
            return nn.Dense(
                columns, dtype=self.dtype, param_dtype=wide, kernel_init=init, bias_init=bias_init, name=name
            )

        name, shape = "position_embedding", (1, height * width + 1, channels)
        if self.has_variable("params", name) and self.get_variable("params", name).shape != shape:
            known = self.get_variable("params", name).shape[1] - 1
            raise ValueError(
                f"CLIPResNet has positions of {known} places and was given images of {height} x {width} places, "
                f"{SHRINKS} pixels each; resize them to the size that it was made with."
            )
        tokens = x.reshape(b, height * width, channels).astype(wide)
        tokens = jnp.concatenate([jnp.mean(tokens, axis=1, keepdims=True), tokens], axis=1)
        tokens = (tokens + self.param(name, init, shape, wide)).astype(self.dtype)
        q, k, v = dense("query")(tokens[:, :1]), dense("key")(tokens), dense("value")(tokens)
        return dense("out", self.output_dim)(attend(q, k, v, self.heads))[:, 0]


def halved(x):
    """Means of 2 x 2 places, float `[b, H, W, C]` to `[b, H // 2, W // 2, C]`; an odd last row or column is dropped."""
    return nn.avg_pool(x, (2, 2), strides=(2, 2))


def build(model, *, norm, dtype) -> CLIPResNet:
    """The network of `config.model`: `blocks`, `width`, `output_dim`, `init`."""
    return CLIPResNet(
        blocks=tuple(model.blocks), width=model.width, output_dim=model.output_dim, norm=norm,
        kernel_init=choose(CONV_INITS, model.init, "config.model.init"), dtype=dtype,
    )  # fmt: skip
