"""The views that published methods train on: the arguments of `recipes.view` as dicts, and a function for each.

A dict names every argument but `size` and `original_size`, so that it does not follow `view` if a default changes
there. The official code applies Pillow's operations to bytes; two of them have values that need a reason:

- Blur is Pillow's `GaussianBlur(radius)`, whose radius is the standard deviation. Pillow approximates the Gaussian by
  three box filters; here it is the Gaussian, cut off at four of the largest standard deviations: 17 taps, whatever
  the image's size. SimCLR's tenth of the image would cut a small image's blur short.
- Solarising inverts the bytes from 128 on. Here images aren't rounded to bytes; what would round to 128 or more is
  what is at least 127.5 / 255 = 0.5.

The official code flips last, here the flip is part of the crop: no operation between them knows left from right.
"""

from ssl_jax.augment.views import view

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

MOCO_V2 = dict(
    crop=True,
    crop_scale=(0.2, 1.0),
    crop_ratio=(3 / 4, 4 / 3),
    crop_distribution="torchvision",
    method="bilinear",
    flip_probability=0.5,
    jitter=(0.4, 0.4, 0.4, 0.1),
    jitter_strength=1.0,
    jitter_probability=0.8,
    jitter_order="random",
    brightness_mode="multiplicative",
    greyscale_probability=0.2,
    greyscale_first=False,
    blur_probability=0.5,
    blur_sigma=(0.1, 2.0),
    blur_kernel=17,
    solarise_probability=0.0,
    solarise_threshold=0.5,
    semantics="torchvision",
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
)
MOCO_V1 = MOCO_V2 | dict(
    jitter=(0.4, 0.4, 0.4, 0.4), jitter_probability=1.0, greyscale_first=True, blur_probability=0.0
)
_FIRST = MOCO_V2 | dict(jitter=(0.4, 0.4, 0.2, 0.1), blur_probability=1.0)
_SECOND = _FIRST | dict(blur_probability=0.1, solarise_probability=0.2)
# The two views of an image differ. ResNets see crops from 0.2 of the image on, vision transformers from 0.08.
MOCO_V3 = (_FIRST, _SECOND)
MOCO_V3_VIT = tuple(preset | dict(crop_scale=(0.08, 1.0)) for preset in MOCO_V3)


def moco_v1(key, image, *, size=224, **overrides):
    """One random view of MoCo v1: `view` with `MOCO_V1`; the views of an image are two calls.

    Args:
        key: PRNG key of this view.
        image: `[H, W, 3]`, uint8 in 0..255 or floating point in [0, 1].
        size: output (height, width), or one int for both; static.
        overrides: other arguments of `view`, in place of the preset's.

    Returns:
        `[size_h, size_w, 3]`, normalised, float32 for bytes, else the dtype of `image`.

    >>> import jax, jax.numpy as jnp
    >>> moco_v1(jax.random.key(0), jnp.zeros((20, 30, 3), jnp.uint8), size=16).shape
    (16, 16, 3)

    Source: MoCo, section 3.3 (arXiv 1911.05722); facebookresearch/moco at 132aea9, `main_moco.py`.
    """
    return view(key, image, size=size, **(MOCO_V1 | overrides))


def moco_v2(key, image, *, size=224, **overrides):
    """One random view of MoCo v2, and of SimSiam: `view` with `MOCO_V2`; see `moco_v1`.

    >>> import jax, jax.numpy as jnp
    >>> moco_v2(jax.random.key(0), jnp.zeros((20, 30, 3), jnp.uint8), size=16).shape
    (16, 16, 3)

    Source: MoCo v2 (arXiv 2003.04297); facebookresearch/moco at 132aea9, `main_moco.py --aug-plus`.
    """
    return view(key, image, size=size, **(MOCO_V2 | overrides))


def moco_v3(key, image, *, position: int, vit: bool = False, size=224, **overrides):
    """One random view of MoCo v3: `view` with `MOCO_V3[position]`, or `MOCO_V3_VIT[position]`.

    Args:
        key: PRNG key of this view; the two views of an image need two.
        image: `[H, W, 3]`, uint8 in 0..255 or floating point in [0, 1].
        position: static; 0 for the view that is always blurred, 1 for the one rarely blurred and sometimes solarised.
        vit: static; the crops that vision transformers train on instead of those for ResNets.
        size: output (height, width), or one int for both; static.
        overrides: other arguments of `view`, in place of the preset's.

    Returns:
        `[size_h, size_w, 3]`, normalised, float32 for bytes, else the dtype of `image`.

    Raises:
        ValueError: another position than 0 or 1.

    >>> import jax, jax.numpy as jnp
    >>> moco_v3(jax.random.key(0), jnp.zeros((20, 30, 3), jnp.uint8), position=1, size=16).shape
    (16, 16, 3)

    Source: MoCo v3 (arXiv 2104.02057); facebookresearch/moco-v3 at c349e6e, `main_moco.py`, `CONFIG.md`.
    """
    if position not in (0, 1):
        raise ValueError(f"Given position {position!r}, expected 0 or 1: which of the two views this is.")
    return view(key, image, size=size, **((MOCO_V3_VIT if vit else MOCO_V3)[position] | overrides))
