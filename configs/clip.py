"""CLIP: tell which text of a batch belongs to an image, and which image to a text.

    python -m ssl_jax.pretrain --config=configs/clip.py:emoji_cpu --config.data.source=pairs:DIR --workdir=runs/clip

Paper: Radford et al. 2021, arXiv 2103.00020, tables 18 to 20; official code: openai/CLIP, which has no training: what
it leaves out (the crop, the clamp after the update) is that of mlfoundations/open_clip. Published numbers are zero-shot
top-1 on ImageNet of the authors' weights, as measured by open_clip (docs/openclip_results.csv); the data, 400 million
pairs, were not published: `data.source` names what you have. `_openclip`: a run of open_clip's own on public data.
`eval.classes` are the names of the labels, which the ImageNet of `tfds:` does not know.
`emoji_cpu_lit` keeps the image tower of a run with the same encoder, of any method, as it was there (Zhai et al. 2022,
arXiv 2111.07991): start it with `--config.train.init_from=runs/THAT`.

| recipe                | paper, section          | published | hardware of the published run |
|-----------------------|-------------------------|-----------|-------------------------------|
| wit_rn50              | tables 18, 19           | 59.8      | -                             |
| wit_rn101             | tables 18, 19           | 62.3      | -                             |
| wit_rn50x4            | tables 18, 19           | 66.3      | -                             |
| wit_rn50x16           | tables 18, 19           | 70.7      | -                             |
| wit_rn50x64           | tables 18, 19           | 73.9      | 592 V100, 18 days             |
| wit_vitb32            | tables 18, 19           | 63.3      | -                             |
| wit_vitb16            | tables 18, 19           | 68.3      | -                             |
| wit_vitl14            | tables 18, 19           | 75.5      | 256 V100, 12 days             |
| laion_vitb32_openclip | open_clip PRETRAINED.md | 63.0      | 128 A100, 36 hours            |
| emoji_cpu             | none: for 2 cores       | -         | 2 CPU cores, minutes          |
| emoji_cpu_lit         | none: for 2 cores       | -         | 2 CPU cores, minutes          |
| cifar10_cpu           | none: for 2 cores       | -         | 2 CPU cores, minutes          |
"""

from ml_collections import ConfigDict

from ssl_jax import defaults

PAPER = "Radford et al. 2021, arXiv 2103.00020"
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
RN50X64 = "592 V100, 18 days"
PAIRS = 400_000_000
PROMPTS = (  # the seven that the authors' notebook on prompts chooses among its eighty
    "itap of a {}.", "a bad photo of the {}.", "a origami {}.", "a photo of the large {}.", "a {} in a video game.",
    "art of the {}.", "a photo of the small {}.",
)  # fmt: skip


def clip(dimension: int) -> ConfigDict:
    """What all recipes have in common."""
    return defaults.experiment(
        "clip", dimension=dimension, image_projection=True, temperature=0.07, max_scale=100.0, tokenizer="",
        locked=False,
    )  # fmt: skip


