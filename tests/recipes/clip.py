"""CLIP: what the paper and the official code say."""

# Tables 18 to 20: batch 32,768, 32 epochs, weight decay 0.2, warm-up of 2,000 steps, temperature kept at 100 at most;
# Adam's b2 0.98 and epsilon 1e-6 for vision transformers; rates and widths by model. openai/CLIP at d05afc4,
# clip/model.py: the towers, log(1 / 0.07); clip/clip.py: mean and deviation, 77 tokens; 49,408 of them in the
# vocabulary. The crop of 0.9 and more without a flip: mlfoundations/open_clip at 89fb801, transform.py.
TEXT = {
    "vocabulary": 49408, "length": 77, "width": 512, "depth": 12, "heads": 8, "causal": True, "pool": "end",
    "activation": "quick_gelu", "epsilon": 1e-5, "init": "clip",
}  # fmt: skip
BASE = {
    "method.name": "clip", "method.dimension": 512, "method.temperature": 0.07, "method.max_scale": 100,
    "method.locked": False, "model.name": "vit", "model.size": "base", "model.patch_size": 32, "model.pool": "class",
    "model.class_token": True, "model.positions": "learned", "model.pre_norm": True, "model.patch_bias": False,
    "model.activation": "quick_gelu", "model.epsilon": 1e-5, "model.text": TEXT, "augment.size": 224,
    "augment.crop_scale": (0.9, 1), "augment.method": "bicubic", "augment.flip_probability": 0,
    "augment.jitter_probability": 0, "augment.greyscale_probability": 0, "augment.blur_probability": 0,
    "augment.mean": (0.48145466, 0.4578275, 0.40821073), "augment.std": (0.26862954, 0.26130258, 0.27577711),
    "train.batch_size": 32768, "train.epochs": 32, "optim.name": "adamw", "optim.b1": 0.9, "optim.b2": 0.98,
    "optim.eps": 1e-6, "optim.weight_decay": 0.2, "optim.warmup_steps": 2000, "optim.schedule": "cosine",
    "learning_rate": 5e-4, "optim.groups.vectors": {"weight_decay": 0.0},
}  # fmt: skip

# Of the ResNets, table 19: blocks and widths; Adam's b2 0.999 and epsilon 1e-8; the pooling ends in the joint space.
_VIT = ("model.size", "model.patch_size", "model.pool", "model.class_token", "model.positions", "model.pre_norm",
        "model.patch_bias", "model.activation", "model.epsilon")  # fmt: skip
RN50 = {name: value for name, value in BASE.items() if name not in _VIT} | {
    "method.dimension": 1024, "method.image_projection": False, "model.name": "clip_resnet",
    "model.blocks": (3, 4, 6, 3), "model.width": 1, "model.output_dim": 1024, "optim.b2": 0.999, "optim.eps": 1e-8,
}  # fmt: skip


def of_rn50(blocks, dimension, channels, text_width, size, rate):
    """What a larger ResNet has otherwise."""
    return RN50 | {
        "model.blocks": blocks, "method.dimension": dimension, "model.output_dim": dimension,
        "model.width": channels / 64, "model.text": TEXT | {"width": text_width, "heads": text_width // 64},
        "augment.size": size, "learning_rate": rate,
    }  # fmt: skip


RECIPES = {
    "wit_rn50": RN50,
    "wit_rn101": of_rn50((3, 4, 23, 3), 512, 64, 512, 224, 5e-4),
    "wit_rn50x4": of_rn50((4, 6, 10, 6), 640, 80, 640, 288, 5e-4),
    "wit_rn50x16": of_rn50((6, 8, 18, 8), 768, 96, 768, 384, 4e-4),
    "wit_rn50x64": of_rn50((3, 15, 36, 10), 1024, 128, 1024, 448, 3.6e-4),
    "wit_vitb32": BASE,
    "wit_vitb16": BASE | {"model.patch_size": 16},
    "wit_vitl14": BASE
    | {"method.dimension": 768, "model.size": "large", "model.patch_size": 14, "learning_rate": 4e-4}
    | {"model.text": TEXT | {"width": 768, "heads": 12}},
    # open_clip, docs/PRETRAINED.md: batch 32,768 for 32 epochs; its ViT-B-32 has the exact GELU.
    "laion_vitb32_openclip": BASE | {"model.activation": "gelu", "model.text": TEXT | {"activation": "gelu"}},
}
PUBLISHED = {
    "wit_rn50": "59.8", "wit_rn101": "62.3", "wit_rn50x4": "66.3", "wit_rn50x16": "70.7", "wit_rn50x64": "73.9",
    "wit_vitb32": "63.3", "wit_vitb16": "68.3", "wit_vitl14": "75.5", "laion_vitb32_openclip": "63.0",
}  # fmt: skip
# In all 102,007,137 and 151,277,313, the numbers of the published RN50 and ViT-B/32; of ViT-L/14 427,616,513.
PARAMETERS = {
    "wit_rn50": {
        "encoder": 38_316_896, "text": 63_165_952, "text_projection": 524_288, "logit_scale": 1,
    },
    "wit_vitb32": {
        "encoder": 87_456_000, "text": 63_165_952, "image_projection": 393_216, "text_projection": 262_144,
        "logit_scale": 1,
    },
}  # fmt: skip
UNCHECKED = ()
