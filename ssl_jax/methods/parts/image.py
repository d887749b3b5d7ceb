"""What image methods share before the network: the views, the inputs of `encode`."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.augment.views import evaluation_view, view
from ssl_jax.methods.parts.precision import wide_dtype


def one_view(config):
    """The `views` of a method that sees every image once: `augment.views.view` by the arguments in `config.augment`."""
    make, dtype = partial(view, **config.augment.to_dict()), wide_dtype(config)

    def views(key, example):
        image = example["image"].astype(dtype) / 255
        return {"view_0": make(key, image, original_size=example.get("size")), "index": example["index"]}

    return views


def two_views(config):
    """The `views` of a method that sees every image twice.

    `config.augment` holds the arguments of `augment.views.view`; `config.augment.second`, where there is one, what the
    second view has otherwise, as in BYOL and MoCo v3.
    """
    shared = {name: value for name, value in config.augment.items() if name not in ("name", "second", "local")}
    makers = partial(view, **shared), partial(view, **(shared | dict(config.augment.get("second", {}))))
    dtype = wide_dtype(config)

    def views(key, example):
        image, original_size = example["image"].astype(dtype) / 255, example.get("size")
        keys = jax.random.split(key)
        made = [make(key, image, original_size=original_size) for make, key in zip(makers, keys, strict=True)]
        return {"view_0": made[0], "view_1": made[1], "index": example["index"]}

    return views


def multi_crop(config):
    """The `views` of a method that also sees small crops of every image: those of `two_views`, then the local ones.

    `config.augment.local`, where there is one, holds their `count` and what they have otherwise than `config.augment`,
    such as `size` and `crop_scale`. They are `view_2`, `view_3`, ...; the two large ones are those of a run without.

    Source: Caron et al. 2020 (SwAV, arXiv 2006.09882), section 3.2.
    """
    pair, dtype = two_views(config), wide_dtype(config)
    local = dict(config.augment.get("local", {}))
    if not local.get("count"):
        return pair
    count = local.pop("count")
    shared = {name: value for name, value in config.augment.items() if name not in ("name", "second", "local")}
    make = partial(view, **(shared | local))

    def views(key, example):
        image, original_size = example["image"].astype(dtype) / 255, example.get("size")
        keys = jax.random.split(jax.random.fold_in(key, 2), count)  # 2: `split(key)` may be `fold_in` of 0 and 1
        made = jax.vmap(lambda key: make(key, image, original_size=original_size))(keys)
        return pair(key, example) | {f"view_{2 + i}": made[i] for i in range(count)}

    return views


def mean_and_std(config):
    """`config.augment.mean` and `.std` as arrays `[1, 1, C]`, for methods that must undo the normalisation of views.

    Raises:
      ValueError: images are not normalised, so that their number of channels is unknown.
    """
    if config.augment.mean is None or config.augment.std is None:
        raise ValueError("config.augment.mean or .std is None; expected that of every channel, such as (0.5, 0.5, 0.5)")
    return np.array(config.augment.mean)[None, None], np.array(config.augment.std)[None, None]


def to_pixels(config):
    """`images [b, H, W, C] -> uint8 [b, H, W, 3]`: views as pictures, the normalisation of `config.augment` undone.

    Of more than three channels the first three are shown, of two the first.
    """
    mean, std = (None if value is None else np.array(value, np.float32)[None, None, None]
                 for value in (config.augment.mean, config.augment.std))  # fmt: skip

    def make(images):
        images = images if mean is None else images * std + mean
        images = jnp.uint8(jnp.clip(255 * images[..., : 3 if images.shape[-1] >= 3 else 1] + 0.5, 0, 255))
        return jnp.broadcast_to(images, (*images.shape[:3], 3))

    return make


def resolutions(batch) -> list[list[int]]:
    """The numbers of the views in runs of one size, each for one forward pass: `[[0, 1], [2, 3, 4, 5]]`."""
    numbers = range(sum(name.startswith("view_") for name in batch))
    return [list(run) for _, run in itertools.groupby(numbers, key=lambda i: batch[f"view_{i}"].shape)]


def image_inputs(config):
    """`inputs -> float images [B, H, W, C]`: what an encoder sees outside of training.

    The central `config.eval.crop` of the image (0.875 for ImageNet; 0: all of it) at the training size, normalised
    like the training views.
    """
    augment, dtype = config.augment, wide_dtype(config)
    fixed_view = partial(
        evaluation_view, size=augment.size, proportion=config.eval.crop or None, method=augment.method,
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
