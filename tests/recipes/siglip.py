"""SigLIP: what the paper and the official code say."""

# google-research/big_vision: models/vit.py (pool "map", no class token), models/proj/image_text/text_transformer.py
# (not causal, feature of the last place), trainers/proj/image_text/siglip.py (loss), SigLIP_demo.ipynb (first scale 10,
# bias -10, vocabulary of 32,000, 64 tokens); configs/proj/image_text/siglip_lit_coco.py for `lit_coco_code`: batch 512,
# 5,000 steps, rate 1e-3, decay 0.01, warm-up of 3 %, norm of gradients 1, first bias -2.71. Paper, section 4: batch
# 32,768. big_vision/optax.py, `wd_mults`: kernels alone have weight decay (which these are: tests/methods), and it is
# added behind the scaling by the rate, so that AdamW needs it divided by that.
TEXT = {
    "vocabulary": 32_000, "length": 64, "width": 768, "depth": 12, "heads": 12, "causal": False, "pool": "last",
    "activation": "gelu_tanh", "epsilon": 1e-6, "init": "siglip",
}  # fmt: skip
BASE = {
    "method.name": "siglip", "method.dimension": 768, "method.image_projection": False, "method.scale": 10,
    "method.bias": -10, "method.locked": False, "model.name": "vit", "model.size": "base", "model.patch_size": 16,
    "model.pool": "map", "model.class_token": False, "model.activation": "gelu_tanh", "model.init": "siglip",
    "model.text": TEXT, "augment.size": 224, "augment.crop": False, "augment.mean": (0.5, 0.5, 0.5),
    "augment.std": (0.5, 0.5, 0.5), "augment.jitter_probability": 0, "augment.flip_probability": 0,
    "train.batch_size": 32_768, "optim.name": "adamw", "optim.b2": 0.95, "optim.weight_decay": 1e-4 / 1e-3,
    "learning_rate": 1e-3, "optim.warmup_steps": 20_000, "optim.groups.vectors": {"weight_decay": 0.0},
}  # fmt: skip

RECIPES = {
    "webli_vitb16": BASE,
    "lit_coco_code": BASE
    | {"method.bias": -2.71, "method.locked": True, "train.batch_size": 512, "train.steps": 5_000}
    | {"optim.weight_decay": 0.01 / 1e-3, "optim.warmup_steps": 150, "optim.clip_norm": 1, "optim.b2": 0.999}
    | {"model.class_token": True, "model.pool": "class", "model.text": TEXT | {"length": 16}}
    | {"augment.flip_probability": 0.5, "optim.groups.locked": {"frozen_steps": -1}},
}
PUBLISHED = {"webli_vitb16": "76.0"}
# In all 203,155,970, the number of the published ViT-B/16 with its scale and bias.
PARAMETERS = {
    "webli_vitb16": {
        "encoder": 92_884_224, "text": 109_681_152, "text_projection": 590_592, "logit_scale": 1, "logit_bias": 1,
    },
}  # fmt: skip
