"""CaffeNet as context prediction and jigsaw train it on patches: AlexNet with local response normalisation."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from ssl_jax.models.checks import check_images, check_layer
from ssl_jax.models.dropout import Dropout
from ssl_jax.models.initializers import CONV_INITS, choose
from ssl_jax.models.norm import BatchNorm

# channels, size, padding, whether a 3x3 max-pool of stride 2 follows; of jigsaw: groups
CONVOLUTIONS = ((96, 11, 5, True, 1), (256, 5, 2, True, 2), (384, 3, 1, False, 1), (384, 3, 1, False, 2),
                (256, 3, 1, True, 2))  # fmt: skip


class CaffeNet(nn.Module):
    """Five convolutions of 96, 256, 384, 384 and 256 channels and a dense layer (fc6), a ReLU after each.

    The first two are pooled and locally normalised. Pools round up, as Caffe's do. Convolutions take images of any
    size, fc6 those of one size alone: patches.

    The network of context prediction: a first convolution of stride 4, fc6 of 4,096, and from the third convolution on
    batch norm without scale and offset before the ReLU, "which forces the network activations to vary across examples".
    That of jigsaw (`jigsaw=True`): a first convolution of stride 2 without padding, two groups of channels in the
    second, fourth and fifth, no batch norm, fc6 of 1,024 with dropout of a half, and the initial values of its code.

    Args:
      jigsaw: which of the two.
      width: multiplies all channels; may be fractional.
      norm: makes norm layers, called as `BatchNorm` is.
      kernel_init: initializer of all kernels.
      dtype: of the computation; parameters are float32 or wider.

    Call with:
      images: float `[b, H, W, C]`, at least 21 pixels on a side.
      train, group_ids: handed to the norms.
      keys: PRNG keys `[b]`, for jigsaw's dropout.
      layer: None, or "conv_1" to "conv_5": after the ReLU, before a pool.

    Returns: fc6 `[b, feature_dim]`, float32 or wider; with `layer`, its map.

    Raises:
      ValueError: an unknown layer, or images of a wrong rank, dtype or size.

    >>> import jax
    >>> model, images = CaffeNet(width=0.1), jnp.ones((1, 96, 96, 3))
    >>> variables = model.init(jax.random.key(0), images)
    >>> model.apply(variables, images).shape, model.apply(variables, images, layer="conv_5").shape
    ((1, 409), (1, 6, 6, 25))

    Source: Doersch et al. 2015, https://arxiv.org/abs/1505.05192, section 3 and figure 3; `caffenet_stack` of
    cdoersch/deepcontext, train.py, whose biases before a batch norm have no effect and are left out. Noroozi and
    Favaro 2016, https://arxiv.org/abs/1603.09246; MehdiNoroozi/JigsawPuzzleSolver, train_val_cfn_jps.prototxt.
    """

    jigsaw: bool = False
    width: float = 1.0
    norm: Callable[..., nn.Module] = BatchNorm
    kernel_init: nn.initializers.Initializer = CONV_INITS["caffe"]
    dtype: Any = jnp.float32

    @property
    def feature_dim(self) -> int:
        """Number of features."""
        return int((1024 if self.jigsaw else 4096) * self.width)

    @property
    def layers(self) -> tuple[str, ...]:
        """The inner layers that can be asked for."""
        return tuple(f"conv_{i + 1}" for i in range(len(CONVOLUTIONS)))

    @nn.compact
    def __call__(self, images, *, train: bool = False, group_ids=None, keys=None, layer: str | None = None):
        check_layer("CaffeNet", layer, self.layers)
        check_images("CaffeNet", images, smallest=21)
        wide, x = jnp.promote_types(self.dtype, jnp.float32), images.astype(self.dtype)
        first_stride = 2 if self.jigsaw else 4

        def options(i):
            init, bias = self.kernel_init, nn.initializers.zeros
            if self.jigsaw:
                init = nn.initializers.normal(0.005 if i == 6 else 0.01)
                bias = nn.initializers.ones if i in (2, 4, 5, 6) else bias
            dtypes = {"dtype": self.dtype, "param_dtype": wide}
            return dtypes | {"use_bias": self.jigsaw or i <= 2, "kernel_init": init, "bias_init": bias}

        def activate(x, i):
            if i > 2 and not self.jigsaw:
                norm = self.norm(name=f"norm_{i}", dtype=self.dtype, use_scale=False, use_bias=False)
                x = norm(x, train=train, group_ids=group_ids)
            return nn.relu(x)

        for i, (channels, size, margin, pooled, groups) in enumerate(CONVOLUTIONS, start=1):
            margin, stride = (0 if i == 1 and self.jigsaw else margin), (first_stride if i == 1 else 1)
            x = nn.Conv(
                int(channels * self.width), (size, size), (stride, stride), [(margin, margin)] * 2,
                feature_group_count=groups if self.jigsaw else 1, name=f"conv_{i}", **options(i),
            )(x)  # fmt: skip
            x = activate(x, i)
            if layer == f"conv_{i}":
                return x
            if pooled:
                x = max_pool(x)
            if i <= 2:
                x = local_response_norm(x)
        x = activate(nn.Dense(self.feature_dim, name="dense_6", **options(6))(x.reshape(len(x), -1)), 6)
        return Dropout(0.5 if self.jigsaw else 0.0, layer=6)(x, keys, train).astype(wide)


def max_pool(x):
    """3x3 max-pooling of stride 2 whose last window may leave the map, `ceil((n - 3) / 2) + 1` places.

    >>> max_pool(jnp.arange(4.0).reshape(1, 4, 1, 1).repeat(4, axis=2))[0, :, 0, 0].tolist()
    [2.0, 3.0]
    """
    return nn.max_pool(x, (3, 3), strides=(2, 2), padding=[(0, (n - 3) % 2) for n in x.shape[1:3]])


def local_response_norm(x, size: int = 5, alpha: float = 1e-4, beta: float = 0.75):
    """`x_c / (1 + alpha / size * sum of x^2 over the `size` channels around c)^beta`, of maps `[b, h, w, C]`.

    >>> local_response_norm(jnp.array([[[[3.0, 1.0]]]]), size=3, alpha=0.9, beta=1.0).round(2).tolist()
    [[[[0.75, 0.25]]]]

    Source: Krizhevsky et al. 2012, section 3.3, with the sum divided by `size` as in Caffe.
    """
    squares = jnp.square(x.astype(jnp.promote_types(x.dtype, jnp.float32)))
    around = jnp.pad(squares, ((0, 0), (0, 0), (0, 0), (size // 2, size // 2)))
    total = sum(around[..., i : i + x.shape[-1]] for i in range(size))
    return (x / (1 + alpha / size * total) ** beta).astype(x.dtype)


def build(model, *, norm, dtype) -> CaffeNet:
    """The network of `config.model`: `jigsaw`, `width`, `init`."""
    init = choose(CONV_INITS, model.init, "config.model.init")
    return CaffeNet(jigsaw=model.get("jigsaw", False), width=model.width, norm=norm, kernel_init=init, dtype=dtype)
