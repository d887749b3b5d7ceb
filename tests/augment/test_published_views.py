import functools
import inspect

import jax
import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps
from scipy import ndimage
from sklearn.datasets import load_sample_image

from ssl_jax import defaults
from ssl_jax.augment.views import view

PHOTO = load_sample_image("china.jpg")[100:148, 200:264]
DRAWS = 4000
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PROBABILITIES = (
    "flip_probability",
    "jitter_probability",
    "greyscale_probability",
    "blur_probability",
    "solarise_probability",
)
OFF = dict.fromkeys(PROBABILITIES, 0.0) | dict(crop=False, mean=None, std=None)

# What the transforms of torchvision and Pillow do where the official code passes no argument.
LIBRARY = dict(
    crop=True,
    pad=0,
    crop_ratio=(3 / 4, 4 / 3),
    crop_distribution="torchvision",
    method="bilinear",
    flip_probability=0.5,
    jitter_strength=1.0,
    jitter_order="random",
    brightness_mode="multiplicative",
    solarise_threshold=0.5,
    semantics="torchvision",
)
# facebookresearch/moco at 132aea9, main_moco.py: lines 325 to 354; facebookresearch/moco-v3 at c349e6e, main_moco.py:
# lines 258 to 285, and CONFIG.md: --crop-min=.2 for ResNets, the default 0.08 for vision transformers.
COMMON = LIBRARY | dict(greyscale_probability=0.2, blur_sigma=(0.1, 2.0), blur_kernel=17, mean=MEAN, std=STD)
V1 = COMMON | dict(
    crop_scale=(0.2, 1.0),
    greyscale_first=True,
    jitter=(0.4, 0.4, 0.4, 0.4),
    jitter_probability=1.0,
    blur_probability=0.0,
    solarise_probability=0.0,
)
V2 = COMMON | dict(
    crop_scale=(0.2, 1.0),
    greyscale_first=False,
    jitter=(0.4, 0.4, 0.4, 0.1),
    jitter_probability=0.8,
    blur_probability=0.5,
    solarise_probability=0.0,
)
V3_BOTH = dict(greyscale_first=False, jitter=(0.4, 0.4, 0.2, 0.1), jitter_probability=0.8)
V3 = tuple(
    COMMON | V3_BOTH | dict(crop_scale=(0.2, 1.0), blur_probability=blur, solarise_probability=solarise)
    for blur, solarise in ((1.0, 0.0), (0.1, 0.2))
)
V3_VIT = tuple(official | dict(crop_scale=(0.08, 1.0)) for official in V3)


def published(name, second=False, **changes):
    """The arguments of `view` for one view of a published augmentation, as configs have them."""
    config = defaults.views(name, **changes).to_dict()
    own = config.pop("second", {})
    return config | own if second else config


OFFICIAL = {
    "moco_v1": (published("moco_v1"), V1),
    "moco_v2": (published("moco_v2"), V2),
    "moco_v3_0": (published("moco_v3"), V3[0]),
    "moco_v3_1": (published("moco_v3", second=True), V3[1]),
    "moco_v3_0_vit": (published("moco_v3", crop_scale=(0.08, 1.0)), V3_VIT[0]),
    "moco_v3_1_vit": (published("moco_v3", second=True, crop_scale=(0.08, 1.0)), V3_VIT[1]),
}
RESNET = [name for name in OFFICIAL if not name.endswith("vit")]


@functools.cache
def compiled(name, **options):
    return jax.jit(jax.vmap(functools.partial(view, **(OFFICIAL[name][0] | options)), (0, None)))


def views(name, key, image, count, **options):
    return np.asarray(compiled(name, **options)(jax.random.split(key, count), image))


@pytest.mark.parametrize("name", OFFICIAL)
def test_published_views_are_the_official_values(name):
    held, official = OFFICIAL[name]
    assert held == official | {"size": 224}


def test_the_defaults_are_those_of_view():
    keywords = [p for p in inspect.signature(view).parameters.values() if p.kind is p.KEYWORD_ONLY]
    own = {p.name: p.default for p in keywords if p.name not in ("size", "original_size")}
    assert own | {"size": 224} == defaults.VIEW


