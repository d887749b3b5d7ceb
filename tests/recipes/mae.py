"""MAE: what the paper and the official code say."""

# facebookresearch/mae at efb2a80: PRETRAIN.md (--batch_size 64 on 64 GPUs --norm_pix_loss --mask_ratio 0.75
# --epochs 800 --warmup_epochs 40 --blr 1.5e-4 --weight_decay 0.05), main_pretrain.py (betas 0.9, 0.95; crops of 0.2
# to 1, bicubic), models_mae.py (the decoder, initial values); 1600 epochs in the paper's section 5 and the README.
BASE = {
    "method.name": "mae", "method.mask_ratio": 0.75, "method.normalise": True, "model.name": "vit",
    "model.size": "base", "model.patch_size": 16, "model.positions": "sincos_mae", "model.class_token": True,
    "model.init": "mae", "model.drop_path": 0, "model.decoder": {"width": 512, "depth": 8, "heads": 16},
    "augment.size": 224, "augment.crop_scale": (0.2, 1), "augment.method": "bicubic", "augment.flip_probability": 0.5,
    "augment.jitter_probability": 0, "augment.greyscale_probability": 0, "augment.blur_probability": 0,
    "augment.mean": (0.485, 0.456, 0.406), "augment.std": (0.229, 0.224, 0.225), "train.batch_size": 4096,
    "train.epochs": 1600, "optim.name": "adamw", "optim.b1": 0.9, "optim.b2": 0.95, "optim.weight_decay": 0.05,
    "optim.warmup_epochs": 40, "optim.schedule": "cosine", "learning_rate": 2.4e-3,
    "optim.groups": {"vectors": {"weight_decay": 0.0}},
    # FINETUNE.md, main_finetune.py (minimal rate 1e-6, smoothing 0.1, --global_pool)
    "eval.finetune": {
        "epochs": 100, "batch_size": 1024, "learning_rate": 5e-4, "warmup_epochs": 5, "end_learning_rate": 1e-6,
        "weight_decay": 0.05, "layer_decay": 0.65, "drop_path": 0.1, "label_smoothing": 0.1, "mixup": 0.8, "cutmix": 1,
        "crop_min": 0.08, "flip_probability": 0.5, "pool": "mean",
    },
}  # fmt: skip
LARGE = BASE["eval.finetune"] | {"epochs": 50, "learning_rate": 1e-3, "layer_decay": 0.75, "drop_path": 0.2}
HUGE = {"model.size": "huge", "model.patch_size": 14, "eval.finetune": LARGE | {"drop_path": 0.3}}

RECIPES = {
    "imagenet_vitb": BASE,
    "imagenet_vitl": BASE | {"model.size": "large", "eval.finetune": LARGE},
    "imagenet_vith": BASE | HUGE,
    "imagenet_vitb_800ep": BASE | {"train.epochs": 800},
}
PUBLISHED = {  # README of the code: linear, of the paper; fine-tuned
    "imagenet_vitb": "68.0 / 83.6 (fine-tuned)", "imagenet_vitl": "75.8 / 85.9 (fine-tuned)",
    "imagenet_vith": "76.6 / 86.9 (fine-tuned)",
}  # fmt: skip
# 111,907,840 with the fixed positions, 197 * (768 + 512), which are no parameters here.
PARAMETERS = {"imagenet_vitb": {"encoder": 85_647_360, "decoder": 26_008_320}}
UNCHECKED = ("cifar10_vit_ti",)  # ours: nothing was published
