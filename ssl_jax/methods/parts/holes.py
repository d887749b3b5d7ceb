"""The holes of inpainting: which pixels are hidden, the check of their settings, and trivial ways to fill them in."""

import jax.numpy as jnp

from ssl_jax.augment import masks
from ssl_jax.methods.parts import patches
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
    side = decoder.side
    if method.mask not in ("centre", "blocks", "regions"):
        raise ValueError(f"config.method.mask is {method.mask!r}; expected 'centre', 'blocks' or 'regions'")
    if method.mask == "centre" and not 0 < method.hole <= side <= size or method.hole >= size or (size - side) % 2:
        raise ValueError(
            f"config.method.hole is {method.hole}, config.model.decoder.side {side} and config.augment.size {size}; "
            "expected a hole inside of the predicted square, both smaller than the image by an even number of pixels"
        )
    if method.mask != "centre" and (side != size or not 0 < method.share[0] <= method.share[1] < 1):
        raise ValueError(
            f"config.model.decoder.side is {side} and config.method.share {method.share} of {method.mask} anywhere in "
            f"an image of {size} pixels; expected the whole side, and a range of shares in (0, 1)"
        )
    if not decoder.layer:
        check_side(side, decoder.channels, "config.model.decoder.side")
    if not 0 <= method.adversarial < 1:
        raise ValueError(
            f"config.method.adversarial is {method.adversarial}; expected a share in [0, 1), such as 0.001"
        )
