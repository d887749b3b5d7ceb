"""SigLIP: tell of every pair of an image and a text whether they belong together.

    python -m ssl_jax.pretrain --config=configs/siglip.py:emoji_cpu --config.data.source=pairs:DIR --workdir=runs/siglip

Paper: Zhai et al. 2023, arXiv 2303.15343. Official code: google-research/big_vision, which has the networks and the
loss, and one config of training, that of `lit_coco_code`; the data, WebLI, were not published. Published numbers are
zero-shot top-1 on ImageNet, as measured by open_clip (docs/openclip_results.csv). What the code does not say of
training from scratch (rate 1e-3, weight decay 1e-4, b2 0.95, warm-up of 20,000 steps) is the paper's section 4.
big_vision's weight decay is not multiplied by the peak rate, as AdamW's is: here it is theirs divided by that rate.

| recipe         | paper, section        | published | hardware of the published run |
|----------------|-----------------------|-----------|-------------------------------|
| webli_vitb16   | section 4             | 76.0      | 16 TPU v4, 3 days             |
| lit_coco_code  | the authors' code     | -         | -                             |
| emoji_cpu      | none: for 2 cores     | -         | 2 CPU cores, minutes          |
| cifar10_cpu    | none: for 2 cores     | -         | 2 CPU cores, minutes          |
"""

from ml_collections import ConfigDict

from ssl_jax import defaults

PAPER = "Zhai et al. 2023, arXiv 2303.15343"
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
GROUPS = {"vectors": {"weight_decay": 0.0}, "locked": {"frozen_steps": -1}}
PAIRS = 10_000_000_000


def webli() -> ConfigDict:
    """ViT-B/16 at 224 pixels and a text transformer of its size: batch 32,768, 9 billion pairs seen."""
    config = defaults.experiment(
        "siglip", dimension=768, image_projection=False, scale=10.0, bias=-10.0, tokenizer="", locked=False
    )  # fmt: skip
    config.model = vit("base", patch_size=16, vocabulary=32_000, length=64, width=768, depth=12, heads=12)
    config.augment = defaults.views("siglip")
    config.compute_dtype = "bfloat16"
    config.data.update(source="pairs:data/webli", canvas=256, workers=16)
    config.train.update(batch_size=32_768, steps=274_658)
    config.optim = defaults.optim(
        "adamw", 1e-3, scaling="none", weight_decay=0.1, b2=0.95, warmup_steps=20_000, clip_norm=1.0, groups=GROUPS
    )  # fmt: skip
    config.train.update(eval_every=0, checkpoint_every=5_000)
    config.eval.update(source="tfds:imagenet2012", crop=1.0, protocols=("zero_shot",))
    return config


def vit(size: str, *, patch_size: int, **text) -> ConfigDict:
    """Both towers: no class token but pooling by attention; a text transformer that is not causal."""
    return defaults.vit(
        size, patch_size=patch_size, class_token=False, pool="map", init="siglip", activation="gelu_tanh",
        text=defaults.text(**text, causal=False, pool="last", activation="gelu_tanh", init="siglip", epsilon=1e-6),
    )  # fmt: skip


def lit_coco() -> ConfigDict:
    """The authors' config: 5,000 steps of 512 pairs of COCO with a locked image tower; the first bias is -2.71.

    Theirs has BERT as its text tower, which starts from published weights, and RandAugment; here it is the tower above.
    """
    config = webli()
    config.method.update(locked=True, bias=-2.71)
    config.model.update(class_token=True, pool="class")
    config.model.text.length = 16
    config.data.source = "pairs:data/coco"
    config.train.update(batch_size=512, steps=5_000, checkpoint_every=1_000, init_parts=("encoder",))
    config.optim.update(learning_rate=1e-3, weight_decay=10.0, b2=0.999, warmup_steps=150)
    config.augment.flip_probability = 0.5
    return config


def emoji_cpu() -> ConfigDict:
    """Pictures and their names in minutes on 2 CPU cores: data `pairs:DIR`, or `npz:DIR` with an array `text`."""
    config = defaults.experiment(
        "siglip", dimension=128, image_projection=True, scale=10.0, bias=-10.0, tokenizer="", locked=False
    )  # fmt: skip
    text = defaults.text(
        1024, length=16, width=64, depth=2, heads=2, causal=False, pool="last", activation="gelu_tanh", init="siglip",
        epsilon=1e-6,
    )  # fmt: skip
    config.model = defaults.resnet(18, stem="imagenet", text=text)
    config.augment = defaults.views("siglip")
    defaults.on_two_cores(config, epochs=60, batch_size=128)
    config.augment.update(size=48, crop=True, crop_scale=(0.6, 1.0))
    config.data.update(source="pairs:data/emoji", canvas=0, workers=0)
    config.optim = defaults.adamw_on_two_cores(0.002, weight_decay=0.1, b2=0.95, warmup_steps=50, groups=GROUPS)
    config.eval.update(test_split="test", crop=0.0, protocols=("retrieval",), prompts=("{}",))
    return config


def cifar10_cpu() -> ConfigDict:
    """CIFAR-10 with the nouns its images were found by, `text` of `npz:DIR`: then zero-shot by the classes' names."""
    config = emoji_cpu()
    defaults.on_two_cores(config, epochs=3, batch_size=256)
    config.model.stem = "cifar"
    config.augment.update(size=16, crop=False, pad=2, flip_probability=0.5)
    config.optim.update(learning_rate=0.004, warmup_steps=100)
    config.eval.update(protocols=("zero_shot", "knn", "linear"), classes=CIFAR10)
    return config


def tiny() -> ConfigDict:
    """The smallest run, on synthetic pairs: a vision transformer at 16 pixels."""
    config = emoji_cpu()
    config.model = vit("nano", patch_size=8, vocabulary=560, length=16, width=32, depth=2, heads=2)
    config = defaults.smallest(config)
    config.method.update(dimension=32, image_projection=False)
    config.augment.size, config.data.source = 16, "synthetic:16x400"
    return config


# name: (config, paper, published zero-shot top-1 in percent, hardware)
RECIPES = {
    "webli_vitb16": (webli, PAPER, "76.0", "16 TPU v4, 3 days"),
    "lit_coco_code": (lit_coco, "google-research/big_vision", "-", "-"),
    "emoji_cpu": (emoji_cpu, "-", "-", "2 CPU cores, minutes"),
    "cifar10_cpu": (cifar10_cpu, "-", "-", "2 CPU cores, minutes"),
}


def get_config(recipe: str = "emoji_cpu") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/siglip.py:emoji_cpu`."""
    return defaults.choose(RECIPES, recipe, __file__, tiny)
