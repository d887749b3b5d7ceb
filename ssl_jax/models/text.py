"""The text towers of CLIP and SigLIP: transformers of tokens that give one feature a text."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.models.transformer import ACTIVATIONS, run_blocks
from ssl_jax.models.vit import three_kernels, xavier_uniform


class TextTransformer(nn.Module):
    """A transformer of tokens: embeddings, learned positions, pre-norm blocks, a final LayerNorm, one place pooled.

    Args:
        vocabulary: number of tokens.
        length: number of positions, T.
        width: of the tokens, D.
        depth: number of blocks.
        heads: of the attention; they divide `width`.
        causal: whether a token attends to those before it and itself alone (CLIP).
        pool: the place that is the feature: "end", that of the highest token, which is CLIP's end of the text and
            repeated behind it (the first counts), or "last" (SigLIP).
        activation: of the MLPs: "gelu", "gelu_tanh" or "quick_gelu".
        init_scheme: "clip": embeddings N(0, 0.02^2), positions N(0, 0.01^2), queries, keys and values N(0, 1 / D), the
            first layers of the MLPs N(0, 1 / (2 D)), what ends in a residual sum N(0, 1 / (2 depth D)); or "siglip":
            embeddings and positions N(0, 1 / D), kernels U(-a, a) with a = sqrt(6 / (in + out)). Biases are 0.
        epsilon: of every LayerNorm.
        remat: whether the backward pass computes each block again, instead of keeping its activations.
        dtype: of the computation; parameters, statistics and softmax are float32 or wider.

    Call with:
        tokens: int32 [b, T'], T' at most `length`.
        train, group_ids, keys: unused, there is no batch norm and nothing random; so that towers are called alike.
        layer: None, or the block to stop at, "block_1" to "block_{depth}".

    Returns: features [b, D], float32 or wider; with a `layer`, the tokens after it, [b, T', D] in `dtype`.

    Raises:
        ValueError: an unknown option or layer, tokens of a wrong rank or dtype, or more of them than positions.

    >>> model = TextTransformer(vocabulary=20, length=6, width=8, depth=2, heads=2)
    >>> model.init_with_output(jax.random.key(0), jnp.ones((3, 6), int))[0].shape
    (3, 8)

    Source: Radford et al. 2021, arXiv 2103.00020, section 2.4; openai/CLIP at d05afc4, clip/model.py. Zhai et al. 2023,
    arXiv 2303.15343; google-research/big_vision, models/proj/image_text/text_transformer.py.
    """

    vocabulary: int
    length: int
    width: int = 512
    depth: int = 12
    heads: int = 8
    causal: bool = True
    pool: str = "end"
    activation: str = "quick_gelu"
    init_scheme: str = "clip"
    epsilon: float = 1e-5
    remat: bool = False
    dtype: Any = jnp.float32

    @property
    def feature_dim(self) -> int:
        """Number of features."""
        return self.width

    @property
    def layers(self) -> tuple[str, ...]:
        """The inner layers that can be asked for."""
        return tuple(f"block_{i + 1}" for i in range(self.depth))

    @nn.compact
    def __call__(self, tokens, *, train: bool = False, group_ids=None, keys=None, layer: str | None = None):
        self._check(tokens, layer)
        wide, normal = jnp.promote_types(self.dtype, jnp.float32), nn.initializers.normal
        of_clip, deviation = self.init_scheme == "clip", self.width**-0.5
        table = self.param(
            "embedding", normal(0.02 if of_clip else deviation), (self.vocabulary, self.width), wide
        )  # fmt: skip
        places = self.param(
            "position_embedding", normal(0.01 if of_clip else deviation), (1, self.length, self.width), wide
        )
        x = (table[tokens] + places[:, : tokens.shape[1]]).astype(self.dtype)
        blocks = run_blocks(
            x, depth=self.depth, remat=self.remat, heads=self.heads, hidden=4 * self.width, causal=self.causal,
            epsilon=self.epsilon, activation=ACTIVATIONS[self.activation],
            qkv_init=normal(deviation) if of_clip else three_kernels,
            kernel_init=_clip_kernel(self.depth) if of_clip else xavier_uniform, dtype=self.dtype,
        )  # fmt: skip
        for name, x in blocks:
            if layer == name:
                return x
        place = jnp.argmax(tokens, axis=1) if self.pool == "end" else jnp.full(len(tokens), tokens.shape[1] - 1)
        norm = nn.LayerNorm(self.epsilon, dtype=wide, param_dtype=wide, use_fast_variance=False, name="norm")
        return norm(jnp.take_along_axis(x, place[:, None, None], axis=1)[:, 0])

    def _check(self, tokens, layer):
        options = {"pool": ("end", "last"), "activation": tuple(ACTIVATIONS), "init_scheme": ("clip", "siglip")}
        for name, known in options.items():
            if (value := getattr(self, name)) not in known:
                raise ValueError(
                    f"TextTransformer was given {name} {value!r} and expects one of {list(known)}; choose one."
                )
        if layer not in (None, *self.layers):
            raise ValueError(
                f"TextTransformer was given layer {layer!r} and expects 'block_1' to 'block_{self.depth}'; choose one, "
                "or None for features."
            )
        if tokens.ndim != 2 or not jnp.issubdtype(tokens.dtype, jnp.integer) or tokens.shape[1] > self.length:
            raise ValueError(
                f"TextTransformer was given {tokens.dtype} {list(tokens.shape)} and expects integer tokens [b, T] with "
                f"T at most the {self.length} positions; cut the texts, or raise `length`."
            )


def _clip_kernel(depth: int):
    """Kernels [D, 4 D] from N(0, 1 / (2 D)), kernels into a residual sum, [.., D], from N(0, 1 / (2 depth D))."""

    def init(key, shape, dtype):
        d_in, d_out = shape
        deviation = (2 * d_in) ** -0.5 if d_out > d_in else (2 * depth * d_out) ** -0.5
        return deviation * jax.random.normal(key, shape, dtype)

    return init


KEYS = (
    "vocabulary", "length", "width", "depth", "heads", "causal", "pool", "activation", "init", "epsilon", "remat",
)  # fmt: skip


def build(model, *, norm, dtype) -> TextTransformer:
    """The network of `config.model.text`, which has `KEYS`; `norm` is unused here."""
    missing = [name for name in KEYS if name not in model]
    if missing:
        raise ValueError(f"config.model.text has no {', '.join(missing)}; start from a recipe of configs/clip.py")
    held = {name: model[name] for name in KEYS if name != "init"}
    return TextTransformer(**held, init_scheme=model.init, dtype=dtype)
