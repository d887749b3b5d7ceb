"""What colour pixels have: brightness, contrast, saturation, hue, greyscale, solarise; one image `[H, W, C]` in [0, 1].

Two libraries define these operations, and papers were trained with either. The defaults are Pillow's and
torchvision's; what TensorFlow does otherwise is an argument: the contrast's mean, the meaning of saturation.
"""

import jax.numpy as jnp

from ssl_jax.augment.image import accumulation_dtype, check_choice, check_image, random_apply


def adjust_brightness(image, amount, *, mode: str = "multiplicative"):
    """`clip(amount * image)`, or `clip(image + amount)` for mode "additive".

    Args:
        image: `[H, W, C]`, floating point in [0, 1], any channels.
        amount: factor >= 0, or the shift.
        mode: "multiplicative" (torchvision; SimCLR v2) or "additive" (TensorFlow; SimCLR v1).

    Returns:
        `[H, W, C]`, the dtype of `image`.

    >>> adjust_brightness(jnp.full((1, 1, 1), 0.5), 1.5).item()
    0.75
    """
    check_image(image)
    check_choice("brightness mode", mode, ("multiplicative", "additive"))
    x = image.astype(accumulation_dtype(image))
    return jnp.clip(x * amount if mode == "multiplicative" else x + amount, 0.0, 1.0).astype(image.dtype)


def adjust_contrast(image, factor, *, mean: str = "grey"):
    """`clip(factor * image + (1 - factor) * mean)`.

    Args:
        image: `[H, W, C]`, floating point in [0, 1].
        factor: >= 0; 0 leaves the mean alone.
        mean: "grey", the mean of the greyscale image (torchvision; Pillow rounds it to 8 bits; 1 or 3 channels), or
            "channel", each channel's own mean (TensorFlow, so the official SimCLR and BYOL; any channels).

    Returns:
        `[H, W, C]`, the dtype of `image`.

    >>> adjust_contrast(jnp.array([[[0.25], [0.75]]]), 2.0)[0, :, 0].tolist()
    [0.0, 1.0]
    """
    check_image(image)
    check_choice("contrast mean", mean, ("grey", "channel"))
    x = image.astype(accumulation_dtype(image))
    return blend(x, contrast_base(x, mean), factor).astype(image.dtype)


def adjust_saturation(image, factor, *, mode: str = "luma"):
    """`clip(factor * image + (1 - factor) * base)`: the distance of every pixel from its own grey, scaled.

    Args:
        image: `[H, W, 3]`, floating point in [0, 1].
        factor: >= 0; 0 gives grey.
        mode: "luma": the base is the pixel's luma (Pillow, torchvision). "hsv": S of HSV is scaled and clipped
            to 1 (TensorFlow), for which the base is the pixel's largest channel; so less saturation means brighter.

    Returns:
        `[H, W, 3]`, the dtype of `image`.

    >>> print(adjust_saturation(jnp.array([[[1.0, 0.0, 0.0]]]), 0.0))
    [[[0.299 0.299 0.299]]]
    """
    check_image(image, channels=3)
    check_choice("saturation mode", mode, ("luma", "hsv"))
    x = image.astype(accumulation_dtype(image))
    return blend(x, *saturation_base(x, factor, mode)).astype(image.dtype)


def adjust_hue(image, delta):
    """Turns the hue of HSV by `delta` of a full circle; value and saturation stay.

    Args:
        image: `[H, W, 3]`, floating point in [0, 1].
        delta: in turns: 1/3 makes red green, 1/2 the complement.

    Returns:
        `[H, W, 3]`, the dtype of `image`.

    >>> adjust_hue(jnp.array([[[1.0, 0.0, 0.0]]]), 1 / 3)[0, 0].round(3).tolist()
    [0.0, 1.0, 0.0]
    """
    check_image(image, channels=3)
    x = image.astype(accumulation_dtype(image))
    red, green, blue = x[..., 0], x[..., 1], x[..., 2]
    value = x.max(axis=-1)
    chroma = value - x.min(axis=-1)
    # The hue in sixths of a circle: red 0, green 2, blue 4; grey has none, and any will do. No test for equality with
    # `value`: a compiler may compute the image twice, rounded differently, and then nothing is equal to its maximum.
    sector = jnp.where(
        (red >= green) & (red >= blue),
        _ratio(green - blue, chroma),
        jnp.where(green >= blue, 2.0 + _ratio(blue - red, chroma), 4.0 + _ratio(red - green, chroma)),
    )
    sector = sector + 6.0 * delta

    def channel(offset):
        # A channel is full within a sixth of its own hue, absent within a sixth of its opposite, linear in between.
        away = (sector + offset) % 6.0
        return value - chroma * jnp.clip(jnp.minimum(away, 4.0 - away), 0.0, 1.0)

    return jnp.stack([channel(5.0), channel(3.0), channel(1.0)], axis=-1).astype(image.dtype)


