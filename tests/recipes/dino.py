"""DINO: what the official code and solo-learn say."""

# facebookresearch/dino at 7c446df: defaults of main_dino.py (--out_dim 65536 --norm_last_layer true --momentum_teacher
# 0.996 --warmup_teacher_temp 0.04 --teacher_temp 0.04 --warmup_teacher_temp_epochs 0 --weight_decay 0.04
# --weight_decay_end 0.4 --clip_grad 3.0 --batch_size_per_gpu 64 --epochs 100 --freeze_last_layer 1 --lr 0.0005
# --warmup_epochs 10 --min_lr 1e-6 --optimizer adamw --drop_path_rate 0.1 --global_crops_scale 0.4 1
# --local_crops_number 8 --local_crops_scale 0.05 0.4), DINOHead and DataAugmentationDINO; README for the commands. An
# epoch of 1,281,167 images has 2,502 whole batches of 512.
HEAD = {
    "model.projector.hidden_dims": (2048, 2048), "model.projector.output_dim": 256, "model.projector.norm": "none",
    "model.projector.activation": "gelu", "model.projector.init": "dino", "model.last_layer.output_dim": 65536,
    "model.last_layer.learn_gain": False,
}  # fmt: skip
VIEW = {
    "flip_probability": 0.5, "jitter": (0.4, 0.4, 0.2, 0.1), "jitter_strength": 1.0, "jitter_probability": 0.8,
    "greyscale_probability": 0.2, "greyscale_first": False, "blur_sigma": (0.1, 2.0), "method": "bicubic",
    "semantics": "torchvision", "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225),
}  # fmt: skip
VANILLA = HEAD | {
    "method.name": "dino", "method.student_temperature": 0.1, "method.teacher_temperature": 0.04,
    "method.warmup_teacher_temperature": 0.04, "method.warmup_teacher_temperature_epochs": 0, "method.centre": True,
    "method.centre_momentum": 0.9, "method.momentum": 0.996, "method.momentum_schedule": "cosine",
    "model.name": "vit", "model.size": "small", "model.patch_size": 16, "model.heads": 0, "model.positions": "learned",
    "model.class_token": True, "model.pool": "class", "model.init": "dino", "model.drop_path": 0.1,
    "train.batch_size": 512, "train.epochs": 100, "optim.name": "adamw", "optim.weight_decay": 0.04,
    "optim.weight_decay_end": 0.4, "optim.warmup_epochs": 10, "optim.schedule": "cosine",
    "optim.end_learning_rate": 1e-6, "optim.clip_norm": 3.0, "optim.clip_per_parameter": True, "learning_rate": 1e-3,
    "optim.groups": {"vectors": {"weight_decay": 0.0}, "last_layer": {"frozen_steps": 2502}},
}  # fmt: skip
CROPS = [
    VIEW | {"size": 224, "crop_scale": (0.4, 1.0), "blur_probability": 1.0, "solarise_probability": 0.0},
    VIEW | {"size": 224, "crop_scale": (0.4, 1.0), "blur_probability": 0.1, "solarise_probability": 0.2},
    *8 * [VIEW | {"size": 96, "crop_scale": (0.05, 0.4), "blur_probability": 0.5, "solarise_probability": 0.0}],
]
# --epochs 300 --teacher_temp 0.07 --warmup_teacher_temp_epochs 30 --norm_last_layer false, on 16 GPUs of 64 images.
BOOSTED = VANILLA | {
    "method.teacher_temperature": 0.07, "method.warmup_teacher_temperature_epochs": 30, "train.batch_size": 1024,
    "train.epochs": 300, "model.last_layer.learn_gain": True, "learning_rate": 2e-3,
    "optim.groups": {"vectors": {"weight_decay": 0.0}, "last_layer": {"frozen_steps": 1251}},
}  # fmt: skip
# --arch resnet50 --optimizer sgd --lr 0.03 --weight_decay 1e-4 --weight_decay_end 1e-4 --global_crops_scale 0.14 1
# --local_crops_scale 0.05 0.14.
RESNET = {name: value for name, value in VANILLA.items() if not name.startswith("model.")} | HEAD | {
    "model.name": "resnet", "model.depth": 50, "model.width": 1, "model.stem": "imagenet", "model.init": "torch",
    "model.zero_init_residual": False, "model.norm_groups": 1, "optim.name": "sgd", "optim.momentum": 0.9,
    "optim.weight_decay": 1e-4, "optim.weight_decay_end": 1e-4, "learning_rate": 0.06,
}  # fmt: skip
TIGHT = [view | {"crop_scale": (0.14, 1.0) if view["size"] == 224 else (0.05, 0.14)} for view in CROPS]
# vturrisi/solo-learn at 9187ea3: scripts/pretrain/cifar/dino.yaml (proj_hidden_dim 2048, proj_output_dim 256,
# num_prototypes 4096, base_tau 0.9995, lars 0.3 with clip_lr and eta 0.02, weight decay 1e-6, exclude_bias_n_norm, 1000
# epochs of batch 256), augmentations/asymmetric.yaml, and the defaults of solo/methods/dino.py (clip_grad 0,
# freeze_last_layer 1, norm_last_layer, no norm in the head, temperatures 0.1 and 0.07 without warm-up) and base.py.
SOLO_LEARN = HEAD | {
    "method.student_temperature": 0.1, "method.teacher_temperature": 0.07, "method.centre_momentum": 0.9,
    "method.warmup_teacher_temperature_epochs": 0, "method.momentum": 0.9995, "method.momentum_schedule": "cosine",
    "model.name": "resnet", "model.depth": 18, "model.width": 1, "model.stem": "cifar",
    "model.last_layer.output_dim": 4096, "train.batch_size": 256, "train.epochs": 1000, "optim.name": "larc",
    "optim.momentum": 0.9, "optim.trust_coefficient": 0.02, "optim.trust_clip": True, "optim.weight_decay": 1e-6,
    "optim.warmup_epochs": 10, "optim.start_learning_rate": 3e-5, "optim.schedule": "cosine", "optim.clip_norm": 0,
    "learning_rate": 0.3,
    "optim.groups": {"vectors": {"weight_decay": 0.0, "trust_ratio": False}, "last_layer": {"frozen_steps": 195}},
}  # fmt: skip
CIFAR = VIEW | {
    "size": 32, "crop_scale": (0.08, 1.0), "blur_probability": 0.0, "mean": (0.4914, 0.4822, 0.4465),
    "std": (0.2470, 0.2435, 0.2616),
}  # fmt: skip

