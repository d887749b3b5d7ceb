"""Context prediction: what the paper and the official code say."""

# arXiv 1505.05192, section 3; cdoersch/deepcontext at 5307282, train.py (patch_sz, gap, noise, gen_net, prep_image,
# imgloader) and solver_mko.prototxt (momentum 0, fixed rate 1e-5 for a loss summed over pairs, no weight decay).
SIDE = 3 * 96 + 2 * 48 + 2 * 7
COMMON = {
    "method.patch": 96, "method.gap": 48, "method.jitter": 7, "method.pixelate_probability": 0.33,
    "method.least_pixels": 100, "method.pairs": "all", "model.name": "caffenet", "model.width": 1.0,
    "model.head": {"hidden_dims": (4096, 4096), "output_dim": 8, "norm": "first_unscaled", "init": "caffe"},
    "model.init": "caffe", "optim.name": "sgd", "optim.schedule": "constant", "optim.weight_decay": 0.0,
    "augment.size": SIDE, "augment.crop_distribution": "pixels", "augment.crop_ratio": (1, 1),
    "augment.crop_scale": (SIDE**2 / 450_000, 1), "augment.flip_probability": 0, "augment.jitter_probability": 0,
    "augment.greyscale_probability": 0, "augment.blur_probability": 0,
}  # fmt: skip
OF_PAPER = COMMON | {
    "optim.momentum": 0.999, "train.steps": 1_000_000, "method.normalise": "none",
    "augment.mean": (123 / 255, 117 / 255, 104 / 255),
}  # fmt: skip

RECIPES = {
    "imagenet_caffenet_project": OF_PAPER | {"method.colours": "project"},
    "imagenet_caffenet_paper": OF_PAPER | {"method.colours": "drop_gaussian"},
    "imagenet_caffenet_code": COMMON
    | {
        "method.colours": "drop_uniform",
        "method.normalise": "contrast",
        "optim.momentum": 0.0,
        "train.steps": 1_700_000,
        "learning_rate": 1e-5 * 56 * 40,
    },  # fmt: skip
}
PUBLISHED = {
    "imagenet_caffenet_project": "45.7 (VOC mAP)", "imagenet_caffenet_paper": "46.3 (VOC mAP)",
    "imagenet_caffenet_code": "51.4 (VOC mAP)",
}  # fmt: skip
UNCHECKED = {"imagenet_r50"}  # ours, after mmselfsup's config of relative location

# Kernels of 11, 5, 3, 3 and 3 and the biases of the first two; fc6 sees 3 x 3 places of 256 channels.
PARAMETERS = {
    "imagenet_caffenet_code": {
        "encoder": 96 * (11 * 11 * 3 + 1) + 256 * (25 * 96 + 1) + 384 * 9 * (256 + 384) + 256 * 9 * 384
        + 3 * 3 * 256 * 4096,
        "head": 2 * 4096 * 4096 + 4096 * 4096 + 4096 + 4096 * 8 + 8,
    }
}  # fmt: skip
