"""Whole augmentations: the random view that contrastive methods train on, and the fixed view for evaluation."""

import jax
import jax.numpy as jnp

from ssl_jax.augment.colour import random_greyscale, random_solarise
from ssl_jax.augment.filters import random_gaussian_blur
from ssl_jax.augment.geometry import center_crop, random_resized_crop, random_shift
from ssl_jax.augment.image import check_choice, normalise, to_float, uniform
from ssl_jax.augment.jitter import colour_jitter
from ssl_jax.augment.resample import resample

# What operations of the same name do differently in the two libraries that papers were trained with.
_SEMANTICS = {
    "torchvision": dict(antialias=True, contrast_mean="grey", saturation_mode="luma", padding="edge"),
    "tensorflow": dict(antialias=False, contrast_mean="channel", saturation_mode="hsv", padding="zero"),
}


def view(
    key,
    image,
    *,
    size,
    crop: bool = True,
    pad: int = 0,
    crop_scale=(0.08, 1.0),
    crop_ratio=(3 / 4, 4 / 3),
    crop_distribution: str = "torchvision",
    method: str = "bicubic",
    flip_probability=0.5,
    jitter=(0.8, 0.8, 0.8, 0.2),
    jitter_strength=1.0,
    jitter_probability=0.8,
    jitter_order: str = "random",
    brightness_mode: str = "multiplicative",
    greyscale_probability=0.2,
    greyscale_first: bool = False,
    blur_probability=0.5,
    blur_sigma=(0.1, 2.0),
    blur_kernel: int | None = None,
    solarise_probability=0.0,
    solarise_threshold=0.5,
    semantics: str = "torchvision",
    original_size=None,
    mean=None,
    std=None,
):
    """One random view: crop and resize, flip, colour jitter, greyscale, blur, solarise, normalise.

    The defaults are SimCLR's; `ssl_jax.defaults.views` has the other published ones. BYOL's and MoCo v3's two views are
    two calls with other probabilities. An operation whose probability or strength is 0 is not compiled, and takes no
    randomness from the others: with one key, the crop with and without colour distortion is the same crop.

    Args:
        key: PRNG key of this view.
        image: `[H, W, C]`, uint8 in 0..255 or floating point in [0, 1].
        size: output (height, width), or one int for both; static.
        crop: False resizes the whole image instead.
        pad: with `crop=False`, black pixels put around the resized image, of which a random part of `size` is taken.
        crop_scale: range of crop area / image area.
        crop_ratio: range of width / height.
        crop_distribution: "torchvision", "tensorflow" (the official SimCLR's), "clamped" (BYOL's) or "pixels" (context
            prediction): see `sample_crop`.
        method: "bicubic" or "bilinear" resampling.
        flip_probability: of the mirror image.
        jitter: strengths of brightness, contrast, saturation, hue (in turns).
        jitter_strength: multiplies all four.
        jitter_probability: of any jitter.
        jitter_order: "random" or "fixed".
        brightness_mode: "multiplicative" (SimCLR v2 and torchvision) or "additive" (SimCLR v1, BYOL).
        greyscale_probability: of losing colour.
        greyscale_first: greyscale before the jitter, not after: MoCo v1. Either order draws the same randomness.
        blur_probability: of Gaussian blur.
        blur_sigma: range of its standard deviation, in output pixels.
        blur_kernel: its taps, odd; None is SimCLR's: a tenth of the output's height, 23 at 224 pixels.
        solarise_probability: of inverting what is above `solarise_threshold`.
        semantics: "torchvision" or "tensorflow": antialiasing, the mean that contrast keeps, the meaning of saturation
            and the border of blur as in that library. The official code of SimCLR and BYOL has TensorFlow's, that
            of MoCo, SimSiam, Barlow Twins, VICReg, SwAV and DINO has torchvision's.
        original_size: (height, width) `[2]`, traced, of an image that is stored squashed onto `[H, W]`.
        mean: normalisation, C floats; None for none. Given together with `std`.
        std: likewise.

    Returns:
        `[size_h, size_w, C]`, float32 for bytes, else the dtype of `image`; in [0, 1] where not normalised.

    Raises:
        ValueError: wrong rank or dtype, unknown option, or colour operations on an image without three channels.

    >>> image = jnp.full((48, 64, 3), 200, jnp.uint8)
    >>> views = jax.jit(jax.vmap(lambda key: view(key, image, size=32)))(jax.random.split(jax.random.key(0), 2))
    >>> views.shape, views.dtype.name
    ((2, 32, 32, 3), 'float32')

    Source: SimCLR, section 3 and appendix A (arXiv 2002.05709); google-research/simclr, `tf2/data_util.py`.
    """
    _check_options(semantics, mean, std)
    library = _SEMANTICS[semantics]
    image = to_float(image)
    key_crop, key_flip, key_jitter, key_greyscale, key_blur, key_solarise = jax.random.split(key, 6)

    flip = uniform(key_flip) < flip_probability if flip_probability else False
    if crop:
        image = random_resized_crop(
            key_crop,
            image,
            size,
            scale=crop_scale,
            ratio=crop_ratio,
            distribution=crop_distribution,
            method=method,
            antialias=library["antialias"],
            original_size=original_size,
            flip=flip,
        )
    else:
        whole = (0, 0, *image.shape[:2])
        image = resample(image, whole, size, method=method, antialias=library["antialias"], flip=flip)
        image = jnp.clip(image, 0.0, 1.0)
        if pad:
            image = random_shift(key_crop, image, pad)
    if greyscale_probability and greyscale_first:
        image = random_greyscale(key_greyscale, image, greyscale_probability)
    if jitter_probability and jitter_strength and any(jitter):
        brightness, contrast, saturation, hue = (jitter_strength * strength for strength in jitter)
        image = colour_jitter(
            key_jitter,
            image,
            brightness=brightness,
            contrast=contrast,
            saturation=saturation,
            hue=hue,
            p=jitter_probability,
            order=jitter_order,
            brightness_mode=brightness_mode,
            contrast_mean=library["contrast_mean"],
            saturation_mode=library["saturation_mode"],
        )
    if greyscale_probability and not greyscale_first:
        image = random_greyscale(key_greyscale, image, greyscale_probability)
    if blur_probability:
        kernel_size = 2 * (image.shape[0] // 20) + 1 if blur_kernel is None else blur_kernel
        image = random_gaussian_blur(
            key_blur, image, p=blur_probability, sigma=blur_sigma, kernel_size=kernel_size, padding=library["padding"]
        )
    if solarise_probability:
        image = random_solarise(key_solarise, image, solarise_probability, solarise_threshold)
    return image if mean is None else normalise(image, mean, std)


def evaluation_view(
    image,
    *,
    size,
    proportion: float | None = 0.875,
    method: str = "bicubic",
    semantics: str = "torchvision",
    original_size=None,
    mean=None,
    std=None,
):
    """The fixed view for evaluation: central crop, resize, normalise.

    Args:
        image: `[H, W, C]`, uint8 in 0..255 or floating point in [0, 1].
        size: output (height, width), or one int for both; static.
        proportion: side of the crop over the largest that fits; None takes the whole image, as for CIFAR.
        method, semantics, original_size, mean, std: see `view`.

    Returns:
        `[size_h, size_w, C]`, float32 for bytes, else the dtype of `image`.

    >>> evaluation_view(jnp.zeros((256, 300, 3), jnp.uint8), size=224).shape
    (224, 224, 3)

    Source: google-research/simclr, `tf2/data_util.py`.
    """
    _check_options(semantics, mean, std)
    antialias = _SEMANTICS[semantics]["antialias"]
    image = to_float(image)
    if proportion is None:
        image = resample(image, (0, 0, *image.shape[:2]), size, method=method, antialias=antialias)
        image = jnp.clip(image, 0.0, 1.0)
    else:
        image = center_crop(
            image, size, proportion=proportion, method=method, antialias=antialias, original_size=original_size
        )
    return image if mean is None else normalise(image, mean, std)


def _check_options(semantics, mean, std):
    check_choice("semantics", semantics, _SEMANTICS)
    if (mean is None) != (std is None):
        raise ValueError(f"Given mean {mean} and std {std}, expected both or neither: give both to normalise.")
