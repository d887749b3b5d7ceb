"""Heads on top of an encoder: the projectors and predictors of self-supervised methods."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp


class MLPHead(nn.Module):
    """Dense layers with ReLU between them; after each a norm, where given, and a bias at most where there is none.

    SimCLR v1 is `MLPHead((2048,), 128, norm, output_norm)`, v2 `MLPHead((2048, 2048), 128, norm, output_norm)`, with
    `norm = partial(BatchNorm, axis_name=...)` and `output_norm = partial(norm, use_bias=False)`; MoCo v2 is
    `MLPHead((2048,), 128)`, without norms.

    Args:
        hidden_dims: widths of the hidden layers; () is a linear head.
        output_dim: width of the output.
        norm: makes the norm of the hidden layers, `norm(name=, dtype=)`, called as `BatchNorm` is; None = none.
        output_norm: makes the norm of the output; None = none.
        use_bias: whether layers that no norm follows have a bias.
        kernel_init: initializer of the dense kernels.
        bias_init: fan-in -> initializer of the biases.
        dtype: of the computation; parameters are float32 or wider.

    Call with: x float [b, D]; `train` and `group_ids` are handed to the norms.

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
    use_bias: bool = True
    kernel_init: nn.initializers.Initializer = nn.initializers.normal(0.01)
    bias_init: Callable[[int], nn.initializers.Initializer] = lambda fan_in: nn.initializers.zeros
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool, group_ids=None):
        wide = jnp.promote_types(self.dtype, jnp.float32)
        dense = partial(nn.Dense, dtype=self.dtype, param_dtype=wide, kernel_init=self.kernel_init)
        norms = [self.norm] * len(self.hidden_dims) + [self.output_norm]
        for i, (features, norm) in enumerate(zip((*self.hidden_dims, self.output_dim), norms, strict=True), start=1):
            x = nn.relu(x) if i > 1 else x
            bias = {"use_bias": self.use_bias and norm is None, "bias_init": self.bias_init(x.shape[-1])}
            x = dense(features, name=f"dense_{i}", **bias)(x)
            if norm is not None:
                x = norm(name=f"norm_{i}", dtype=self.dtype)(x, train=train, group_ids=group_ids)
        return x.astype(wide)
