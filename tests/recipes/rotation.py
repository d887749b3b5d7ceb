"""Rotation prediction: what the paper and the official code say."""

# arXiv 1803.07728, section 3.1 and 3.2; gidariss/FeatureLearningRotNet, config/*.py and dataloader.py.
COMMON = {
    "optim.name": "sgd", "optim.momentum": 0.9, "optim.nesterov": True, "optim.weight_decay": 5e-4,
    "optim.schedule": "step", "augment.flip_probability": 0.5, "augment.jitter_probability": 0.0,
    "augment.greyscale_probability": 0.0, "augment.blur_probability": 0.0, "method.copies": "all",
}  # fmt: skip
CIFAR = COMMON | {
    "model.name": "nin", "model.blocks": 4, "model.width": 1.0, "model.head": {"hidden_dims": (), "output_dim": 4},
    "train.batch_size": 128, "train.epochs": 100, "learning_rate": 0.1, "optim.decay_factor": 0.2,
    "optim.boundaries": (30, 60, 80), "augment.size": 32, "augment.crop": False, "augment.pad": 4,
    "augment.mean": (125.3 / 255, 123.0 / 255, 113.9 / 255), "augment.std": (63.0 / 255, 62.1 / 255, 66.7 / 255),
    "method.layer": "block_2",
}  # fmt: skip
IMAGENET = COMMON | {
    "model.name": "alexnet", "train.batch_size": 192, "train.epochs": 30, "learning_rate": 0.01,
    "optim.decay_factor": 0.1, "optim.boundaries": (10, 20), "augment.size": 224, "augment.mean": (0.485, 0.456, 0.406),
    "augment.std": (0.229, 0.224, 0.225),
}  # fmt: skip

RECIPES = {
    "cifar10_nin4_paper": CIFAR,
    "cifar10_nin4_code": CIFAR | {"train.epochs": 200, "optim.boundaries": (60, 120, 160)},
    "cifar10_nin4_8angles": CIFAR | {"method.angles": "8", "model.head": {"output_dim": 8}},
    "cifar10_nin4_2angles": CIFAR | {"method.angles": "2", "model.head": {"output_dim": 2}},
    "cifar10_nin4_sideways": CIFAR | {"method.angles": "2_sideways", "model.head": {"output_dim": 2}},
    "cifar10_nin3_paper": CIFAR | {"model.blocks": 3},
    "cifar10_nin5_paper": CIFAR | {"model.blocks": 5},
    "imagenet_alexnet_paper": IMAGENET,
    "imagenet_alexnet_code": IMAGENET | {"train.epochs": 50, "optim.boundaries": (15, 30, 45)},
}
PUBLISHED = {
    "cifar10_nin4_paper": "89.06 (non-linear)", "cifar10_nin4_code": "89.06 (non-linear)",
    "cifar10_nin4_8angles": "88.51 (non-linear)", "cifar10_nin4_2angles": "87.46 (non-linear)",
    "cifar10_nin4_sideways": "85.52 (non-linear)", "cifar10_nin3_paper": "88.26 (non-linear)",
    "imagenet_alexnet_paper": "38.7", "imagenet_alexnet_code": "38.7",
}  # fmt: skip
