"""The blocks of every transformer here: vision, text, and the decoders of masked images."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.models.dropout import Dropout, DropPath

exact_gelu = partial(nn.gelu, approximate=False)  # x P(N(0, 1) <= x)


def quick_gelu(x):
    """`x sigmoid(1.702 x)`, the activation of CLIP's published weights (Hendrycks and Gimpel, arXiv 1606.08415)."""
    return x * nn.sigmoid(1.702 * x)


ACTIVATIONS = {"gelu": exact_gelu, "gelu_tanh": partial(nn.gelu, approximate=True), "quick_gelu": quick_gelu}


def run_blocks(
    x, *, depth: int, keys=None, train: bool = False, mask=None, places=None, drop_path: float = 0.0,
    remat: bool = False, **options,
) -> Iterator[tuple[str, jax.Array]]:  # fmt: skip
    """`(name, x)` after each of `depth` blocks, which become children "block_1", ... of the module that calls this.

    Args:
        x: tokens [b, T, D].
        depth: how many blocks.
        keys, train, mask: see `Block`.
        places: the tokens that the last block gives, see `Block`.
        drop_path: rate of `DropPath` in the last block, growing linearly from 0 in the first one.
        remat: whether the backward pass computes each block again, instead of keeping its activations.
        options: the other arguments of `Block`.

    Source: Vaswani et al., https://arxiv.org/abs/1706.03762, section 3.1.
    """
    make = nn.remat(Block, static_argnums=(3,)) if remat else Block
    for i in range(depth):
        name, rate = f"block_{i + 1}", drop_path * i / max(depth - 1, 1)
        given = places if i == depth - 1 else None
        x = make(number=i + 1, drop_path=rate, **options, name=name)(x, keys, train, mask, given)
        yield name, x


class Dense(nn.Dense):
    """A dense layer of tokens `[b, T, D]` as rows `[b T, D]`, of which XLA's CPU compiler makes weight gradients fast.

    With two axes of rows they take several times as long.
    """

    def __call__(self, x):
        return super().__call__(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], self.features)


class Block(nn.Module):
    """A transformer block: attention and an MLP, each with a residual sum and a LayerNorm.

    `x + attention(norm_1(x))`, then `x + mlp(norm_2(x))` where the norm comes first (ViT, GPT-2);
    `norm_1(x + attention(x))`, then `norm_2(x + mlp(x))` where it comes last (BERT).

    Args:
        number: of this block in its network, from 1 on; blocks of other numbers draw other masks.
        heads: of the attention.
        hidden: width of the MLP's hidden layer.
        norm_first: where the norms are.
        epsilon: of the norms.
        activation: of the MLP.
        causal: whether a token attends to those before it and itself alone.
        drop_path: rate of `DropPath`, before each sum.
        dropout: rate of `Dropout`, before each sum.
        attention_dropout: rate of `Dropout` of the attention's probabilities.
        implementation: of `jax.nn.dot_product_attention`: None, "xla" or "cudnn".
        qkv_init, kernel_init: initializers of the queries, keys and values, and of all other kernels.
        dtype: of the computation; parameters, statistics and softmax are float32 or wider.

    Call with:
        x: tokens [b, T, D].
        keys: [b] typed PRNG keys, one per example, or None where nothing is dropped.
        train: whether anything is dropped.
        mask: bool, broadcastable to [b, heads, T, T], True where a token (the third axis) may attend to another; or
            None.
        places: int [b, M], the tokens that are given, as [b, M, D]; all others are attended to and no more. None: all.
    """

    number: int
    heads: int
    hidden: int
    norm_first: bool = True
    epsilon: float = 1e-6
    activation: Any = exact_gelu
    causal: bool = False
    drop_path: float = 0.0
    dropout: float = 0.0
    attention_dropout: float = 0.0
    implementation: str | None = None
    qkv_init: nn.initializers.Initializer = nn.initializers.xavier_uniform()
    kernel_init: nn.initializers.Initializer = nn.initializers.xavier_uniform()
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, keys, train: bool, mask=None, places=None):
        wide = jnp.promote_types(self.dtype, jnp.float32)
        norm_1, norm_2 = (
            nn.LayerNorm(self.epsilon, dtype=self.dtype, param_dtype=wide, use_fast_variance=False, name=name)
            for name in ("norm_1", "norm_2")
        )
        attention = Attention(
            self.heads, self.implementation, self.qkv_init, self.kernel_init, self.dtype, self.causal,
            self.attention_dropout, 3 * self.number, name="attention",
        )  # fmt: skip
        mlp = MLP(self.hidden, self.kernel_init, self.dtype, self.activation, name="mlp")

        def dropped(y, branch):
            y = Dropout(self.dropout, 3 * self.number + 1 + branch)(y, keys, train)
            return DropPath(self.drop_path, 2 * self.number + branch)(y, keys, train)

        if self.norm_first:
            x = tokens_at(places, x) + dropped(attention(norm_1(x), keys, train, mask, places), 0)
            return x + dropped(mlp(norm_2(x)), 1)
        x = norm_1(tokens_at(places, x) + dropped(attention(x, keys, train, mask, places), 0))
        return norm_2(x + dropped(mlp(x), 1))


