"""Jigsaw: what the paper and the official code say."""

# MehdiNoroozi/JigsawPuzzleSolver at 8041c58: train_val_cfn_jps.prototxt (crop_size 255, patch_size 64, jitter_size 21,
# mirror false, batch_size 256, dropout_ratio 0.5, lr_mult 2 and decay_mult 0 of biases), solver_cfn_jps.prototxt.
CODE = {
    "method.grid": 3, "method.patch": 64, "method.gap": 85 - 64, "method.jitter": 21 // 2, "method.permutations": 100,
    "method.normalise": "mean", "model.name": "caffenet", "model.jigsaw": True, "model.width": 1.0,
    "model.head": {"hidden_dims": (4096,), "output_dim": 100, "norm": "none", "dropout": 0.5},
    "augment.size": 255, "augment.flip_probability": 0, "augment.jitter_probability": 0,
    "augment.greyscale_probability": 0, "augment.blur_probability": 0, "augment.std": 3 * (1 / 255,),
    "train.batch_size": 256, "train.steps": 350_000, "learning_rate": 0.01, "optim.name": "sgd",
    "optim.momentum": 0.9, "optim.nesterov": False, "optim.weight_decay": 5e-4, "optim.schedule": "step",
    "optim.decay_factor": 0.1, "optim.groups": {"vectors": {"learning_rate_factor": 2.0, "weight_decay": 0.0}},
}  # fmt: skip
# arXiv 1603.09246: a random 225 x 225 of 256 pixels, cells of 75, patches of 64, their mean and deviation normalised.
OF_PAPER = CODE | {
    "method.gap": 75 - 64, "method.jitter": (75 - 64) // 2, "method.normalise": "standardise", "augment.size": 225,
    "data.canvas": 256, "augment.crop": True, "augment.crop_scale": ((225 / 256) ** 2, (225 / 256) ** 2),
    "augment.crop_ratio": (1, 1), "augment.crop_distribution": "pixels",
}  # fmt: skip
RECIPES = {"imagenet_cfn": CODE, "imagenet_cfn_paper": OF_PAPER}
PUBLISHED = {"imagenet_cfn": "33.9"}

# Of two groups each kernel sees half of the channels; fc6 sees 3 x 3 places of 256 channels.
NETWORKS = {
    "encoder": 96 * (121 * 3 + 1) + 256 * (25 * 48 + 1) + 384 * (9 * 256 + 1) + 384 * (9 * 192 + 1)
    + 256 * (9 * 192 + 1) + 1024 * (3 * 3 * 256 + 1),
    "head": 9 * 1024 * 4096 + 4096 + 4096 * 100 + 100,
}  # fmt: skip
PARAMETERS = {"imagenet_cfn": NETWORKS, "imagenet_cfn_paper": NETWORKS}
