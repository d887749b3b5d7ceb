"""SimSiam: what the paper and the official code say."""

# facebookresearch/simsiam at a7bc177: defaults of main_simsiam.py (--lr 0.05 --batch-size 512 --wd 1e-4 --epochs 100
# --dim 2048 --pred-dim 512) and the README's --fix-pred-lr; simsiam/builder.py.
CODE = {
    "method.name": "simsiam", "method.stop_gradient": True, "model.name": "resnet", "model.depth": 50, "model.width": 1,
    "model.stem": "imagenet", "model.zero_init_residual": True, "model.init": "torch", "model.norm_momentum": 0.9,
    "model.norm_groups": 1,
    "model.projector": {
        "hidden_dims": (2048, 2048), "output_dim": 2048, "norm": "all_unscaled", "bias": False, "init": "torch",
    },
    "model.predictor": {
        "hidden_dims": (512,), "output_dim": 2048, "norm": "hidden", "bias": True, "init": "torch",
    },
    "augment.size": 224, "train.batch_size": 512, "train.epochs": 100, "optim.name": "sgd", "optim.momentum": 0.9,
    "optim.weight_decay": 1e-4, "optim.warmup_epochs": 0, "optim.schedule": "cosine_epoch", "learning_rate": 0.1,
    "optim.groups": {"vectors": {}, "predictor": {"constant_learning_rate": True}},
}  # fmt: skip
# arXiv 2011.10566, appendix D.
CIFAR = CODE | {
    "model.depth": 18, "model.stem": "cifar", "augment.size": 32, "augment.blur_probability": 0,
    "augment.crop_scale": (0.2, 1), "train.epochs": 800, "optim.weight_decay": 5e-4, "learning_rate": 0.06,
    "model.projector": CODE["model.projector"] | {"hidden_dims": (2048,)}, "eval.crop": 0,
}  # fmt: skip

RECIPES = {
    "imagenet_r50": CODE,
    "imagenet_r50_bs256": CODE | {"train.batch_size": 256, "learning_rate": 0.05},
    "cifar10_r18": CIFAR,
}
PUBLISHED = {"imagenet_r50": "68.1", "imagenet_r50_bs256": "68.3", "cifar10_r18": "91.8 (unverified)"}
