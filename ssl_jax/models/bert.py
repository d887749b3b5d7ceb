"""BERT's encoder and its two heads."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from ssl_jax.models.dropout import Dropout
from ssl_jax.models.transformer import ACTIVATIONS, Dense, run_blocks

SIZES = {  # heads have 64 values each
    "nano": dict(width=16, depth=2, heads=2),  # for tests
    "tiny": dict(width=128, depth=2, heads=2),
    "mini": dict(width=256, depth=4, heads=4),
    "small": dict(width=512, depth=4, heads=8),
    "medium": dict(width=512, depth=8, heads=8),
    "base": dict(width=768, depth=12, heads=12),
    "large": dict(width=1024, depth=24, heads=16),
}
normal = nn.initializers.truncated_normal(0.02 / 0.87962566103423978)  # cut at 2 deviations, which are 0.02 afterwards


class Bert(nn.Module):
    """Embeddings of tokens, positions and segments, a LayerNorm, and blocks whose norms come last.

    Args:
        vocabulary: number of tokens, V.
        width, depth, heads: of the blocks; the MLP's hidden layer is four times as wide.
        positions: the longest sequence.
        segments: number of kinds of segments, 2 for pairs.
        dropout: rate after the embeddings and before each sum.
        attention_dropout: rate of the attention's probabilities.
        activation: "gelu_tanh", the approximation of the official code, or "gelu", the exact one of its ports.
        epsilon: of every LayerNorm.
        implementation: of the attention, see `models/transformer.py`.
        remat: whether the backward pass computes each block again.
        dtype: of the computation; parameters are float32 or wider.

    Call with:
        tokens: int32 [b, T].
        segments: int32 [b, T]; None: all 0.
        documents: int32 [b, T], from 1 on, 0 for padding: a token attends to those of its own document alone; None:
            to all.
        train: whether anything is dropped.
        keys: [b] typed PRNG keys, one per example; None where nothing is dropped.
        layer: None, or "block_1" to "block_{depth}", or "embedding".
        places: int32 [b, M], the tokens whose output is wanted, so that the last block makes no others; None: all.

    Returns: [b, T, width], with places [b, M, width], in `dtype`; inner layers are always those of all tokens.

    >>> model = Bert(vocabulary=10, width=8, depth=1, heads=2, positions=6)
    >>> tokens = jnp.array([[1, 5, 2, 0]])
    >>> variables = model.init(jax.random.key(0), tokens)
    >>> model.apply(variables, tokens).shape
    (1, 4, 8)

    Source: Devlin et al., https://arxiv.org/abs/1810.04805, section 3; google-research/bert, modeling.py.
    """

    vocabulary: int
    width: int = 768
    depth: int = 12
    heads: int = 12
    positions: int = 512
    segments: int = 2
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation: str = "gelu_tanh"
    epsilon: float = 1e-12
    implementation: str | None = None
    remat: bool = False
    dtype: Any = jnp.float32

    @property
    def layers(self) -> tuple[str, ...]:
        """The inner layers that can be asked for."""
        return ("embedding", *(f"block_{i + 1}" for i in range(self.depth)))

    @nn.compact
    def __call__(self, tokens, segments=None, documents=None, *, train=False, keys=None, layer=None, places=None):
        b, length = tokens.shape
        if length > self.positions:
            raise ValueError(f"Bert was given sequences of {length} tokens and expects at most {self.positions}.")
        if layer is not None and layer not in self.layers:
            raise ValueError(f"Bert was given layer {layer!r} and expects one of {list(self.layers)}, or None.")
        wide = jnp.promote_types(self.dtype, jnp.float32)
        table = {
            name: self.param(f"{name}_embedding", normal, (size, self.width), wide)
            for name, size in (("token", self.vocabulary), ("position", self.positions), ("segment", self.segments))
        }
        segments = jnp.zeros_like(tokens) if segments is None else segments
        x = table["token"][tokens] + table["position"][None, :length] + table["segment"][segments]
        norm = nn.LayerNorm(self.epsilon, dtype=self.dtype, param_dtype=wide, use_fast_variance=False, name="norm")
        x = Dropout(self.dropout, 0)(norm(x), keys, train)
        if layer == "embedding":
            return x
        mask = None
        if documents is not None:
            same = documents[:, :, None] == documents[:, None]  # padding attends to padding: no row without any
            mask = same[:, None]
        blocks = run_blocks(
            x, depth=self.depth, keys=keys, train=train, mask=mask, places=places if layer is None else None,
            remat=self.remat, heads=self.heads, hidden=4 * self.width, norm_first=False, epsilon=self.epsilon,
            activation=ACTIVATIONS[self.activation], dropout=self.dropout, attention_dropout=self.attention_dropout,
            implementation=self.implementation, qkv_init=normal, kernel_init=normal, dtype=self.dtype,
        )  # fmt: skip
        for name, after in blocks:
            x = after
            if layer == name:
                break
        return x


class MaskedHead(nn.Module):
    """What is compared with the vocabulary at a masked place: a dense layer, GELU, LayerNorm; and the words' biases.

    Call with hidden states [..., D]; returns [..., D], float32 or wider. `bias` [V] is a parameter that the caller adds
    to the products with the embeddings of the vocabulary.
    """

    vocabulary: int
    activation: str = "gelu_tanh"
    epsilon: float = 1e-12
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        wide = jnp.promote_types(self.dtype, jnp.float32)
        self.param("bias", nn.initializers.zeros, (self.vocabulary,), wide)
        x = Dense(x.shape[-1], kernel_init=normal, dtype=self.dtype, param_dtype=wide, name="dense")(x)
        x = ACTIVATIONS[self.activation](x)
        return nn.LayerNorm(self.epsilon, dtype=wide, param_dtype=wide, use_fast_variance=False, name="norm")(x)


class NextSentenceHead(nn.Module):
    """Whether the second segment is the next one (0) or a random one (1): a dense layer with tanh, and logits [b, 2].

    Call with the hidden states [b, D] of the first token.
    """

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        wide = jnp.promote_types(self.dtype, jnp.float32)
        dense = partial(nn.Dense, kernel_init=normal, param_dtype=wide)
        pooled = jnp.tanh(dense(x.shape[-1], dtype=self.dtype, name="pooler")(x))
        return dense(2, dtype=wide, name="classifier")(pooled)
