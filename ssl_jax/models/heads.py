"""Heads on top of an encoder: the projectors and predictors of self-supervised methods."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from ssl_jax.models.dropout import Dropout


class MLPHead(nn.Module):
    """Dense layers with ReLU (or GELU) between them; after each a norm, where given, and a bias where there is none.

    SimCLR v1 is `MLPHead((2048,), 128, norm, output_norm)`, v2 `MLPHead((2048, 2048), 128, norm, output_norm)`, with
    `norm = partial(BatchNorm, axis_name=...)` and `output_norm = partial(norm, use_bias=False)`; MoCo v2 is
    `MLPHead((2048,), 128)`, without norms.

    Args:
        hidden_dims: widths of the hidden layers; () is a linear head.
        output_dim: width of the output.
        norm: makes the norm of the hidden layers, `norm(name=, dtype=)`, called as `BatchNorm` is; None = none.
        output_norm: makes the norm of the output; None = none.
        norm_layers: how many of the hidden layers, counted from the first, have the norm; None = all.
        dropout: rate after the hidden layers' activation, with a mask of each example.
        use_bias: whether layers that no norm follows have a bias.
        hidden_bias: whether hidden layers have a bias although a norm follows, where it has no effect but on the
            optimizer: published so for BYOL and VICReg.
        activation: between the layers.
        kernel_init: initializer of the dense kernels.
        bias_init: fan-in -> initializer of the biases.
        dtype: of the computation; parameters are float32 or wider.

    Call with: x float [b, D]; `train` and `group_ids` are handed to the norms; `keys` [b] to the dropout.

    Returns: [b, output_dim], float32 or wider, not normalised to unit length.

    >>> import jax
    >>> head = MLPHead((32,), 8)
    >>> head.init_with_output(jax.random.key(0), jnp.ones((2, 16)), train=True)[0].shape
    (2, 8)

    Source: Chen et al., https://arxiv.org/abs/2002.05709, section 2.1, and https://arxiv.org/abs/2006.10029, section 2;
    biases, norms and initialisation as in the official `tf2/model.py`, `ProjectionHead`.
    """

    hidden_dims: Sequence[int]
    output_dim: int
    norm: Callable[..., nn.Module] | None = None
    output_norm: Callable[..., nn.Module] | None = None
    norm_layers: int | None = None
    dropout: float = 0.0
    use_bias: bool = True
    hidden_bias: bool = False
    activation: Callable = nn.relu
    kernel_init: nn.initializers.Initializer = nn.initializers.normal(0.01)
    bias_init: Callable[[int], nn.initializers.Initializer] = lambda fan_in: nn.initializers.zeros
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool, group_ids=None, keys=None):
        wide = jnp.promote_types(self.dtype, jnp.float32)
        dense = partial(nn.Dense, dtype=self.dtype, param_dtype=wide, kernel_init=self.kernel_init)
        normed = len(self.hidden_dims) if self.norm_layers is None else self.norm_layers
        norms = [self.norm if i < normed else None for i in range(len(self.hidden_dims))] + [self.output_norm]
        for i, (features, norm) in enumerate(zip((*self.hidden_dims, self.output_dim), norms, strict=True), start=1):
            if i > 1:
                x = Dropout(self.dropout, layer=i)(self.activation(x), keys, train)
            use_bias = self.use_bias if norm is None else self.hidden_bias and i <= len(self.hidden_dims)
            bias = {"use_bias": use_bias, "bias_init": self.bias_init(x.shape[-1])}
            x = dense(features, name=f"dense_{i}", **bias)(x)
            if norm is not None:
                x = norm(name=f"norm_{i}", dtype=self.dtype)(x, train=train, group_ids=group_ids)
        return x.astype(wide)


class WeightNormDense(nn.Module):
    """A dense layer of weight-normalised columns, `y_k = g_k x . v_k / |v_k|`, without bias: the last of DINO's head.

    Args:
        output_dim: number of outputs, K.
        learn_gain: whether the gains g, 1 at first, are trained; they stay 1 otherwise.
        dtype: of the product, which is summed and returned in float32 or wider; so are parameters.

    Call with: x float [..., D]; `train` and `group_ids` are unused, so that heads are called alike.

    Returns: [..., output_dim], float32 or wider.

    >>> import jax
    >>> layer = WeightNormDense(4)
    >>> y, _ = layer.init_with_output(jax.random.key(0), jnp.eye(3))
    >>> jnp.sum(y**2, axis=0).round(3).tolist()
    [1.0, 1.0, 1.0, 1.0]

    Source: Salimans and Kingma, https://arxiv.org/abs/1602.07868; facebookresearch/dino at 7c446df,
    `vision_transformer.py`, `DINOHead`, where v starts at the default of torch, U(-a, a) with a = 1 / sqrt(D).
    """

    output_dim: int
    learn_gain: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool = False, group_ids=None):
        wide = jnp.promote_types(self.dtype, jnp.float32)
        v_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
        v = self.param("kernel", v_init, (x.shape[-1], self.output_dim), wide)
        columns = v * lax.rsqrt(jnp.maximum(jnp.sum(v * v, axis=0, keepdims=True), 1e-12))
        if self.learn_gain:
            # Two axes as in the official code, whose weight decay spares what has one, and not this.
            columns = columns * self.param("gain", nn.initializers.ones, (1, self.output_dim), wide)
        return jnp.matmul(x.astype(self.dtype), columns.astype(self.dtype), preferred_element_type=wide)