@pytest.mark.parametrize("name", ["moco_v1", "moco_v3_1"])
def test_views_are_normalised_images_that_differ(key, name):
    plain = views(name, key, PHOTO, 32, size=16, mean=None, std=None)
    assert plain.min() >= 0 and plain.max() <= 1 + 1e-6
    assert len(np.unique(plain.sum(axis=(1, 2, 3)))) == 32
    np.testing.assert_allclose(views(name, key, PHOTO, 32, size=16), (plain - MEAN) / STD, atol=2e-5)


@pytest.mark.parametrize("name", RESNET)
@pytest.mark.parametrize("option", PROBABILITIES)
def test_operations_happen_with_the_official_probability(key, name, option):
    image = np.array([[[250, 20, 90], [30, 200, 60]], [[10, 40, 220], [128, 180, 90]]], np.uint8)
    # Only this operation, with the preset's own probability; sigma well above 0, so that every blur shows.
    options = {name: value for name, value in OFF.items() if name != option}
    results = views(name, key, image, DRAWS, size=2, blur_sigma=(1.0, 2.0), **options)
    share = float((np.abs(results * 255 - image) > 0.5).any(axis=(1, 2, 3)).mean())
    p = OFFICIAL[name][1][option]
    # A jitter drawn near the identity may stay below half a step: 0.2 % allowed.
    assert abs(share - p) <= 4 * np.sqrt(p * (1 - p) / DRAWS) + 0.002 * (option == "jitter_probability")


def test_v1_turns_grey_before_it_jitters(key):
    """Grey views are exactly grey and yet jittered, in what grey has: neither saturation nor hue matters to them."""
    options = dict(size=8, mean=None, std=None)
    count = 1000
    results = views("moco_v1", key, PHOTO, count, **options)
    grey = np.ptp(results, axis=-1).max(axis=(1, 2)) == 0
    assert abs(grey.mean() - 0.2) < 4 * np.sqrt(0.2 * 0.8 / count)
    no_colour_jitter = views("moco_v1", key, PHOTO, count, jitter=(0.4, 0.4, 0.0, 0.0), **options)
    np.testing.assert_allclose(results[grey], no_colour_jitter[grey], atol=1e-6)
    no_jitter = views("moco_v1", key, PHOTO, count, jitter_probability=0.0, **options)
    assert (np.abs(results - no_jitter)[grey].max(axis=(1, 2, 3)) > 1 / 255).mean() > 0.98


@pytest.mark.parametrize("seed", range(2))
def test_blur_is_near_pillow(key, seed):
    """Pillow has three box filters in the Gaussian's place, each with the border repeated anew.

    Measured on four images with Pillow 13.0, over all sigmas: at most 3.0 steps of 1/255 inside, 12.1 at the border,
    0.71 on average. A kernel of 7 taps would be 8 away inside.
    """
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(64, 64, 3)), (2, 2, 0))
    image = np.uint8(np.round(255 * (noise - noise.min()) / np.ptp(noise)))
    options = OFF | dict(size=64)
    del options["blur_probability"]  # position 0 blurs always
    for sigma in (0.1, 0.5, 1.0, 1.5, 2.0):
        blurred = views("moco_v3_0", key, image, 1, blur_sigma=(sigma, sigma), **options)[0]
        expected = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius=sigma)), np.float64)
        difference = np.abs(blurred * 255 - expected)
        assert difference[8:-8, 8:-8].max() < 3.5
        assert difference.max() < 14 and difference.mean() < 0.8


def test_solarise_equals_pillow_on_every_byte(key):
    image = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    options = OFF | dict(size=16, solarise_probability=1.0)
    expected = np.asarray(ImageOps.solarize(Image.fromarray(image)))
    np.testing.assert_allclose(views("moco_v3_1", key, image, 1, **options)[0] * 255, expected, atol=1e-3)
    # Between bytes: as what they would be rounded to.
    options["size"] = (14, 16)
    for offset in (-0.49, 0.49):
        between = np.float32((image[1:-1] + offset) / 255)
        np.testing.assert_allclose(
            views("moco_v3_1", key, between, 1, **options)[0] * 255, expected[1:-1], atol=0.5, rtol=0
        )
