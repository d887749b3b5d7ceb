"""MoCo v3: what the official code says."""

# facebookresearch/moco-v3 at c349e6e: CONFIG.md and the defaults of main_moco.py (--lr 0.6 --wd 1e-6 --epochs 100
# --warmup-epochs 10 -b 4096 --moco-dim 256 --moco-mlp-dim 4096 --moco-m 0.99 --moco-t 1.0 --optimizer lars).
V3 = {
    "model.name": "resnet", "model.depth": 50, "model.width": 1, "model.stem": "imagenet", "augment.size": 224,
    "method.name": "moco_v3", "method.temperature": 1.0, "method.momentum": 0.99, "method.momentum_schedule": "cosine",
    "model.norm_groups": 1, "model.zero_init_residual": True, "model.init": "torch",
    "model.projector.hidden_dims": (4096,), "model.projector.output_dim": 256, "model.projector.norm": "all_unscaled",
    "model.projector.bias": False, "model.predictor.hidden_dims": (4096,), "model.predictor.output_dim": 256,
    "model.predictor.norm": "hidden", "model.predictor.bias": False, "train.batch_size": 4096, "train.epochs": 100,
    "optim.name": "lars", "optim.momentum": 0.9, "optim.momentum_form": "lr_outside", "optim.trust_coefficient": 1e-3,
    "optim.weight_decay": 1e-6, "optim.schedule": "cosine", "optim.warmup_epochs": 10, "learning_rate": 9.6,
    "optim.groups": {"vectors": {"weight_decay": 0.0, "trust_ratio": False}},
}  # fmt: skip
# -a vit_small --optimizer=adamw --lr=1.5e-4 --weight-decay=.1 --epochs=300 --warmup-epochs=40 --stop-grad-conv1
# --moco-m-cos --moco-t=.2; vits.py: 12 heads in both sizes.
V3_VIT = {name: value for name, value in V3.items() if name.split(".")[0] in ("method", "augment", "train")} | {
    "method.temperature": 0.2, "model.name": "vit", "model.size": "small", "model.patch_size": 16, "model.heads": 12,
    "model.positions": "sincos_moco_v3", "model.class_token": True, "model.pool": "class", "model.init": "moco_v3",
    "model.drop_path": 0, "model.projector.hidden_dims": (4096, 4096), "model.projector.norm": "all_unscaled",
    "model.projector.bias": False, "model.predictor.hidden_dims": (4096,), "model.predictor.norm": "all_unscaled",
    "model.predictor.bias": False, "train.epochs": 300, "optim.name": "adamw", "optim.weight_decay": 0.1,
    "optim.warmup_epochs": 40, "optim.schedule": "cosine", "learning_rate": 2.4e-3,
    "optim.groups": {"vectors": {}, "patch_projection": {"frozen_steps": -1}},
}  # fmt: skip

RECIPES = {
    "imagenet_r50_100ep": V3,
    "imagenet_r50_300ep": V3 | {"train.epochs": 300, "learning_rate": 4.8},
    "imagenet_r50_1000ep": V3 | {
        "train.epochs": 1000, "learning_rate": 4.8, "optim.weight_decay": 1.5e-6, "method.momentum": 0.996,
    },
    "imagenet_vits": V3_VIT,
    "imagenet_vitb": V3_VIT | {"model.size": "base"},
}  # fmt: skip
UNCHECKED = ("cifar10_vit_ti",)  # our own: nothing is published for CIFAR-10
PUBLISHED = {
    "imagenet_r50_100ep": "68.9", "imagenet_r50_300ep": "72.8", "imagenet_r50_1000ep": "74.6", "imagenet_vits": "73.2",
    "imagenet_vitb": "76.7",
}  # fmt: skip
# ViT-B/16 without head and class positions: 85,798,656 - 197 x 768 that are fixed here. moco/builder.py, _build_mlp:
# dense layers without biases, a norm behind each, the last one without scale and offset.
PARAMETERS = {
    "imagenet_vitb": {
        "encoder": 85_798_656 - 197 * 768,
        "projector": 768 * 4096 + 4096**2 + 4096 * 256 + 2 * 2 * 4096,
        "predictor": 256 * 4096 + 4096 * 256 + 2 * 4096,
    },
}