def wit(size: str = "base", patch_size: int = 32, learning_rate: float = 5e-4, dimension: int = 512) -> ConfigDict:
    """A vision transformer and a text transformer on 400 million pairs: batch 32,768, 32 epochs."""
    config = clip(dimension)
    config.model = defaults.vit(
        size, patch_size=patch_size, init="clip", activation="quick_gelu", pre_norm=True, patch_bias=False,
        epsilon=1e-5, text=defaults.text(49408, width=dimension, heads=dimension // 64),
    )  # fmt: skip
    config.augment = defaults.views("clip")
    config.compute_dtype = "bfloat16"
    config.data.update(source="pairs:data/wit", canvas=256, workers=16)
    config.train.update(batch_size=32_768, epochs=32)
    config.optim = defaults.optim(
        "adamw", learning_rate, scaling="none", weight_decay=0.2, b2=0.98, eps=1e-6, warmup_steps=2000,
        groups=GROUPS,
    )  # fmt: skip
    defaults.intervals(config, PAIRS, evaluate=32, checkpoint=1)
    config.eval.update(source="tfds:imagenet2012", crop=1.0, protocols=("zero_shot",), prompts=PROMPTS)
    return config


GROUPS = {"vectors": {"weight_decay": 0.0}, "locked": {"frozen_steps": -1}}


def wit_resnet(
    blocks: tuple, dimension: int, channels: int = 64, text_width: int = 512, size: int = 224,
    learning_rate: float = 5e-4,
) -> ConfigDict:  # fmt: skip
    """A modified ResNet in place of the vision transformer: its attention pool ends in the joint space."""
    config = wit(learning_rate=learning_rate, dimension=dimension)
    config.method.image_projection = False
    config.model = ConfigDict({
        "name": "clip_resnet", "blocks": blocks, "width": channels / 64, "output_dim": dimension,
        "init": "torch_default", "norm_momentum": 0.9, "norm_groups": 1,
        "text": defaults.text(49408, width=text_width, heads=text_width // 64),
    })  # fmt: skip
    config.augment.size, config.data.canvas = size, size * 8 // 7
    config.optim.update(b2=0.999, eps=1e-8)
    return config


def laion_vitb32() -> ConfigDict:
    """open_clip's ViT-B/32 on LAION-400M: its defaults, exact GELU, and a warm-up of 2,000 steps."""
    config = wit()
    config.model.activation = config.model.text.activation = "gelu"
    config.data.source = "pairs:data/laion400m"
    return config


def emoji_cpu() -> ConfigDict:
    """Pictures and their names in minutes on 2 CPU cores: data `pairs:DIR`, or `npz:DIR` with an array `text`."""
    config = clip(128)
    config.model = defaults.resnet(
        18, stem="imagenet", text=defaults.text(1024, length=16, width=64, depth=2, heads=2)
    )  # fmt: skip
    config.augment = defaults.views("clip")
    defaults.on_two_cores(config, epochs=60, batch_size=128)
    config.augment.update(size=48, crop_scale=(0.6, 1.0))
    config.data.update(source="pairs:data/emoji", canvas=0, workers=0)
    config.optim = defaults.adamw_on_two_cores(0.002, weight_decay=0.1, b2=0.98, warmup_steps=50, groups=GROUPS)
    config.eval.update(test_split="test", crop=0.0, protocols=("retrieval",), prompts=("{}",))
    return config


def lit() -> ConfigDict:
    """`emoji_cpu` with the locked image tower of another run: the text tower learns what that encoder sees."""
    config = emoji_cpu()
    config.method.locked = True
    config.train.init_parts = ("encoder",)
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
    config.model = defaults.vit(
        "nano", patch_size=8, init="clip", activation="quick_gelu", pre_norm=True, patch_bias=False, epsilon=1e-5,
        text=defaults.text(560, length=16, width=32, depth=2, heads=2),
    )  # fmt: skip
    config = defaults.smallest(config)
    config.method.dimension, config.augment.size = 16, 16
    config.data.source = "synthetic:16x400"
    return config


# name: (config, paper, published zero-shot top-1 in percent, hardware)
RECIPES = {
    "wit_rn50": (lambda: wit_resnet((3, 4, 6, 3), 1024), PAPER, "59.8", "-"),
    "wit_rn101": (lambda: wit_resnet((3, 4, 23, 3), 512), PAPER, "62.3", "-"),
    "wit_rn50x4": (lambda: wit_resnet((4, 6, 10, 6), 640, 80, 640, 288), PAPER, "66.3", "-"),
    "wit_rn50x16": (lambda: wit_resnet((6, 8, 18, 8), 768, 96, 768, 384, 4e-4), PAPER, "70.7", "-"),
    "wit_rn50x64": (lambda: wit_resnet((3, 15, 36, 10), 1024, 128, 1024, 448, 3.6e-4), PAPER, "73.9", RN50X64),
    "wit_vitb32": (wit, PAPER, "63.3", "-"),
    "wit_vitb16": (lambda: wit(patch_size=16), PAPER, "68.3", "-"),
    "wit_vitl14": (lambda: wit("large", 14, 4e-4, 768), PAPER, "75.5", "256 V100, 12 days"),
    "laion_vitb32_openclip": (laion_vitb32, "mlfoundations/open_clip", "63.0", "128 A100, 36 hours"),
    "emoji_cpu": (emoji_cpu, "-", "-", "2 CPU cores, minutes"),
    "emoji_cpu_lit": (lit, "-", "-", "2 CPU cores, minutes"),
    "cifar10_cpu": (cifar10_cpu, "-", "-", "2 CPU cores, minutes"),
}


def get_config(recipe: str = "emoji_cpu") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/clip.py:emoji_cpu`."""
    return defaults.choose(RECIPES, recipe, __file__, tiny)