RECIPES = {
    "imagenet_vits16_100ep_code": VANILLA,
    "imagenet_vits16_300ep": BOOSTED,
    "imagenet_r50_100ep_code": RESNET,
    "cifar10_r18": SOLO_LEARN,
}
PUBLISHED = {
    "imagenet_vits16_100ep_code": "74.0", "imagenet_vits16_300ep": "76.0", "cifar10_r18": "89.5 (online)",
}  # fmt: skip
VIEWS = {
    "imagenet_vits16_100ep_code": CROPS,
    "imagenet_vits16_300ep": CROPS,
    "imagenet_r50_100ep_code": TIGHT,
    "cifar10_r18": [CIFAR | {"solarise_probability": 0.0}, CIFAR | {"solarise_probability": 0.2}],
}
# 21 and 23 million in the README; the head is 384 (2048)-2048-2048-256 with biases, then 256 x 65,536.
PARAMETERS = {
    "imagenet_vits16_100ep_code": {
        "encoder": 21_665_664, "projector": 385 * 2048 + 2049 * 2048 + 2049 * 256, "last_layer": 256 * 65536,
    },
    "imagenet_r50_100ep_code": {
        "encoder": 23_508_032, "projector": 2049 * 2048 + 2049 * 2048 + 2049 * 256, "last_layer": 256 * 65536,
    },
}  # fmt: skip
