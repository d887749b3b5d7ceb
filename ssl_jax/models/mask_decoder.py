"""The decoder of a masked autoencoder: from the tokens of visible patches to the pixels of all."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.models.positions import SINCOS
from ssl_jax.models.transformer import Dense, run_blocks

EPSILON = 1e-6  # of every LayerNorm
xavier_uniform = nn.initializers.xavier_uniform()


class MaskDecoder(nn.Module):
    """A linear map to the decoder's width, mask tokens in the empty places, positions, blocks, a linear map to pixels.

    Args:
        outputs: values of a patch.
        width: of the decoder's tokens.
        depth: number of blocks.
        heads: of the attention; they divide `width`.
        positions: "sincos_mae" or another name of `positions.SINCOS`; 0 for the class token.
        dtype: of the computation; parameters and the prediction are float32 or wider.

    Call with:
        tokens: [b, 1 + k, D], the class token and those of the visible patches.
        places: int32 [b, N], the place of each patch among the visible ones, those of hidden patches from k on.
        grid: rows and columns of patches, h and w with h w = N.

    Returns: the predicted patches [b, N, outputs], float32 or wider.

    >>> decoder = MaskDecoder(outputs=12, width=8, depth=1, heads=2)
    >>> places = jnp.array([[2, 0, 1, 3]])
    >>> tokens = jnp.ones((1, 3, 16))
    >>> variables = decoder.init(jax.random.key(0), tokens, places, (2, 2))
    >>> decoder.apply(variables, tokens, places, (2, 2)).shape
    (1, 4, 12)

    Source: He et al., https://arxiv.org/abs/2111.06377, section 3; initial values as in the official code.
    """

    outputs: int
    width: int = 512
    depth: int = 8
    heads: int = 16
    positions: str = "sincos_mae"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens, places, grid: tuple[int, int]):
        wide = jnp.promote_types(self.dtype, jnp.float32)
        dense = dict(kernel_init=xavier_uniform, dtype=self.dtype, param_dtype=wide)
        x = Dense(self.width, name="embedding", **dense)(tokens).astype(wide)
        mask_token = self.param("mask_token", nn.initializers.normal(0.02), (1, 1, self.width), wide)
        hidden = jnp.broadcast_to(mask_token, (len(x), places.shape[1] - (x.shape[1] - 1), self.width))
        patches = permuted(jnp.concatenate([x[:, 1:], hidden], axis=1), places)
        table = np.pad(SINCOS[self.positions](*grid, self.width), ((1, 0), (0, 0)))
        x = (jnp.concatenate([x[:, :1], patches], axis=1) + jnp.asarray(table, wide)[None]).astype(self.dtype)
        *_, (_, x) = run_blocks(
            x, depth=self.depth, heads=self.heads, hidden=4 * self.width, epsilon=EPSILON, qkv_init=xavier_uniform,
            kernel_init=xavier_uniform, dtype=self.dtype,
        )  # fmt: skip
        x = nn.LayerNorm(EPSILON, dtype=wide, param_dtype=wide, use_fast_variance=False, name="norm")(x[:, 1:])
        return Dense(self.outputs, kernel_init=xavier_uniform, dtype=wide, param_dtype=wide, name="prediction")(x)


@jax.custom_vjp
def permuted(x, places):
    """Rows `x[i, places[i, n]]` of `[b, N, D]`, where each `places[i]` is a permutation.

    The gradient is the inverse permutation, a gather, where JAX would scatter, which is slow on CPUs.
    """
    return jnp.take_along_axis(x, places[..., None], axis=1)


def _permuted_forward(x, places):
    return permuted(x, places), places


def _permuted_backward(places, gradient):
    return jnp.take_along_axis(gradient, jnp.argsort(places, axis=1)[..., None], axis=1), None


permuted.defvjp(_permuted_forward, _permuted_backward)