def to_greyscale(image):
    """The luma 0.299 R + 0.587 G + 0.114 B in all three channels; `[H, W, 3] -> [H, W, 3]`.

    Pillow rounds it to 8 bits; TensorFlow's weights have four digits, which differs by less than 2e-4.

    >>> print(to_greyscale(jnp.array([[[0.0, 1.0, 0.0]]])))
    [[[0.587 0.587 0.587]]]

    Source: ITU-R BT.601.
    """
    check_image(image, channels=3)
    return jnp.broadcast_to(luma(image.astype(accumulation_dtype(image))), image.shape).astype(image.dtype)


def random_greyscale(key, image, p=0.2):
    """`to_greyscale` with probability `p`.

    >>> import jax
    >>> print(random_greyscale(jax.random.key(0), jnp.array([[[0.0, 1.0, 0.0]]]), p=1.0))
    [[[0.587 0.587 0.587]]]
    """
    return random_apply(key, p, to_greyscale, image)


def solarise(image, threshold=0.5):
    """Inverts what is at or above the threshold: `image < threshold ? image : 1 - image`; any channels.

    >>> solarise(jnp.array([[[0.25, 0.5, 0.75]]]))[0, 0].tolist()
    [0.25, 0.5, 0.25]
    """
    check_image(image)
    return jnp.where(image < threshold, image, 1.0 - image)


def random_solarise(key, image, p=0.2, threshold=0.5):
    """`solarise` with probability `p`; the default is that of BYOL's and MoCo v3's second view.

    >>> import jax
    >>> random_solarise(jax.random.key(0), jnp.ones((1, 1, 1)), p=1.0).item()
    0.0
    """
    return random_apply(key, p, lambda image: solarise(image, threshold), image)


def luma(x):
    """Luma `[H, W, 1]` of an image of three channels; one channel is its own."""
    if x.shape[-1] == 1:
        return x
    check_image(x, channels=3)
    return 0.299 * x[..., 0:1] + 0.587 * x[..., 1:2] + 0.114 * x[..., 2:3]


def contrast_base(x, mean):
    """What contrast blends an image with: `[1, 1, 1]` or `[1, 1, C]`."""
    return luma(x).mean(keepdims=True) if mean == "grey" else x.mean(axis=(0, 1), keepdims=True)


def saturation_base(x, factor, mode):
    """What saturation blends every pixel with, `[H, W, 1]`, and the factor."""
    if mode == "luma":
        return luma(x), factor
    # In HSV a channel is V - S * (...): scaling S blends with V, up to the factor 1 / S at which S reaches 1.
    value = x.max(axis=-1, keepdims=True)
    chroma = value - x.min(axis=-1, keepdims=True)
    return value, jnp.where(chroma > 0, jnp.minimum(factor, _ratio(value, chroma)), factor)


def blend(x, base, factor, shift=0.0):
    """`clip(factor * x + (1 - factor) * base + shift)`, which leaves `x` exactly alone at factor 1 and shift 0."""
    return jnp.clip(factor * x + (1.0 - factor) * base + shift, 0.0, 1.0)


def _ratio(numerator, denominator):
    """The quotient, and 0 where the denominator is."""
    return jnp.where(denominator > 0, numerator / jnp.where(denominator > 0, denominator, 1.0), 0.0)
