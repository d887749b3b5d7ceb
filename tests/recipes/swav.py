"""SwAV: what the official scripts and lightly say."""

# facebookresearch/swav at 06b1b7c, scripts/swav_400ep_pretrain.sh: --nmb_crops 2 6 --size_crops 224 96
# --min_scale_crops 0.14 0.05 --max_scale_crops 1. 0.14 --crops_for_assign 0 1 --temperature 0.1 --epsilon 0.05
# --sinkhorn_iterations 3 --feat_dim 128 --nmb_prototypes 3000 --queue_length 0 --epochs 400 --batch_size 64 (x 64 GPUs)
# --base_lr 4.8 --final_lr 0.0048 --freeze_prototypes_niters 313 --wd 0.000001 --warmup_epochs 10 --start_warmup 0.3
# --arch resnet50 --sync_bn apex. Defaults of main_swav.py: --hidden_mlp 2048 --syncbn_process_group_size 8; SGD with
# momentum 0.9 in LARC(trust_coefficient=0.001, clip=False), every parameter alike. src/resnet50.py: no zero-init of
# residuals, biases of PyTorch's dense layers. src/multicropdataset.py: views, mean and standard deviation.
BIG = {
    "method.name": "swav", "method.temperature": 0.1, "method.epsilon": 0.05, "method.iterations": 3,
    "method.prototypes": 3000, "method.queue_size": 0, "model.name": "resnet", "model.depth": 50, "model.width": 1,
    "model.stem": "imagenet", "model.zero_init_residual": False, "model.init": "torch", "model.norm_groups": 64 // 8,
    "model.norm_momentum": 0.9, "model.projector.hidden_dims": (2048,), "model.projector.output_dim": 128,
    "model.projector.norm": "hidden", "model.projector.bias": True, "model.projector.hidden_bias": True,
    "model.projector.init": "torch", "augment.size": 224, "augment.crop": True, "augment.crop_scale": (0.14, 1),
    "augment.crop_ratio": (3 / 4, 4 / 3), "augment.method": "bilinear", "augment.semantics": "torchvision",
    "augment.flip_probability": 0.5, "augment.jitter": (0.8, 0.8, 0.8, 0.2), "augment.jitter_strength": 1,
    "augment.jitter_probability": 0.8, "augment.brightness_mode": "multiplicative", "augment.greyscale_first": False,
    "augment.greyscale_probability": 0.2, "augment.blur_probability": 0.5, "augment.blur_sigma": (0.1, 2),
    "augment.solarise_probability": 0, "augment.mean": (0.485, 0.456, 0.406), "augment.std": (0.228, 0.224, 0.225),
    "augment.local.count": 6, "augment.local.size": 96, "augment.local.crop_scale": (0.05, 0.14),
    "train.batch_size": 64 * 64, "train.epochs": 400, "optim.name": "larc", "optim.trust_coefficient": 1e-3,
    "optim.momentum": 0.9, "optim.weight_decay": 1e-6, "optim.schedule": "cosine", "optim.warmup_epochs": 10,
    "optim.start_learning_rate": 0.3, "optim.end_learning_rate": 0.0048, "optim.clip_norm": 0,
    "optim.groups": {"vectors": {}, "prototypes": {"frozen_steps": 313}}, "learning_rate": 4.8,
}  # fmt: skip
# scripts/swav_400ep_bs256_pretrain.sh: --queue_length 3840 --epoch_queue_starts 15 --batch_size 64 (x 4 GPUs)
# --base_lr 0.6 --final_lr 0.0006 --freeze_prototypes_niters 5005 --warmup_epochs 0 --sync_bn pytorch.
SMALL = BIG | {
    "method.queue_size": 3840, "method.queue_start_epoch": 15, "model.norm_groups": 1, "train.batch_size": 64 * 4,
    "optim.warmup_epochs": 0, "optim.start_learning_rate": 0, "optim.end_learning_rate": 0.0006, "learning_rate": 0.6,
    "optim.groups": {"vectors": {}, "prototypes": {"frozen_steps": 5005}},
}  # fmt: skip
# scripts/swav_RN50w2_400ep_pretrain.sh: --nmb_crops 2 4 --batch_size 32 (x 128 GPUs) --hidden_mlp 8192; w4: also
# --min_scale_crops 0.08 0.08 --queue_length 2560 --epoch_queue_starts 0 --batch_size 40 (x 64 GPUs).
WIDE = BIG | {
    "model.width": 2, "model.projector.hidden_dims": (8192,), "augment.local.count": 4, "model.norm_groups": 128 // 8,
}  # fmt: skip
WIDEST = WIDE | {
    "model.width": 4, "model.norm_groups": 64 // 8, "augment.crop_scale": (0.08, 1),
    "augment.local.crop_scale": (0.08, 0.14), "method.queue_size": 2560, "method.queue_start_epoch": 0,
    "train.batch_size": 40 * 64,
}  # fmt: skip
# lightly-ai/lightly at e8d317f, cifar10_benchmark.py: SwaVProjectionHead(512, 512, 128), SwaVPrototypes(128, 512),
# SwaVLoss() (temperature 0.1, epsilon 0.05, 3 iterations), SwaVTransform(crop_sizes=[32], crop_counts=[2],
# crop_min_scales=[0.14], cj_strength=0.5, gaussian_blur=0), Adam(lr=1e-3 * 512 / 128, weight_decay=1e-6), cosine
# stepped per epoch.
LIGHTLY = {
    "method.temperature": 0.1, "method.epsilon": 0.05, "method.iterations": 3, "method.prototypes": 512,
    "method.queue_size": 0, "model.depth": 18, "model.width": 1, "model.stem": "cifar", "model.norm_groups": 1,
    "model.projector.hidden_dims": (512,), "model.projector.output_dim": 128, "model.projector.norm": "hidden",
    "model.projector.hidden_bias": False, "augment.size": 32, "augment.crop_scale": (0.14, 1),
    "augment.jitter": (0.8, 0.8, 0.8, 0.2), "augment.jitter_strength": 0.5, "augment.jitter_probability": 0.8,
    "augment.greyscale_probability": 0.2, "augment.blur_probability": 0, "augment.local.count": 0,
    "model.init": "torch_default",  # models/resnet.py initialises nothing
    "augment.mean": (0.485, 0.456, 0.406), "augment.std": (0.229, 0.224, 0.225), "train.batch_size": 512,
    "train.epochs": 200, "optim.name": "adam", "optim.weight_decay": 1e-6, "optim.schedule": "cosine_epoch",
    "optim.warmup_epochs": 0, "optim.groups": {"vectors": {}, "prototypes": {"frozen_steps": 0}},
    "learning_rate": 4e-3,
}  # fmt: skip

