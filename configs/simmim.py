"""SimMIM: mask large squares of an image and predict their pixels with one linear layer.

    python -m ssl_jax.pretrain --config=configs/simmim.py:digits --workdir=runs/simmim_digits

Paper: Xie et al. 2022, arXiv 2111.09886. Official code: microsoft/SimMIM,
configs/vit_base__800ep/simmim_pretrain__vit_base__img224__800ep.yaml, config.py, main_simmim.py, data/data_simmim.py.
The published number is that of fine-tuning. The official ViT-B is BEiT's: it has a bias of relative positions in place
of learned positions, and scales its residual branches by learned vectors; the one here is the plain ViT-B.

| recipe         | paper, section         | published         | hardware of the published run |
|----------------|------------------------|-------------------|-------------------------------|
| imagenet_vitb  | section 4.4, 800 ep    | 83.8 (fine-tuned) | not said                      |
| cifar10_cpu    | none: for 2 cores      | -                 | 2 CPU cores, minutes          |
| digits         | none: the demo         | -                 | 2 CPU cores, minutes          |
"""

from ml_collections import ConfigDict

from ssl_jax import defaults

PAPER = "Xie et al. 2022, arXiv 2111.09886"


def imagenet() -> ConfigDict:
    """ViT-B/16 on ImageNet: squares of 32 pixels, 30 of 49 masked. The code scales its rates by batch / 512."""
    config = defaults.experiment("simmim", mask_patch_size=32, mask_ratio=0.6)
    config.model = defaults.vit("base", patch_size=16, init="dino", drop_path=0.1)
    config.augment = defaults.views("mae", crop_scale=(0.67, 1.0), method="bilinear")
    config.compute_dtype = "bfloat16"
    config.train.update(batch_size=2048, epochs=800)
    config.eval.finetune.update(defaults.finetuning("simmim_base"))
    config.optim = defaults.optim(
        "adamw", 5e-5, scaling="linear", weight_decay=0.05, warmup_epochs=10.0, start_learning_rate=2e-6,
        schedule="step", boundaries=(700.0,), decay_factor=0.1, clip_norm=5.0,
    )  # fmt: skip
    defaults.intervals(config, 1_281_167, evaluate=50, checkpoint=5)
    return config


def cifar10_cpu() -> ConfigDict:
    """CIFAR-10 in minutes on 2 CPU cores: 4 blocks of width 128, 10 of 16 squares of 8 pixels; data: `npz:DIR`."""
    config = imagenet()
    config.model.update(size="micro", patch_size=4, pool="mean", positions="sincos_mae", init="mae", drop_path=0.0)
    config.method.mask_patch_size = 8
    config.eval.finetune.update(defaults.finetuning("small"))
    defaults.on_cifar10(config)
    defaults.on_two_cores(config, epochs=6, batch_size=128)
    config.augment.update(size=32, crop=False, pad=4)
    config.optim = defaults.adamw_on_two_cores(0.002, weight_decay=0.05, warmup_steps=100)
    config.eval.protocols = ("pretext", "knn", "linear")
    return config


def digits() -> ConfigDict:
    """scikit-learn's 8 x 8 handwritten digits, embedded, no download: patches and squares of 2 x 2 pixels."""
    config = cifar10_cpu()
    config.model.update(size="nano", patch_size=2)
    config.method.mask_patch_size = 2
    defaults.on_digits(config)
    config.augment.pad = 0
    return config


# name: (config, paper, published top-1 in percent, hardware)
RECIPES = {
    "imagenet_vitb": (imagenet, PAPER, "83.8 (fine-tuned)", "not said"),
    "cifar10_cpu": (cifar10_cpu, "-", "-", "2 CPU cores, minutes"),
    "digits": (digits, "-", "-", "2 CPU cores, minutes"),
}


def get_config(recipe: str = "digits") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/simmim.py:digits`."""
    return defaults.choose(RECIPES, recipe, __file__, lambda: defaults.smallest(digits()))
