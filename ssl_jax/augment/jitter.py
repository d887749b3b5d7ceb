"""Colour jitter: brightness, contrast, saturation and hue by random amounts in random order; one image `[H, W, C]`."""

import jax
import jax.numpy as jnp

from ssl_jax.augment.colour import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    blend,
    contrast_base,
    saturation_base,
)
from ssl_jax.augment.image import accumulation_dtype, check_choice, check_image, random_apply, uniform

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


def sample_jitter(key, *, brightness, contrast, saturation, hue, brightness_mode: str = "multiplicative"):
    """Draws the amounts and the order of one colour jitter.

    Factors are uniform in [max(0, 1 - s), 1 + s], the hue's turn (and an additive brightness) in [-s, s].

    Args:
        key: PRNG key.
        brightness, contrast, saturation, hue: strengths s >= 0; hue in turns.
        brightness_mode: see `adjust_brightness`.

    Returns:
        amounts float32 `[4]` of (brightness, contrast, saturation, hue), and order int32 `[4]`: which of these
        comes first, second, third, last; each of the 24 orders is as likely.

    >>> amounts, order = sample_jitter(jax.random.key(0), brightness=0, contrast=0, saturation=0, hue=0)
    >>> amounts.tolist(), sorted(order.tolist())
    ([1.0, 1.0, 1.0, 0.0], [0, 1, 2, 3])
    """
    check_choice("brightness mode", brightness_mode, ("multiplicative", "additive"))
    key_amounts, key_order = jax.random.split(key)
    strength = jnp.array([brightness, contrast, saturation, hue], jnp.float32)
    centre = jnp.array([brightness_mode == "multiplicative", 1, 1, 0], jnp.float32)
    # A factor is never negative; a shift may be.
    minimum = jnp.where(centre == 1, jnp.maximum(1 - strength, 0), -strength)
    amounts = minimum + (centre + strength - minimum) * uniform(key_amounts, (4,))
    return amounts, jnp.argsort(uniform(key_order, (4,))).astype(jnp.int32)


def apply_jitter(
    image,
    amounts,
    order=None,
    *,
    brightness_mode: str = "multiplicative",
    contrast_mean: str = "grey",
    saturation_mode: str = "luma",
):
    """Brightness, contrast, saturation and hue in the given order, clipped to [0, 1] after each.

    Under vmap every example has its own order, and a switch would evaluate all four operations at each position. But
    three of them are one formula, `clip(factor * x + (1 - factor) * base + shift)`, with other numbers. So three such
    steps, the hue, and three more serve every order: a step on the wrong side of the hue has factor 1, which changes
    nothing.

    Args:
        image: `[H, W, 3]`, or `[H, W, 1]`, which has neither saturation nor hue; floating point in [0, 1]. With
            `contrast_mean="channel"` any number of channels, likewise.
        amounts: `[4]`, for brightness, contrast, saturation, hue (`sample_jitter`).
        order: int `[4]`, a permutation of 0..3, traced; None is the order of the list above.
        brightness_mode, contrast_mean, saturation_mode: see the functions for each.

    Returns:
        `[H, W, C]`, the dtype of `image`.

    >>> apply_jitter(jnp.full((1, 1, 1), 0.5), jnp.array([1.5, 0.0, 1.0, 0.0])).item()
    0.75
    """
    check_image(image)
    check_choice("brightness mode", brightness_mode, ("multiplicative", "additive"))
    check_choice("contrast mean", contrast_mean, ("grey", "channel"))
    check_choice("saturation mode", saturation_mode, ("luma", "hsv"))
    x = image.astype(accumulation_dtype(image))
    coloured = image.shape[-1] == 3
    if order is None:
        x = adjust_brightness(x, amounts[BRIGHTNESS], mode=brightness_mode)
        x = adjust_contrast(x, amounts[CONTRAST], mean=contrast_mean)
        if coloured:
            x = adjust_hue(adjust_saturation(x, amounts[SATURATION], mode=saturation_mode), amounts[HUE])
        return x.astype(image.dtype)

    amounts = jnp.asarray(amounts)
    additive = brightness_mode == "additive"
    factors = amounts.at[BRIGHTNESS].set(1.0) if additive else amounts
    hue_position = jnp.argmax(order == HUE)

    def step(x, position, active):
        operation = order[position]
        factor = jnp.where(active, factors[operation], 1.0)
        base = jnp.where(operation == CONTRAST, contrast_base(x, contrast_mean), 0.0)
        if coloured:
            grey, grey_factor = saturation_base(x, factor, saturation_mode)
            base = jnp.where(operation == SATURATION, grey, base)
            factor = jnp.where(operation == SATURATION, grey_factor, factor)
        else:
            factor = jnp.where(operation == SATURATION, 1.0, factor)
        shift = jnp.where(active & (operation == BRIGHTNESS), amounts[BRIGHTNESS], 0.0) if additive else 0.0
        return blend(x, base, factor, shift)

    # Loops, where unrolled steps would take half as long again to compile and twice the memory.
    x = jax.lax.fori_loop(0, 3, lambda position, x: step(x, position, position < hue_position), x)
    if coloured:
        x = adjust_hue(x, amounts[HUE])
    x = jax.lax.fori_loop(1, 4, lambda position, x: step(x, position, position > hue_position), x)
    return x.astype(image.dtype)


def colour_jitter(
    key,
    image,
    *,
    brightness=0.8,
    contrast=0.8,
    saturation=0.8,
    hue=0.2,
    p=0.8,
    order: str = "random",
    brightness_mode: str = "multiplicative",
    contrast_mean: str = "grey",
    saturation_mode: str = "luma",
):
    """Random brightness, contrast, saturation and hue with probability `p`; the defaults are SimCLR's at strength 1.

    Args:
        key: PRNG key.
        image: `[H, W, 3]`, floating point in [0, 1]; one channel where saturation and hue are 0, any number of them
            where also contrast is 0 or keeps the mean of each channel.
        brightness, contrast, saturation, hue: strengths (`sample_jitter`); Python numbers.
        p: probability that the image is jittered at all.
        order: "random", or "fixed": brightness, contrast, saturation, hue.
        brightness_mode, contrast_mean, saturation_mode: see the functions for each.

    Returns:
        `[H, W, C]`, the dtype of `image`.

    Raises:
        ValueError: unknown order or mode, or saturation or hue asked of an image without three channels.

    >>> colour_jitter(jax.random.key(0), jnp.ones((4, 4, 3)), p=1.0).shape
    (4, 4, 3)

    Source: google-research/simclr, `tf2/data_util.py`; SimCLR, appendix A (arXiv 2002.05709).
    """
    check_image(image, channels=3 if saturation or hue else None)
    if not contrast and image.shape[-1] not in (1, 3):
        contrast_mean = "channel"  # contrast changes nothing, and channels that are no colours have no grey
    check_choice("jitter order", order, ("random", "fixed"))
    key_apply, key_sample = jax.random.split(key)
    amounts, random_order = sample_jitter(
        key_sample,
        brightness=brightness,
        contrast=contrast,
        saturation=saturation,
        hue=hue,
        brightness_mode=brightness_mode,
    )

    def jitter(image):
        return apply_jitter(
            image,
            amounts,
            random_order if order == "random" else None,
            brightness_mode=brightness_mode,
            contrast_mean=contrast_mean,
            saturation_mode=saturation_mode,
        )

    return random_apply(key_apply, p, jitter, image)
