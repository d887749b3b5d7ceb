"""The holes of inpainting: which pixels are hidden, the check of their settings, and trivial ways to fill them in."""

import math

import jax.numpy as jnp

from ssl_jax.augment import masks
from ssl_jax.methods.parts import patches, settings
from ssl_jax.models.encoder_decoder import check_side


def hiding(method, size: int):
    """`key -> hidden`, bool `[size, size]`, by `config.method`: see `methods/inpainting.py`."""
    return {
        "centre": lambda key: masks.centre(size, method.hole),
        "blocks": lambda key: masks.blocks(key, size, count=method.blocks, share=method.share[1]),
        "regions": lambda key: masks.regions(key, size, share=method.share, resolution=method.resolution),
    }[method.mask]


def fillings(images, hidden) -> dict:
    """What knows nothing about images: the smoothest filling, and the mean colour of the visible pixels.

    Args:
      images: `[b, H, W, C]`, as the views are.
      hidden: bool `[b, H, W]`.
    """
    hole = images.shape[1] // 2
    return {
        "harmonic filling": patches.harmonic(images, hidden, steps=6 * hole, hole=hole),
        "mean colour": jnp.where(hidden[..., None], patches.visible_mean(images, hidden), images),
    }


def check(config) -> None:
    """Refuses settings of inpainting that hide nothing or all, or whose parts do not fit one another.

    Raises:
      ValueError: in one sentence.
    """
    method, decoder, size = config.method, config.model.decoder, config.augment.size
    side, mask, share = decoder.side, method.mask, method.share
    settings.check(
        "config.method", method,
        mask=(mask in ("centre", "blocks", "regions"), "'centre', 'blocks' or 'regions'"),
        blocks=(mask != "blocks" or method.blocks > 0, "1 or more squares"),
        resolution=(mask != "regions" or method.resolution > 0, "a number of cells a pixel above 0, such as 0.06"),
        overlap=(method.overlap >= 0, "0 or more pixels"),
        overlap_weight=(method.overlap_weight >= 0, "a weight from 0 on"),
        elsewhere=(method.elsewhere >= 0, "a weight from 0 on"),
        adversarial=(0 <= method.adversarial < 1, "a share in [0, 1), such as 0.001"),
    )  # fmt: skip
    if mask == "centre" and (not 0 < method.hole <= side <= size or method.hole >= size or (size - side) % 2):
        raise ValueError(
            f"config.method.hole is {method.hole}, config.model.decoder.side {side} and config.augment.size {size}; "
            "expected a hole inside of the predicted square and smaller than the image, and a square that is as large "
            "as the image or smaller by an even number of pixels"
        )
    if mask != "centre" and (side != size or not 0 < share[0] <= share[1] < 1):
        raise ValueError(
            f"config.model.decoder.side is {side} and config.method.share {share} of {mask} anywhere in an image of "
            f"{size} pixels; expected the whole side, and a range of shares in (0, 1)"
        )
    if mask == "blocks" and size * math.sqrt(share[1] / method.blocks) < 1:
        raise ValueError(
            f"config.method.share is {share} in {method.blocks} blocks of an image of {size} x {size} pixels, less "
            "than a pixel each; expected a larger share, or fewer blocks"
        )
    if mask == "regions" and share[0] * size**2 < 1:
        raise ValueError(
            f"config.method.share is {share} of an image of {size} x {size} pixels, at the least less than a pixel; "
            "expected a larger share"
        )
    if not decoder.layer:
        check_side(side, decoder.channels, "config.model.decoder.side")