RECIPES = {
    "imagenet_r50_100ep": BIG | {"train.epochs": 100},
    "imagenet_r50_200ep": BIG | {"train.epochs": 200},
    "imagenet_r50_400ep": BIG,
    "imagenet_r50_800ep": BIG | {"train.epochs": 800},
    # --min_scale_crops 0.08
    "imagenet_r50_2x224_400ep": BIG | {"augment.local.count": 0, "augment.crop_scale": (0.08, 1)},
    "imagenet_r50_bs256_200ep": SMALL | {"train.epochs": 200},
    "imagenet_r50_bs256_400ep": SMALL,
    "imagenet_r50_2x": WIDE,
    "imagenet_r50_4x": WIDEST,
    "cifar10_r18": LIGHTLY,
}
PUBLISHED = {  # the tables of models in the README
    "imagenet_r50_100ep": "72.1", "imagenet_r50_200ep": "73.9", "imagenet_r50_400ep": "74.6",
    "imagenet_r50_800ep": "75.3", "imagenet_r50_2x224_400ep": "70.1", "imagenet_r50_bs256_200ep": "72.7",
    "imagenet_r50_bs256_400ep": "74.3", "imagenet_r50_2x": "77.3", "imagenet_r50_4x": "77.9",
    "cifar10_r18": "84.2 (kNN)",
}  # fmt: skip
# torchvision's ResNet-50 and the head of src/resnet50.py: 2048-2048-128 with biases, a norm, 3,000 prototypes.
PARAMETERS = {
    "imagenet_r50_400ep": {
        "encoder": 23_508_032, "projector": 2049 * 2048 + 2 * 2048 + 2049 * 128, "prototypes": 3000 * 128,
    },
}  # fmt: skip
