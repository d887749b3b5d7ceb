"""Barlow Twins: what the paper, the official code and solo-learn say."""

# facebookresearch/barlowtwins at 8e8d284, main.py: --epochs 1000 --batch-size 2048 --learning-rate-weights 0.2
# --learning-rate-biases 0.0048 --weight-decay 1e-6 --lambd 0.0051 --projector 8192-8192-8192; LARS(momentum=0.9,
# eta=0.001), 10 epochs of warm-up, then a cosine to 0.001 of the rate; README: 16 GPUs.
CODE = {
    "method.name": "barlow_twins", "method.off_diagonal_weight": 0.0051, "method.loss_scale": 1 / 16,
    "model.name": "resnet", "model.depth": 50, "model.width": 1, "model.stem": "imagenet",
    "model.zero_init_residual": True, "model.init": "torch", "model.norm_groups": 1, "model.norm_momentum": 0.9,
    "model.projector": {
        "hidden_dims": (8192, 8192), "output_dim": 8192, "norm": "hidden", "bias": False, "init": "torch",
    },
    "train.batch_size": 2048, "train.epochs": 1000, "optim.name": "lars", "optim.momentum": 0.9,
    "optim.momentum_form": "lr_outside", "optim.trust_coefficient": 1e-3, "optim.weight_decay": 1e-6,
    "optim.warmup_epochs": 10, "optim.schedule": "cosine", "learning_rate": 1.6, "optim.end_learning_rate": 0.0016,
    "optim.groups": {"vectors": {"weight_decay": 0, "trust_ratio": False, "learning_rate_factor": 0.0048 / 0.2}},
    "augment.size": 224, "augment.crop": True, "augment.crop_scale": (0.08, 1),
    "augment.crop_ratio": (3 / 4, 4 / 3), "augment.method": "bicubic", "augment.flip_probability": 0.5,
    "augment.jitter": (0.4, 0.4, 0.2, 0.1), "augment.jitter_strength": 1, "augment.jitter_probability": 0.8,
    "augment.brightness_mode": "multiplicative", "augment.greyscale_probability": 0.2,
    "augment.greyscale_first": False, "augment.blur_probability": 1, "augment.blur_sigma": (0.1, 2),
    "augment.solarise_probability": 0, "augment.second": {"blur_probability": 0.1, "solarise_probability": 0.2},
    "augment.semantics": "torchvision", "augment.mean": (0.485, 0.456, 0.406), "augment.std": (0.229, 0.224, 0.225),
}  # fmt: skip
# arXiv 2103.03230, section 2.2; section 4: 300 epochs in the ablations.
PAPER = CODE | {"method.off_diagonal_weight": 5e-3, "method.loss_scale": 1, "optim.weight_decay": 1.5e-6}
# vturrisi/solo-learn at 9187ea3, scripts/pretrain/cifar/barlow.yaml, augmentations/asymmetric.yaml and the defaults of
# solo/methods/{base,barlow_twins}.py: lamb 0.0051, warm-up of 10 epochs from 3e-5, cosine to 0.
SOLO = CODE | {
    "method.loss_scale": 0.1, "model.depth": 18, "model.stem": "cifar", "model.zero_init_residual": False,
    "model.projector": CODE["model.projector"] | {"hidden_dims": (2048, 2048), "output_dim": 2048},
    "train.batch_size": 256, "optim.name": "larc", "optim.trust_coefficient": 0.02, "optim.trust_clip": True,
    "optim.weight_decay": 1e-4, "learning_rate": 0.3,
    "optim.groups": {"vectors": {"weight_decay": 0, "trust_ratio": False, "learning_rate_factor": 1}},
    "optim.start_learning_rate": 3e-5,
    "optim.end_learning_rate": 0, "augment.size": 32, "augment.blur_probability": 0,
    "augment.second": {"blur_probability": 0, "solarise_probability": 0.2},
    "augment.mean": (0.4914, 0.4822, 0.4465), "augment.std": (0.2470, 0.2435, 0.2616),
}  # fmt: skip

RECIPES = {
    "imagenet_r50_1000ep_paper": PAPER,
    "imagenet_r50_300ep_paper": PAPER | {"train.epochs": 300},
    "imagenet_r50_1000ep_code": CODE,
    "cifar10_r18": SOLO,
}
PUBLISHED = {
    "imagenet_r50_1000ep_paper": "73.2", "imagenet_r50_300ep_paper": "71.4", "imagenet_r50_1000ep_code": "73.5",
    "cifar10_r18": "92.1 (online)",
}  # fmt: skip
# torchvision's ResNet-50; nn.Linear(2048, 8192), twice nn.Linear(8192, 8192), all without biases, and two
# BatchNorm1d(8192).
PARAMETERS = {
    "imagenet_r50_1000ep_code": {"encoder": 23_508_032, "projector": 2048 * 8192 + 2 * 8192**2 + 2 * 2 * 8192},
}
