"""What `config.augment` may hold: the arguments of `augment.views.view`, and the published augmentations."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
CIFAR_STD_MOCO = (0.2023, 0.1994, 0.2010)  # in the authors' demo of MoCo, and in what came after it

# Arguments of `augment.views.view`, which says what they mean.
VIEW = {
    "size": 224, "crop": True, "pad": 0, "crop_scale": (0.08, 1.0), "crop_ratio": (3 / 4, 4 / 3),
    "crop_distribution": "torchvision", "method": "bicubic", "flip_probability": 0.5,
    "jitter": (0.8, 0.8, 0.8, 0.2),  # brightness, contrast, saturation, hue
    "jitter_strength": 1.0, "jitter_probability": 0.8, "jitter_order": "random", "brightness_mode": "multiplicative",
    "greyscale_probability": 0.2, "greyscale_first": False, "blur_probability": 0.5, "blur_sigma": (0.1, 2.0),
    "blur_kernel": None, "solarise_probability": 0.0, "solarise_threshold": 0.5,
    "semantics": "torchvision",  # how resizing, contrast, saturation and borders are defined
    "mean": None, "std": None,
}  # fmt: skip
_NORMALISED = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
_MOCO_V2 = _NORMALISED | {
    "crop_scale": (0.2, 1.0), "method": "bilinear", "jitter": (0.4, 0.4, 0.4, 0.1), "blur_kernel": 17
}  # fmt: skip
_PLAIN = {"jitter_probability": 0.0, "greyscale_probability": 0.0, "blur_probability": 0.0}
_TWO_KINDS = {"blur_probability": 1.0, "second": {"blur_probability": 0.1, "solarise_probability": 0.2}}
_BYOL_JITTER = {"jitter": (0.4, 0.4, 0.2, 0.1)}
_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
VIEWS = {  # the published augmentations; what the second view has otherwise, and the small crops, in keys of their own
    "simclr": {"brightness_mode": "additive", "semantics": "tensorflow"},
    "moco_v1": _MOCO_V2
    | {"jitter": (0.4, 0.4, 0.4, 0.4), "jitter_probability": 1.0, "greyscale_first": True, "blur_probability": 0.0},
    "mae": _NORMALISED | {"crop_scale": (0.2, 1.0)} | _PLAIN,  # and SimMIM, whose crops begin at 0.67
    # open_clip's crop, and no flip; the paper crops a random square of the resized image.
    "clip": _PLAIN | {"crop_scale": (0.9, 1.0), "flip_probability": 0.0, "mean": _CLIP_MEAN, "std": _CLIP_STD},
    "siglip": _PLAIN
    | {"crop": False, "flip_probability": 0.0, "method": "bilinear", "mean": (0.5,) * 3, "std": (0.5,) * 3},
    "moco_v2": _MOCO_V2,  # and SimSiam
    "moco_v3": _MOCO_V2 | _BYOL_JITTER | _TWO_KINDS,
    "byol": _NORMALISED
    | _BYOL_JITTER
    | _TWO_KINDS
    | {"crop_distribution": "clamped", "brightness_mode": "additive", "semantics": "tensorflow"},
    "barlow_twins": _NORMALISED | _BYOL_JITTER | _TWO_KINDS | {"blur_kernel": 17},
    "vicreg": _NORMALISED | _BYOL_JITTER | {"blur_kernel": 23, "solarise_probability": 0.1},
    "dino": _NORMALISED
    | _BYOL_JITTER
    | _TWO_KINDS
    | {"crop_scale": (0.4, 1.0), "blur_kernel": 17}
    | {"local": {"count": 8, "size": 96, "crop_scale": (0.05, 0.4), "blur_probability": 0.5}},
    "swav": _NORMALISED
    | {"crop_scale": (0.14, 1.0), "method": "bilinear", "blur_kernel": 17, "std": (0.228, 0.224, 0.225)}
    | {"local": {"count": 6, "size": 96, "crop_scale": (0.05, 0.14)}},  # 0.228 in the official code, 0.229 elsewhere
}
