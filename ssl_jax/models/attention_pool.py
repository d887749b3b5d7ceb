"""Pooling by attention: a learned query, or the mean of all tokens, asks every token."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.models.transformer import MLP, exact_gelu


def attend(q, k, v, heads: int):
    """`softmax(q k' / sqrt(D / heads)) v` in each head: `[b, Q, D]` of queries `[b, Q, D]` and tokens `[b, T, D]`."""
    (b, queries, width), wide = q.shape, jnp.promote_types(q.dtype, jnp.float32)
    q, k, v = (x.reshape(b, -1, heads, width // heads) for x in (q, k, v))
    logits = jnp.einsum("bqhd,bkhd->bhqk", q, k).astype(wide) * (width // heads) ** -0.5
    weights = jax.nn.softmax(logits).astype(v.dtype)
    return jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(b, queries, width)


class AttentionPool(nn.Module):
    """Pooling of SigLIP, "MAP": attention by a learned probe, then `y + mlp(norm(y))`.

    Args:
        heads: of the attention.
        hidden: width of the MLP's hidden layer.
        epsilon: of the norm.
        activation: of the MLP.
        kernel_init: initializer of all kernels, and of the probe.
        dtype: of the computation; parameters and softmax are float32 or wider.

    Call with: x tokens [b, T, D].

    Returns: [b, D] in `dtype`.

    >>> pool = AttentionPool(heads=2, hidden=16)
    >>> pool.init_with_output(jax.random.key(0), jnp.ones((3, 5, 8)))[0].shape
    (3, 8)

    Source: Zhai et al. 2022, arXiv 2106.04560, section 3.2 (multi-head attention pooling, Lee et al., arXiv
    1810.00825); google-research/big_vision, models/vit.py, `MAPHead`.
    """

    heads: int
    hidden: int
    epsilon: float = 1e-6
    activation: Any = exact_gelu
    kernel_init: nn.initializers.Initializer = nn.initializers.xavier_uniform()
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        (b, _, width), wide = x.shape, jnp.promote_types(self.dtype, jnp.float32)

        def dense(name, columns=width, init=self.kernel_init):
            return nn.Dense(columns, kernel_init=init, dtype=self.dtype, param_dtype=wide, name=name)

        def two_kernels(key, shape, dtype):
            return jnp.concatenate([self.kernel_init(k, (width, width), dtype) for k in jax.random.split(key)], axis=1)

        probe = self.param("probe", self.kernel_init, (1, 1, width), wide).astype(self.dtype)
        q = jnp.broadcast_to(dense("query")(probe), (b, 1, width))
        k, v = jnp.split(dense("key_value", 2 * width, two_kernels)(x), 2, axis=-1)
        y = dense("out")(attend(q, k, v, self.heads))[:, 0]
        norm = nn.LayerNorm(self.epsilon, dtype=self.dtype, param_dtype=wide, use_fast_variance=False, name="norm")
        return y + MLP(self.hidden, self.kernel_init, self.dtype, self.activation, name="mlp")(norm(y))