def tokens_at(places, x):
    """Those of the tokens `[b, T, ...]` that stand at `places` `[b, M]`; all where that is None."""
    return x if places is None else jnp.take_along_axis(x, places.reshape(*places.shape, *(1,) * (x.ndim - 2)), axis=1)


class Attention(nn.Module):
    """Self-attention of [b, T, D]: `softmax(q k' / sqrt(D / heads)) v` in each head, and a dense layer.

    The output of `qkv` is [3, heads, D / heads] in this order.
    """

    heads: int
    implementation: str | None
    qkv_init: nn.initializers.Initializer
    kernel_init: nn.initializers.Initializer
    dtype: Any
    causal: bool = False
    dropout: float = 0.0
    number: int = 0

    @nn.compact
    def __call__(self, x, keys=None, train: bool = False, mask=None, places=None):
        if self.causal and places is not None:
            raise ValueError("A causal block was given places; expected None: every token of it is given.")
        (b, tokens, width), wide = x.shape, jnp.promote_types(self.dtype, jnp.float32)
        dense = dict(dtype=self.dtype, param_dtype=wide)
        qkv = Dense(3 * width, kernel_init=self.qkv_init, name="qkv", **dense)(x)
        q, k, v = jnp.moveaxis(qkv.reshape(b, tokens, 3, self.heads, width // self.heads), 2, 0)
        q = tokens_at(places, q)
        if places is not None and mask is not None:
            mask = jnp.take_along_axis(mask, places[:, None, :, None], axis=2)
        drops = self.dropout > 0 and train
        # The function of JAX has no dropout, and rounds its softmax to float32.
        if not drops and (wide == jnp.float32 or self.implementation == "cudnn"):
            limits = ({} if mask is None else {"mask": mask}) | ({"is_causal": True} if self.causal else {})
            y = jax.nn.dot_product_attention(q, k, v, implementation=self.implementation, **limits)
        else:
            logits = jnp.einsum("bqhd,bkhd->bhqk", q, k).astype(wide) * (width // self.heads) ** -0.5
            if self.causal:
                logits = jnp.where(jnp.tri(tokens, dtype=bool), logits, -jnp.inf)
            if mask is not None:
                logits = jnp.where(mask, logits, -jnp.inf)
            weights = Dropout(self.dropout, self.number)(jax.nn.softmax(logits), keys, train)
            y = jnp.einsum("bhqk,bkhd->bqhd", weights.astype(self.dtype), v)
        return Dense(width, kernel_init=self.kernel_init, name="out", **dense)(y.reshape(b, -1, width))


class MLP(nn.Module):
    """Two dense layers with an activation between them."""

    hidden: int
    kernel_init: nn.initializers.Initializer
    dtype: Any
    activation: Any = exact_gelu

    @nn.compact
    def __call__(self, x):
        wide = jnp.promote_types(self.dtype, jnp.float32)
        dense = partial(Dense, kernel_init=self.kernel_init, dtype=self.dtype, param_dtype=wide)
        return dense(x.shape[-1], name="dense_2")(self.activation(dense(self.hidden, name="dense_1")(x)))
