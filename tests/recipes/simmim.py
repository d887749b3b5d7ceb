"""SimMIM: what the official code says."""

# microsoft/SimMIM at 0e71746: configs/vit_base__800ep/simmim_pretrain__vit_base__img224__800ep.yaml, config.py (betas,
# clipping at 5), main_simmim.py (rates are scaled by batch / 512: 1e-4 and, at first, 5e-7), optimizer.py,
# data/data_simmim.py (crops of 0.67 to 1, torchvision's default bilinear, no jitter); README: 128 images on each of 16
# GPUs, and 83.8 for the fine-tuned ViT-Base.
RECIPES = {
    "imagenet_vitb": {
        "method.name": "simmim", "method.mask_patch_size": 32, "method.mask_ratio": 0.6, "model.name": "vit",
        "model.size": "base", "model.patch_size": 16, "model.class_token": True, "model.drop_path": 0.1,
        "augment.size": 224, "augment.crop_scale": (0.67, 1), "augment.method": "bilinear",
        "augment.flip_probability": 0.5, "augment.jitter_probability": 0, "augment.greyscale_probability": 0,
        "augment.blur_probability": 0, "augment.mean": (0.485, 0.456, 0.406), "augment.std": (0.229, 0.224, 0.225),
        "train.batch_size": 2048, "train.epochs": 800, "optim.name": "adamw", "optim.b1": 0.9, "optim.b2": 0.999,
        "optim.weight_decay": 0.05, "optim.warmup_epochs": 10, "optim.start_learning_rate": 5e-7 * 4,
        "optim.schedule": "step", "optim.boundaries": (700,), "optim.decay_factor": 0.1, "optim.clip_norm": 5.0,
        "learning_rate": 4e-4, "optim.groups": {"vectors": {"weight_decay": 0.0}},
        # simmim_finetune__vit_base__img224__800ep.yaml and config.py; rates of batch 2048: 5e-3, at last 1e-6
        "eval.finetune": {
            "epochs": 100, "batch_size": 2048, "learning_rate": 5e-3 * 256 / 2048, "warmup_epochs": 20,
            "end_learning_rate": 2.5e-7 * 4, "weight_decay": 0.05, "layer_decay": 0.65, "drop_path": 0.1,
            "label_smoothing": 0.1, "mixup": 0.8, "cutmix": 1, "pool": "mean",
            "crop_min": 0.08, "flip_probability": 0.5,
        },
    }
}  # fmt: skip
PUBLISHED = {"imagenet_vitb": "83.8 (fine-tuned)"}
# The plain ViT-B/16 with learned positions (197 x 768), the mask token (768), the linear head 768 -> 16 * 16 * 3.
PARAMETERS = {"imagenet_vitb": {"encoder": 85_798_656 + 768, "head": 768 * 768 + 768}}
