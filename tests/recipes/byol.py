"""BYOL: what the paper, the official code, solo-learn and lightly say."""

# google-deepmind/deepmind-research at f5de0ed, byol: configs/byol.py, README.md (batch 4096), utils/networks.py (MLP),
# utils/optimizers.py (exclude_bias_and_norm), utils/schedules.py, utils/augmentations.py, utils/dataset.py.
HEAD = {
    "hidden_dims": (4096,), "output_dim": 256, "norm": "hidden", "hidden_bias": True, "bias": False, "init": "haiku",
}  # fmt: skip
CODE = {
    "method.name": "byol", "method.momentum": 0.996, "method.momentum_schedule": "cosine", "method.target_init": "own",
    "method.loss_scale": 1, "method.predictor": True, "model.name": "resnet", "model.depth": 50, "model.width": 1,
    "model.stem": "imagenet", "model.zero_init_residual": True, "model.init": "haiku", "model.norm_momentum": 0.9,
    "model.norm_groups": 1, "model.projector": HEAD, "model.predictor": HEAD, "train.batch_size": 4096,
    "train.epochs": 1000, "optim.name": "lars", "optim.momentum": 0.9, "optim.momentum_form": "lr_outside",
    "optim.trust_coefficient": 1e-3, "optim.weight_decay": 1.5e-6, "optim.warmup_epochs": 10,
    "optim.schedule": "cosine", "learning_rate": 3.2,
    "optim.groups": {"vectors": {"weight_decay": 0, "trust_ratio": False}},
    "augment.size": 224, "augment.crop": True, "augment.crop_scale": (0.08, 1), "augment.crop_ratio": (3 / 4, 4 / 3),
    "augment.crop_distribution": "clamped", "augment.method": "bicubic", "augment.flip_probability": 0.5,
    "augment.jitter": (0.4, 0.4, 0.2, 0.1), "augment.jitter_strength": 1, "augment.jitter_probability": 0.8,
    "augment.brightness_mode": "additive", "augment.greyscale_probability": 0.2, "augment.greyscale_first": False,
    "augment.blur_probability": 1, "augment.blur_sigma": (0.1, 2), "augment.blur_kernel": None,
    "augment.solarise_probability": 0, "augment.second": {"blur_probability": 0.1, "solarise_probability": 0.2},
    "augment.semantics": "tensorflow", "augment.mean": (0.485, 0.456, 0.406), "augment.std": (0.229, 0.224, 0.225),
    "eval.crop": 224 / 256,
}  # fmt: skip
# README, "Note on batch normalization": the paper's results were obtained with a last scale of 1.
PAPER = CODE | {"model.zero_init_residual": False, "method.target_init": "copy"}
# _LR_PRESETS, _WD_PRESETS, _EMA_PRESETS; the rates times 4096 / 256.
EPOCHS_300 = {"train.epochs": 300, "learning_rate": 4.8, "optim.weight_decay": 1e-6, "method.momentum": 0.99}
EPOCHS_100 = {"train.epochs": 100, "learning_rate": 7.2, "optim.weight_decay": 1e-6, "method.momentum": 0.99}
EPOCHS_40 = {"train.epochs": 40, "learning_rate": 7.2, "optim.weight_decay": 1e-6, "method.momentum": 0.97}
# README, "Setup for fast iteration": ResNet18, images of 128, base rate 2.0, decay 1e-6, --batch_size=256, 1000 epochs.
IMAGENETTE = CODE | {
    "data.source": "tfds:imagenette/160px-v2", "model.depth": 18, "augment.size": 128, "train.batch_size": 256,
    "learning_rate": 2.0, "optim.weight_decay": 1e-6,
}  # fmt: skip
# vturrisi/solo-learn at 9187ea3, scripts/pretrain/cifar/byol.yaml, augmentations/asymmetric.yaml, solo/methods/byol.py
# and the defaults of solo/methods/base.py: warm-up of 10 epochs from 3e-5, cosine to 0.
BIASED = HEAD | {"bias": True, "init": "torch"}
SOLO_LEARN = PAPER | {
    "method.momentum": 0.99, "model.depth": 18, "model.stem": "cifar", "model.init": "torch", "model.projector": BIASED,
    "model.predictor": BIASED, "train.batch_size": 256, "optim.name": "larc", "optim.trust_coefficient": 0.02,
    "optim.trust_clip": True, "optim.weight_decay": 1e-5, "learning_rate": 1.0, "optim.start_learning_rate": 3e-5,
    "augment.size": 32, "augment.crop_distribution": "torchvision", "augment.brightness_mode": "multiplicative",
    "augment.blur_probability": 0, "augment.second": {"blur_probability": 0, "solarise_probability": 0.2},
    "augment.semantics": "torchvision", "augment.mean": (0.4914, 0.4822, 0.4465),
    "augment.std": (0.2470, 0.2435, 0.2616), "eval.crop": 0,
}  # fmt: skip
# lightly-ai/lightly at e8d317f, docs/source/getting_started/benchmarks/cifar10_benchmark.py, lightly/models/modules/
# heads.py and lightly/transforms/byol_transform.py: half the sum of negative cosines is a quarter of BYOL's loss.
LIGHT_HEAD = BIASED | {"hidden_dims": (1024,), "hidden_bias": False}
LIGHTLY = {
    name: value for name, value in SOLO_LEARN.items() if name.split(".")[0] not in ("optim", "learning_rate")
} | {
    "method.momentum_schedule": "constant", "method.loss_scale": 1 / 4, "model.projector": LIGHT_HEAD,
    "model.predictor": LIGHT_HEAD, "train.batch_size": 512, "train.epochs": 200, "optim.name": "sgd",
    "optim.momentum": 0.9, "optim.weight_decay": 5e-4, "optim.warmup_epochs": 0, "optim.schedule": "cosine_epoch",
    "optim.groups": {"vectors": {}}, "learning_rate": 0.06 * 512 / 128, "augment.method": "bilinear",
    "augment.mean": (0.485, 0.456, 0.406), "augment.std": (0.229, 0.224, 0.225),
    "model.init": "torch_default",  # lightly/models/resnet.py initialises nothing
}  # fmt: skip

RECIPES = {
    "imagenet_r50_1000ep_paper": PAPER,
    "imagenet_r50_300ep_paper": PAPER | EPOCHS_300,
    "imagenet_r50_1000ep_code": CODE,
    "imagenet_r50_300ep_code": CODE | EPOCHS_300,
    "imagenet_r50_100ep_code": CODE | EPOCHS_100,
    "imagenet_r50_40ep_code": CODE | EPOCHS_40,
    "imagenette_r18_code": IMAGENETTE,
    "cifar10_r18": SOLO_LEARN,
    "cifar10_r18_200ep": LIGHTLY,
}
PUBLISHED = {
    "imagenet_r50_1000ep_paper": "74.3", "imagenet_r50_300ep_paper": "72.5 (unverified)",
    "imagenet_r50_1000ep_code": "74.4", "imagenette_r18_code": "92.3 (online)", "cifar10_r18": "92.6 (online)",
    "cifar10_r18_200ep": "86.8 (kNN)",
}  # fmt: skip
