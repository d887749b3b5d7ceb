"""Vision transformers with learned or fixed positions."""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.models.attention_pool import AttentionPool
from ssl_jax.models.checks import check_images
from ssl_jax.models.initializers import choose
from ssl_jax.models.positions import SINCOS, interpolate
from ssl_jax.models.transformer import ACTIVATIONS, Dense, run_blocks

SIZES = {  # the small and the base of MoCo v3 both have 12 heads: ViT(**SIZES["small"] | {"heads": 12})
    "nano": dict(width=32, depth=2, heads=2),  # this and the next: for CPUs and tests
    "micro": dict(width=128, depth=4, heads=4),
    "tiny": dict(width=192, depth=12, heads=3),
    "small": dict(width=384, depth=12, heads=6),
    "base": dict(width=768, depth=12, heads=12),
    "large": dict(width=1024, depth=24, heads=16),
    "huge": dict(width=1280, depth=32, heads=16),
}
xavier_uniform = nn.initializers.xavier_uniform()


class ViT(nn.Module):
    """Vision transformer: a linear embedding of patches, positions, pre-norm blocks, a final LayerNorm, pooling.

    `ViT(**SIZES["base"], patch_size=16)` is ViT-B/16. In the official MoCo v3 code (`vits.py`) ViT-S has 12 heads, not
    the usual 6. Weights start as in MoCo v3, MAE, DINO, CLIP or SigLIP. The first two draw kernels from U(-a, a) with
    a = sqrt(6 / (in + out)), the patch projection's as well; they differ in the rest:

        "moco_v3": queries, keys and values count as three kernels [D, D]; class token N(0, 1e-6^2); biases 0.
        "mae": they count as one kernel [D, 3 D]; class token N(0, 0.02^2); biases 0 but for the patch projection's,
            U(-a, a) with a = 1 / sqrt(in), which the official code leaves at the default of torch.
        "dino": kernels and class token N(0, 0.02^2), biases 0, but for the patch projection: both from U(-a, a) with
            a = 1 / sqrt(in).
        "clip": queries, keys and values as in MAE; other kernels as the patch projection's of DINO; class token and
            positions N(0, 1 / width); biases 0 (the official code leaves those of the MLPs at the default of torch).
        "siglip": kernels as in MoCo v3, the patch projection's N(0, 1 / in), cut at two deviations; positions
            N(0, 1 / width); biases 0 (N(0, 1e-6^2) in the MLPs of the official code).

    Args:
        patch_size: side of a patch, p.
        width: of the tokens, D.
        depth: number of blocks.
        heads: of the attention; they divide `width`.
        mlp_ratio: width of the hidden layer of a block's MLP, in multiples of `width`.
        positions: "learned", N(0, 0.02^2) at first, those of the images that parameters are made with and interpolated
            for others (`positions.interpolate`); or fixed: "sincos_moco_v3" or "sincos_mae", 0 for the class token.
        class_token: whether a learned token stands before the patches.
        pool: "class" (the class token), "mean" (over the patches) or "map" (`AttentionPool` of all tokens, SigLIP), all
            after the final norm.
        init_scheme: "moco_v3", "mae", "dino", "clip" or "siglip", as above.
        activation: of the MLPs: "gelu", "gelu_tanh" (its approximation) or "quick_gelu" (CLIP).
        pre_norm: whether a LayerNorm stands before the first block (CLIP).
        patch_bias: whether the patch projection has a bias.
        epsilon: of every LayerNorm.
        drop_path: rate of `DropPath` in the last block, growing linearly from 0 in the first one.
        attention: implementation of `jax.nn.dot_product_attention`: None, "xla" or "cudnn".
        remat: whether the backward pass computes each block again, instead of keeping its activations.
        dtype: of the computation; parameters, statistics and softmax are float32 or wider.

    Call with:
        images: float [b, H, W, C], whose sides are multiples of `patch_size`.
        train: whether `drop_path` drops.
        group_ids: unused, there is no batch norm; so that encoders are called alike.
        keys: [b] typed PRNG keys, one per example, for `DropPath`; None where `drop_path` is 0.
        layer: None, or the block to stop at, "block_1" to "block_{depth}", or "tokens".
        visible: int32 [b, k], the patches that are kept, in rows from the top left; all where None. The others are
            never seen; the visible ones have the positions of their places (MAE).
        masked: bool [b, H / p * W / p], the patches whose embedding a learned mask token replaces (SimMIM).

    Returns: pooled features [b, width], float32 or wider; with a block as `layer`, the patch tokens after it, before
        the final norm, as a map [b, H / p, W / p, width] in `dtype`; with "tokens", all tokens after the final norm,
        [b, tokens, width], the class token first.

    Raises:
        ValueError: an unknown option or layer, sizes that do not divide, images of a wrong rank or dtype, `drop_path`
            in training without keys.

    >>> model = ViT(patch_size=4, width=8, depth=2, heads=2, positions="sincos_mae")
    >>> images = jnp.ones((2, 8, 12, 3))
    >>> variables = model.init(jax.random.key(0), images)
    >>> model.apply(variables, images).shape, model.apply(variables, images, layer="block_1").shape
    ((2, 8), (2, 2, 3, 8))

    Source: Dosovitskiy et al., https://arxiv.org/abs/2010.11929, section 3.1; initialisation: Chen et al.,
    https://arxiv.org/abs/2104.02057, He et al., https://arxiv.org/abs/2111.06377, and Caron et al.,
    https://arxiv.org/abs/2104.14294, as in their official code.
    """

    patch_size: int = 16
    width: int = 384
    depth: int = 12
    heads: int = 6
    mlp_ratio: float = 4
    positions: str = "learned"
    class_token: bool = True
    pool: str = "class"
    init_scheme: str = "moco_v3"
    drop_path: float = 0.0
    attention: str | None = None
    remat: bool = False
    dtype: Any = jnp.float32
    activation: str = "gelu"
    pre_norm: bool = False
    patch_bias: bool = True
    epsilon: float = 1e-6

    @property
    def feature_dim(self) -> int:
        """Number of pooled features."""
        return self.width

    @property
    def layers(self) -> tuple[str, ...]:
        """The inner layers that can be asked for."""
        return tuple(f"block_{i + 1}" for i in range(self.depth))

    @nn.compact
    def __call__(
        self, images, *, train: bool = False, group_ids=None, keys=None, layer: str | None = None, visible=None,
        masked=None,
    ):  # fmt: skip
        self._check(images, layer, visible)
        wide = jnp.promote_types(self.dtype, jnp.float32)
        (b, height, width, channels), p = images.shape, self.patch_size
        h, w = height // p, width // p
        init = INITS[self.init_scheme]
        torch_default = _symmetric((p * p * channels) ** -0.5)

        # A matrix product of patches: XLA's convolutions are slow on CPU.
        x = images.astype(self.dtype).reshape(b, h, p, w, p, channels).transpose(0, 1, 3, 2, 4, 5)
        x = x.reshape(b, h * w, p * p * channels)
        if visible is not None:  # before the projection: pixels need no gradient, which would be a slow scatter
            x = jnp.take_along_axis(x, visible[..., None], axis=1)
        x = Dense(
            self.width, dtype=self.dtype, param_dtype=wide, name="patch_projection", use_bias=self.patch_bias,
            kernel_init=init.patch_kernel or torch_default, bias_init=init.patch_bias or torch_default,
        )(x)  # fmt: skip

        x = x.astype(wide)
        if masked is not None:
            x = jnp.where(masked[..., None], self.param("mask_token", init.token, (1, 1, self.width), wide), x)
        if self.class_token:
            # Three axes as in the official code, where weight decay spares what has one axis, and not this token.
            draw = init.token or nn.initializers.normal(self.width**-0.5)
            token = self.param("class_token", draw, (1, 1, self.width), wide)
            x = jnp.concatenate([jnp.broadcast_to(token, (b, 1, self.width)), x], axis=1)
        positions = self._positions(h, w, wide)
        if visible is not None:
            first = positions[:, : int(self.class_token)]
            of_visible = positions[0, int(self.class_token) :][visible]
            positions = jnp.concatenate([jnp.broadcast_to(first, (b, *first.shape[1:])), of_visible], axis=1)
        x = (x + positions).astype(self.dtype)
        norm = partial(nn.LayerNorm, self.epsilon, param_dtype=wide, use_fast_variance=False)
        if self.pre_norm:
            x = norm(dtype=self.dtype, name="pre_norm")(x)

        blocks = run_blocks(
            x, depth=self.depth, keys=keys, train=train, drop_path=self.drop_path, remat=self.remat, heads=self.heads,
            hidden=int(self.width * self.mlp_ratio), implementation=self.attention, epsilon=self.epsilon,
            activation=ACTIVATIONS[self.activation], qkv_init=init.qkv, kernel_init=init.kernel, dtype=self.dtype,
        )  # fmt: skip
        for name, x in blocks:
            if layer == name:
                return x[:, int(self.class_token) :].reshape(b, h, w, self.width)

        norm = norm(dtype=wide, name="norm")
        if layer == "tokens":
            return norm(x)
        if self.pool == "map":
            pool = AttentionPool(
                self.heads, hidden=int(self.width * self.mlp_ratio), epsilon=self.epsilon,
                activation=ACTIVATIONS[self.activation], kernel_init=init.kernel, dtype=self.dtype, name="pool",
            )  # fmt: skip
            return pool(norm(x).astype(self.dtype)).astype(wide)
        if self.pool == "class":
            return norm(x[:, 0])
        return jnp.mean(norm(x[:, int(self.class_token) :]), axis=1)

    def _positions(self, h, w, dtype):
        """What is added to the tokens, [1, tokens, width]."""
        if self.positions != "learned":
            table = SINCOS[self.positions](h, w, self.width)
            return jnp.asarray(np.pad(table, ((int(self.class_token), 0), (0, 0))), dtype)[None]
        # The official truncated normal cuts at -2 and 2, a hundred standard deviations away: it cuts nothing.
        name, made = "position_embedding", nn.initializers.normal(
            self.width**-0.5 if self.init_scheme in ("clip", "siglip") else 0.02
        )
        first = int(self.class_token)
        if not self.has_variable("params", name):
            return self.param(name, made, (1, first + h * w, self.width), dtype)
        table = self.get_variable("params", name)[0]
        return jnp.concatenate([table[:first], interpolate(table[first:], h, w)])[None].astype(dtype)

    def _check(self, images, layer, visible):
        options = {
            "positions": ("learned", *SINCOS), "pool": ("class", "mean", "map"), "init_scheme": tuple(INITS),
            "attention": (None, "xla", "cudnn"), "activation": tuple(ACTIVATIONS),
        }  # fmt: skip
        for name, known in options.items():
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"ViT was given {name} {value!r} and expects one of {list(known)}; choose one.")
        if self.patch_size < 1:
            raise ValueError(f"ViT was given patch_size {self.patch_size} and expects at least 1; 16 is usual.")
        if self.heads < 1 or self.width % self.heads:
            raise ValueError(
                f"ViT was given width {self.width} and expects a multiple of heads={self.heads}; change one of them."
            )
        if self.pool == "class" and not self.class_token:
            raise ValueError(
                "ViT was given pool 'class' with class_token=False and expects a token to pool; choose pool 'mean'."
            )
        if layer not in (None, "tokens", *self.layers):
            raise ValueError(
                f"ViT was given layer {layer!r} and expects 'block_1' to 'block_{self.depth}', or 'tokens'; choose "
                "one, or None for features."
            )
        if visible is not None and layer in self.layers:
            raise ValueError(
                f"ViT was given visible patches and layer {layer!r}, whose map needs all patches; choose layer "
                "'tokens', or None for features."
            )
        check_images("ViT", images)
        if images.shape[1] % self.patch_size or images.shape[2] % self.patch_size:
            raise ValueError(
                f"ViT was given images of {images.shape[1]} x {images.shape[2]} pixels and expects multiples of "
                f"patch_size={self.patch_size}; resize or crop them."
            )


