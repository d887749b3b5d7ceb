"""VICReg: what the paper, the official code and solo-learn say."""

from tests.recipes.holds import ABSENT

EXPANDER = {
    "hidden_dims": (8192, 8192), "output_dim": 8192, "norm": "hidden", "hidden_bias": True, "bias": False,
    "init": "torch",
}  # fmt: skip
# facebookresearch/vicreg at 4e12602, main_vicreg.py: --mlp 8192-8192-8192 --wd 1e-6 --sim-coeff 25 --std-coeff 25
# --cov-coeff 1; LARS(momentum=0.9, eta=0.001), 10 epochs of warm-up, then a cosine to 0.001 of the rate; README:
# --epochs 1000 --batch-size 2048 --base-lr 0.2, and --epochs 100 --batch-size 512 --base-lr 0.3; augmentations.py.
CODE = {
    "method.name": "vicreg", "method.invariance_weight": 25, "method.variance_weight": 25,
    "method.covariance_weight": 1, "model.name": "resnet", "model.depth": 50, "model.width": 1,
    "model.stem": "imagenet", "model.zero_init_residual": True, "model.init": "torch", "model.norm_groups": 1,
    "model.norm_momentum": 0.9, "model.projector": EXPANDER, "train.batch_size": 2048, "train.epochs": 1000,
    "optim.name": "lars", "optim.momentum": 0.9, "optim.momentum_form": "lr_outside", "optim.trust_coefficient": 1e-3,
    "optim.weight_decay": 1e-6, "optim.warmup_epochs": 10, "optim.schedule": "cosine", "learning_rate": 1.6,
    "optim.end_learning_rate": 0.0016, "optim.groups": {"vectors": {"weight_decay": 0, "trust_ratio": False}},
    "augment.size": 224, "augment.crop": True, "augment.crop_scale": (0.08, 1),
    "augment.crop_ratio": (3 / 4, 4 / 3), "augment.method": "bicubic", "augment.flip_probability": 0.5,
    "augment.jitter": (0.4, 0.4, 0.2, 0.1), "augment.jitter_strength": 1, "augment.jitter_probability": 0.8,
    "augment.brightness_mode": "multiplicative", "augment.greyscale_probability": 0.2,
    "augment.greyscale_first": False, "augment.blur_probability": 1, "augment.blur_sigma": (0.1, 2),
    "augment.solarise_probability": 0, "augment.second": {"blur_probability": 0.1, "solarise_probability": 0.2},
    "augment.semantics": "torchvision", "augment.mean": (0.485, 0.456, 0.406), "augment.std": (0.229, 0.224, 0.225),
}  # fmt: skip
# arXiv 2105.04906: section 4.2 (rates, end 0.002), eq. 6 (25 for the variance of each of the two views; the loss
# averages them), appendix C.1 (one augmentation for both views, kernel of 23 taps), C.4 (100 epochs at 0.3).
PAPER = CODE | {
    "method.variance_weight": 2 * 25, "optim.end_learning_rate": 0.002, "augment.blur_probability": 0.5,
    "augment.blur_kernel": 23, "augment.solarise_probability": 0.1, "augment.second": ABSENT,
}  # fmt: skip
# vturrisi/solo-learn at 9187ea3, scripts/pretrain/cifar/vicreg.yaml and the defaults of solo/methods/base.py: a warm-up
# of 10 epochs from 3e-5, a cosine to 0; solo/losses/vicreg.py adds the variances of the views.
SOLO = PAPER | {
    "method.variance_weight": 2 * 25, "model.depth": 18, "model.stem": "cifar", "model.zero_init_residual": False,
    "model.projector": EXPANDER | {"hidden_dims": (2048, 2048), "output_dim": 2048}, "train.batch_size": 256,
    "optim.name": "larc", "optim.trust_coefficient": 0.02, "optim.trust_clip": True, "optim.weight_decay": 1e-4,
    "learning_rate": 0.3, "optim.start_learning_rate": 3e-5, "optim.end_learning_rate": 0, "augment.size": 32,
    "augment.crop_scale": (0.2, 1), "augment.blur_probability": 0, "augment.mean": (0.4914, 0.4822, 0.4465),
    "augment.std": (0.2470, 0.2435, 0.2616),
}  # fmt: skip
SHORT = {"train.epochs": 100, "train.batch_size": 512, "learning_rate": 0.6, "optim.end_learning_rate": 0.0006}

RECIPES = {
    "imagenet_r50_1000ep_paper": PAPER,
    "imagenet_r50_100ep_paper": PAPER | {"train.epochs": 100, "learning_rate": 2.4},
    "imagenet_r50_1000ep_code": CODE,
    "imagenet_r50_100ep_code": CODE | SHORT,
    "imagenet_r50x2_code": CODE | {"model.width": 2},
    "cifar10_r18": SOLO,
}
PUBLISHED = {
    "imagenet_r50_1000ep_paper": "73.2", "imagenet_r50_100ep_paper": "68.6", "imagenet_r50_1000ep_code": "73.2",
    "imagenet_r50x2_code": "75.5", "cifar10_r18": "92.07 (online)",
}  # fmt: skip
# README: 23M and 93M; of twice the width convolutions have four times the weights, but for the stem's 9,408, and norms
# (53,120) twice. The expander has biases in its hidden layers and two BatchNorm1d(8192).
HIDDEN = 2 * 8192**2 + 2 * 8192 + 2 * 2 * 8192
PARAMETERS = {
    "imagenet_r50_1000ep_code": {"encoder": 23_508_032, "projector": 2048 * 8192 + HIDDEN},
    "imagenet_r50x2_code": {
        "encoder": 4 * (23_508_032 - 9_408 - 53_120) + 2 * (9_408 + 53_120), "projector": 4096 * 8192 + HIDDEN,
    },
}  # fmt: skip
