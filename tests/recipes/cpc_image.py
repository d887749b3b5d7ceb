"""CPC for images: what the papers and Lightning Bolts say."""

# arXiv 1905.09272, section 3 and appendix A; optimizer, batch and epochs as they are usually given, unverified.
# Images of 300 x 300 pixels, of which a random 260 x 260 is taken; "pixels" is random in long images too.
V2 = {
    "method.name": "cpc_image", "method.patch": 80, "method.stride": 36, "method.ignore": 2, "method.steps": 3,
    "method.directions": 4, "method.scale": 0.1, "method.colour_drop": 1.0, "model.norm": "layer",
    "model.context": {"targets": 64, "hidden": 256, "layers": 5}, "augment.size": 260, "data.canvas": 300,
    "augment.crop": True, "augment.crop_scale": ((260 / 300) ** 2, (260 / 300) ** 2), "augment.crop_ratio": (1, 1),
    "augment.crop_distribution": "pixels", "augment.greyscale_probability": 0, "method.flip_patches": 0.5,
    "train.batch_size": 512, "train.epochs": 200, "optim.name": "adam", "optim.b1": 0.8, "optim.b2": 0.999,
    "optim.eps": 1e-8, "optim.clip_norm": 0.01, "learning_rate": 4e-4,
}  # fmt: skip
R50 = {"model.name": "resnet_v2", "model.blocks": (3, 4, 6, 3), "model.outputs": (256, 512, 1024, 2048)}
# Section 3.1: the third stage of ResNet-101 with 46 blocks, maps of 4,096, bottlenecks of 512 channels; it is the last.
R161 = {"model.name": "resnet_v2", "model.blocks": (3, 4, 46), "model.channels": (64, 128, 512),
        "model.outputs": (256, 512, 4096), "model.stem": "imagenet"}  # fmt: skip
# arXiv 1807.03748, section 3.2: 7 x 7 crops of 64 pixels with 32 pixels of overlap out of a random 256 of 300, grey,
# mirrored or not; up to 5 rows below; 32 GPUs of 16 images; Adam at 2e-4.
V1 = {
    "method.patch": 64, "method.stride": 32, "method.ignore": 0, "method.steps": 5, "method.directions": 1,
    "method.scale": 1.0, "method.flip_patches": 0, "method.colour_drop": 0, "augment.size": 256, "data.canvas": 300,
    "augment.crop": True, "augment.crop_scale": ((256 / 300) ** 2, (256 / 300) ** 2), "augment.crop_ratio": (1, 1),
    "augment.crop_distribution": "pixels", "augment.flip_probability": 0.5, "augment.greyscale_probability": 1,
    "optim.name": "adam", "optim.b1": 0.9, "optim.b2": 0.999, "optim.clip_norm": 0.0, "optim.schedule": "constant",
    "model.name": "resnet_v2", "model.blocks": (3, 4, 23), "model.outputs": (256, 512, 1024), "model.norm": "none",
    "model.context": {"targets": 1024}, "train.batch_size": 512, "learning_rate": 2e-4,
}  # fmt: skip
# Lightning-Universe/lightning-bolts: docs/source/models/self_supervised.rst; pl_bolts/models/self_supervised/cpc,
# cpc_module.py, networks.py (cpc_resnet101), transforms.py (CPCTrainTransformsCIFAR10); CPCTask of
# pl_bolts/losses/self_supervised_learning.py, whose two loops compare 2 to 6 rows below: for more there is none.
BOLTS = {
    "method.patch": 8, "method.stride": 4, "method.ignore": 1, "method.steps": 5, "method.directions": 1,
    "method.scale": 0.1, "method.flip_patches": 0, "method.colour_drop": 0, "model.name": "resnet_v2",
    "model.blocks": (3, 4, 46, 3), "model.channels": (64, 128, 512, 512), "model.outputs": (256, 512, 4096, 2048),
    "model.stem": "imagenet", "model.norm": "layer", "model.init": "torch", "model.context": {"targets": 64},
    "augment.size": 32, "augment.crop": False, "augment.flip_probability": 0.5, "augment.jitter_probability": 0.8,
    "augment.jitter": (0.4, 0.4, 0.4, 0.2), "augment.jitter_strength": 1, "augment.greyscale_probability": 0.25,
    "augment.blur_probability": 0, "train.batch_size": 64, "train.epochs": 1000, "optim.name": "adam", "optim.b1": 0.8,
    "optim.b2": 0.999, "optim.eps": 1e-7, "optim.weight_decay": 1e-5, "optim.clip_norm": 0.0,
    "optim.groups": {"vectors": {"weight_decay": None}}, "optim.schedule": "constant", "learning_rate": 4e-5,
}  # fmt: skip

RECIPES = {"imagenet_v1": V1, "imagenet_v2": V2 | R50, "imagenet_v2_r161": V2 | R161, "cifar10_r101": BOLTS}
PUBLISHED = {"imagenet_v1": "48.7", "imagenet_v2": "63.8", "imagenet_v2_r161": "71.5", "cifar10_r101": "84.52"}
