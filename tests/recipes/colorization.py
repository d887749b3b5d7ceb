"""Colorization: what the paper and the official code say."""

# arXiv 1603.08511, sections 2.2, 2.3 and 3; richzhang/colorization: resources/caffe_traininglayers.py (neighbours,
# sigma, gamma, the grey threshold), models/colorization_train_val_v2.prototxt, train/solver.prototxt.
VGG = {
    "method.name": "colorization", "method.loss": "classification", "method.map": "conv_8", "method.stride": 4,
    "method.neighbours": 5, "method.sigma": 5.0, "method.uniform": 0.5, "method.grey": 0.0, "method.temperature": 0.38,
    "model.name": "dilated_vgg", "model.width": 1.0, "augment.size": 176, "augment.flip_probability": 0.5,
    "augment.crop_scale": ((176 / 256) ** 2, (176 / 256) ** 2), "augment.crop_ratio": (1.0, 1.0),
    "augment.jitter_probability": 0, "augment.greyscale_probability": 0, "augment.blur_probability": 0,
    "augment.mean": None, "augment.std": None, "train.batch_size": 40, "train.steps": 450_000, "optim.name": "adam",
    "learning_rate": 3e-5, "optim.b1": 0.9, "optim.b2": 0.99, "optim.weight_decay": 1e-3, "optim.schedule": "step",
    "optim.decay_factor": 0.1, "optim.boundaries": (225_000 * 40 / 1_281_167,), "optim.groups": {},
}  # fmt: skip
CODE = {"method.neighbours": 10, "method.grey": 5.0, "train.steps": 500_000}

RECIPES = {
    "imagenet_vgg_paper": VGG,
    "imagenet_vgg_code": VGG | CODE,
    # train_alexnet/train_val.prototxt and solver0.prototxt, whose comments have the later rates
    "imagenet_alexnet_code": VGG | CODE | {
        "method.map": "fc_7", "method.stride": 8, "model.name": "alexnet_map", "model.groups": True,
        "augment.size": 180, "augment.crop_scale": ((180 / 256) ** 2, (180 / 256) ** 2), "train.batch_size": 80,
        "optim.b2": 0.999, "optim.decay_factor": 0.1**0.5,
        "optim.boundaries": tuple(steps * 80 / 1_281_167 for steps in (240_000, 300_000, 400_000)),
    },
}  # fmt: skip
PUBLISHED = {"imagenet_alexnet_code": "32.6 (conv_4)"}  # arXiv 1611.09842, table 2
# By hand from the prototxt files: sums of size^2 x channels in / groups x channels out, and biases where no norm
# follows. The head goes from the 256 or 4,096 channels of the last map to 313 bins.
PARAMETERS = {
    "imagenet_vgg_paper": {"encoder": 32_149_952, "head": 80_441},
    "imagenet_alexnet_code": {"encoder": 56_835_424, "head": 1_282_361},
}
