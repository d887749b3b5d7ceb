"""Split-brain autoencoders: what the paper says."""

# arXiv 1611.09842, sections 3 and 4.1 and table 2: two AlexNets of half of the width, crops of 180, 12 x 12 places (180
# by 16, rounded up), 313 bins of ab, 50 of L. How it was optimised is not said: that part is of colorization's
# train_alexnet/solver0.prototxt.
CLASSIFICATION = {
    "method.name": "split_brain", "method.loss": "classification", "method.map": "fc_7", "method.stride": 16,
    "model.name": "alexnet_map", "model.width": 0.5, "model.groups": False, "augment.size": 180,
    "augment.flip_probability": 0.5, "augment.jitter_probability": 0, "augment.greyscale_probability": 0,
    "augment.blur_probability": 0, "augment.mean": None, "train.batch_size": 80, "optim.name": "adam",
    "learning_rate": 3e-5, "optim.b1": 0.9, "optim.b2": 0.999, "optim.weight_decay": 1e-3,
}  # fmt: skip

RECIPES = {
    "imagenet_classification": CLASSIFICATION,
    "imagenet_regression": CLASSIFICATION | {"method.loss": "regression"},
}
PUBLISHED = {"imagenet_classification": "35.4 (conv_3)", "imagenet_regression": "34.2 (conv_4)"}
# By hand: AlexNet of half of the width, and 313 or 50 bins from 2,048 channels.
PARAMETERS = {"imagenet_classification": {"lightness": 15_206_377, "colour": 14_673_298}}
