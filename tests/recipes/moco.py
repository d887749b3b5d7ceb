"""MoCo v1 and v2: what the papers and the official code say."""

# facebookresearch/moco at 132aea9: defaults of main_moco.py (--lr 0.03 --batch-size 256 --wd 1e-4 --epochs 200
# --schedule 120 160 --moco-dim 128 --moco-k 65536 --moco-m 0.999 --moco-t 0.07) and the README's commands for 8 GPUs;
# v2: --mlp --moco-t 0.2 --aug-plus --cos.
V1 = {
    "model.name": "resnet", "model.depth": 50, "model.width": 1, "model.stem": "imagenet", "augment.size": 224,
    "method.name": "moco", "method.temperature": 0.07, "method.momentum": 0.999, "method.momentum_schedule": "constant",
    "method.queue_size": 65536, "method.symmetric": False, "method.shuffle_norm": True, "model.norm_groups": 8,
    "model.zero_init_residual": False, "model.init": "torch", "model.projector.hidden_dims": (),
    "model.projector.output_dim": 128, "model.projector.norm": "none", "model.projector.bias": True,
    "model.projector.init": "torch", "train.batch_size": 256, "train.epochs": 200, "optim.name": "sgd",
    "optim.momentum": 0.9, "optim.weight_decay": 1e-4, "optim.schedule": "step", "optim.boundaries": (120, 160),
    "optim.decay_factor": 0.1, "optim.warmup_epochs": 0, "optim.groups": {"vectors": {}}, "learning_rate": 0.03,
}  # fmt: skip
V2 = V1 | {
    "method.temperature": 0.2, "model.projector.hidden_dims": (2048,), "optim.schedule": "cosine_epoch",
}  # fmt: skip
# colab/moco_cifar10_demo.ipynb: --lr 0.06 --batch-size 512 --wd 5e-4 --cos --moco-k 4096 --moco-m 0.99 --moco-t 0.1
# --bn-splits 8 --symmetric; the fc layer is 512-128.
DEMO = V1 | {
    "method.temperature": 0.1, "method.momentum": 0.99, "method.queue_size": 4096, "method.symmetric": True,
    "model.depth": 18, "model.stem": "cifar", "augment.size": 32, "train.batch_size": 512, "optim.weight_decay": 5e-4,
    "optim.schedule": "cosine_epoch", "learning_rate": 0.06, "augment.crop_scale": (0.08, 1),
    "augment.flip_probability": 0.5, "augment.jitter": (0.4, 0.4, 0.4, 0.1), "augment.jitter_probability": 0.8,
    "augment.greyscale_probability": 0.2, "augment.blur_probability": 0, "augment.solarise_probability": 0,
    "augment.mean": (0.4914, 0.4822, 0.4465), "augment.std": (0.2023, 0.1994, 0.2010),
}  # fmt: skip

RECIPES = {
    "v1_imagenet_r50": V1,
    "v2_imagenet_r50_200ep": V2,
    "v2_imagenet_r50_800ep": V2 | {"train.epochs": 800},
    "cifar10_r18": DEMO,
}
PUBLISHED = {
    "v1_imagenet_r50": "60.6", "v2_imagenet_r50_200ep": "67.7", "v2_imagenet_r50_800ep": "71.1",
    "cifar10_r18": "85.3 (kNN)",
}  # fmt: skip