def _symmetric(limit):
    """Initializer U(-limit, limit)."""
    return lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -limit, limit)


def three_kernels(key, shape, dtype):
    """`xavier_uniform` of queries, keys and values one by one, [D, 3 D] as [D, 3, D]."""
    init = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform", in_axis=0, out_axis=2, batch_axis=1)
    return init(key, (shape[0], 3, shape[1] // 3), dtype).reshape(shape)


class Init(NamedTuple):
    """Initializers of a vision transformer.

    None for the patch projection's is `_symmetric` with a = 1 / sqrt(in), for the token's N(0, 1 / width).
    """

    qkv: nn.initializers.Initializer
    kernel: nn.initializers.Initializer
    token: nn.initializers.Initializer | None
    patch_kernel: nn.initializers.Initializer | None
    patch_bias: nn.initializers.Initializer | None


zeros, normal = nn.initializers.zeros, nn.initializers.normal(0.02)
INITS = {
    "moco_v3": Init(three_kernels, xavier_uniform, nn.initializers.normal(1e-6), xavier_uniform, zeros),
    "mae": Init(xavier_uniform, xavier_uniform, normal, xavier_uniform, None),
    "dino": Init(normal, normal, normal, None, None),
    "clip": Init(xavier_uniform, nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform"), None, None, None),
    "siglip": Init(three_kernels, xavier_uniform, None, nn.initializers.lecun_normal(), zeros),
}


KEYS = (
    "size", "heads", "patch_size", "positions", "class_token", "pool", "init", "drop_path", "attention", "remat",
)  # fmt: skip
OPTIONAL = ("activation", "pre_norm", "patch_bias", "epsilon")


def build(model, *, norm, dtype) -> ViT:
    """The network of `config.model`, which has `KEYS`; `norm` is for encoders with batch norm, and unused here."""
    missing = [name for name in KEYS if name not in model]
    if missing:
        raise ValueError(
            f"config.model.name is 'vit', but config.model has no {', '.join(missing)}; start from a recipe of a "
            "vision transformer, such as configs/moco_v3.py:imagenet_vits"
        )
    size = choose(SIZES, model.size, "config.model.size")
    size = size | ({"heads": model.heads} if model.heads else {})
    size |= {name: model[name] for name in OPTIONAL if name in model}
    return ViT(
        **size, patch_size=model.patch_size, positions=model.positions, class_token=model.class_token, pool=model.pool,
        init_scheme=model.init, drop_path=model.drop_path, attention=model.attention, remat=model.remat, dtype=dtype,
    )  # fmt: skip
