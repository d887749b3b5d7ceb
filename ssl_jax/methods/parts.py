"""What image methods share: the backbone, the projector, the views and the inputs of `encode`, read from a config."""

from functools import partial

import jax
import jax.numpy as jnp

from ssl_jax.augment import recipes
from ssl_jax.models.heads import MLPHead
from ssl_jax.models.norm import BatchNorm
from ssl_jax.models.resnet import ResNet


def compute_dtype(config):
    """The dtype that `config.compute_dtype` names; float64 is refused where jax would silently make it float32."""
    choices = ("float32", "bfloat16", "float64")
    if config.compute_dtype not in choices:
        raise ValueError(f"config.compute_dtype is {config.compute_dtype!r}; expected one of {', '.join(choices)}")
    if config.compute_dtype == "float64" and not jax.config.jax_enable_x64:
        raise ValueError("config.compute_dtype is 'float64' but double precision is off; set JAX_ENABLE_X64=1")
    return jnp.dtype(config.compute_dtype)


def backbone(config):
    """`axis_name -> flax module` for the encoder that `config.model` describes."""
    model, dtype = config.model, compute_dtype(config)
    if model.name != "resnet":
        raise ValueError(f"config.model.name is {model.name!r}; expected 'resnet'")

    def make(axis_name=None):
        norm = partial(BatchNorm, axis_name=axis_name, momentum=model.norm_momentum, dtype=dtype)
        return ResNet(
            depth=model.depth, width=model.width, stem=model.stem, zero_init_residual=model.zero_init_residual,
            norm=norm, dtype=dtype,
        )  # fmt: skip

    return make


def projector(config):
    """`axis_name -> flax module` for the head that `config.model.projector` describes.

    `hidden_dims` and `output_dim` are widths; `norm` says where batch normalisation stands: "none", "hidden" (after
    every layer but the last), or "all", whose last norm has a scale and no offset, as in the official SimCLR code.
    """
    head, dtype = config.model.projector, compute_dtype(config)
    if head.norm not in ("none", "hidden", "all"):
        raise ValueError(f"config.model.projector.norm is {head.norm!r}; expected 'none', 'hidden' or 'all'")

    def make(axis_name=None):
        norm = partial(BatchNorm, axis_name=axis_name, momentum=config.model.norm_momentum, dtype=dtype)
        return MLPHead(
            hidden_dims=tuple(head.hidden_dims), output_dim=head.output_dim, dtype=dtype,
            norm=None if head.norm == "none" else norm,
            output_norm=partial(norm, use_bias=False) if head.norm == "all" else None,
        )  # fmt: skip

    return make


def wide_dtype(config):
    """The dtype of images before the network: float32, or float64 where the run computes in it."""
    return jnp.promote_types(compute_dtype(config), jnp.float32)


def two_views(config):
    """The `views` of a method that sees every image twice; `config.augment` holds the arguments of `recipes.view`."""
    make_view = partial(recipes.view, **{name: value for name, value in config.augment.items() if name != "name"})
    dtype = wide_dtype(config)

    def views(key, example):
        image, original_size = example["image"].astype(dtype) / 255, example.get("size")
        first, second = jax.random.split(key)
        return {
            "view_0": make_view(first, image, original_size=original_size),
            "view_1": make_view(second, image, original_size=original_size),
            "index": example["index"],
        }

    return views


def image_inputs(config):
    """`inputs -> float images [B, H, W, C]`: what an encoder sees outside of training.

    The central `config.eval.crop` of the image (0.875 for ImageNet; 0: all of it) at the training size, normalised
    like the training views.
    """
    augment, dtype = config.augment, wide_dtype(config)
    fixed_view = partial(
        recipes.evaluation_view, size=augment.size, proportion=config.eval.crop or None, method=augment.method,
        semantics=augment.semantics, mean=augment.mean, std=augment.std,
    )  # fmt: skip

    def prepare(inputs):
        images = inputs["image"]
        if images.ndim != 4 or images.dtype != jnp.uint8:
            raise ValueError(
                f"Images of shape {images.shape} and dtype {images.dtype} were given; expected uint8 [B, H, W, C]; "
                "stack them along a first axis and keep the range 0 to 255"
            )
        images = images.astype(dtype) / 255
        if "size" not in inputs:
            return jax.vmap(fixed_view)(images)
        return jax.vmap(lambda image, size: fixed_view(image, original_size=size))(images, inputs["size"])

    return prepare
