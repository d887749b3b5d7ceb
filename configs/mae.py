"""MAE: hide three quarters of an image's patches and predict their pixels.

    python -m ssl_jax.pretrain --config=configs/mae.py:digits --workdir=runs/mae_digits

Paper: He et al. 2022, arXiv 2111.06377. Official code: facebookresearch/mae, models_mae.py, main_pretrain.py,
PRETRAIN.md. Published numbers are linear top-1 of the class token (table 13 and the code's README, 1600 epochs), and
fine-tuned top-1 of the mean of the patches: `config.eval.finetune` has its settings, for the protocol `finetune`.
`norm_pix_loss`, here `method.normalise`, is off by default in the code and on in the
runs that were published.

| recipe               | paper, section      | published | hardware of the published run |
|----------------------|---------------------|-----------|-------------------------------|
| imagenet_vitb        | section 5, 1600 ep  | 68.0 / 83.6 fine-tuned | 64 V100          |
| imagenet_vitl        | section 5, 1600 ep  | 75.8 / 85.9 fine-tuned | 64 V100          |
| imagenet_vith        | section 5, 1600 ep  | 76.6 / 86.9 fine-tuned | 64 V100          |
| imagenet_vitb_800ep  | PRETRAIN.md, 800 ep | -         | 64 V100                       |
| cifar10_vit_ti       | none                | -         | 1 GPU                         |
| cifar10_cpu          | none: for 2 cores   | -         | 2 CPU cores, minutes          |
| digits               | none: the demo      | -         | 2 CPU cores, minutes          |
"""

from ml_collections import ConfigDict

from ssl_jax import defaults

PAPER = "He et al. 2022, arXiv 2111.06377"


def imagenet(size: str = "base", patch_size: int = 16, epochs: int = 1600) -> ConfigDict:
    """A vision transformer on ImageNet; the decoder has 8 blocks of width 512 whatever the encoder."""
    config = defaults.experiment("mae", mask_ratio=0.75, normalise=True)
    config.model = vit(size, patch_size, width=512, depth=8, heads=16)
    config.augment = defaults.views("mae")
    config.compute_dtype = "bfloat16"
    config.train.update(batch_size=4096, epochs=epochs)
    config.eval.finetune.update(defaults.finetuning("small" if size == "tiny" else f"mae_{size}"))
    config.optim = defaults.optim("adamw", 1.5e-4, scaling="linear", weight_decay=0.05, b2=0.95, warmup_epochs=40.0)
    defaults.intervals(config, 1_281_167, evaluate=50, checkpoint=5)
    return config


def vit(size: str, patch_size: int, **decoder: int) -> ConfigDict:
    """The encoder and its decoder of a width, depth and number of heads."""
    return defaults.vit(size, patch_size=patch_size, positions="sincos_mae", init="mae", decoder=ConfigDict(decoder))


def cifar10_vit_ti() -> ConfigDict:
    """ViT-Ti/4 on CIFAR-10 for one GPU: batch 512, 400 epochs, a decoder of 4 blocks."""
    config = imagenet("tiny", patch_size=4, epochs=400)
    config.model.decoder.update(width=192, depth=4, heads=3)
    defaults.on_cifar10(config)
    config.train.batch_size = 512
    defaults.intervals(config, 50_000, evaluate=10, checkpoint=5)
    return config


def cifar10_cpu() -> ConfigDict:
    """CIFAR-10 in minutes on 2 CPU cores: 4 blocks of width 128 on 16 of 64 patches; data: `npz:DIR`."""
    config = cifar10_vit_ti()
    config.model.update(size="micro", pool="mean")
    config.model.decoder.update(width=64, depth=2, heads=2)
    defaults.on_two_cores(config, epochs=6, batch_size=128)
    config.augment.update(size=32, crop=False, pad=4)
    config.optim = defaults.adamw_on_two_cores(0.002, weight_decay=0.05, b2=0.95, warmup_steps=100)
    config.eval.protocols = ("pretext", "knn", "linear")
    return config


def digits() -> ConfigDict:
    """scikit-learn's 8 x 8 handwritten digits, embedded, no download: patches of 2 x 2 pixels."""
    config = cifar10_cpu()
    config.model.update(size="nano", patch_size=2)
    defaults.on_digits(config)
    config.augment.pad = 0
    return config


# name: (config, paper, published linear / fine-tuned top-1 in percent, hardware)
RECIPES = {
    "imagenet_vitb": (imagenet, PAPER, "68.0 / 83.6 (fine-tuned)", "64 V100"),
    "imagenet_vitl": (lambda: imagenet("large"), PAPER, "75.8 / 85.9 (fine-tuned)", "64 V100"),
    "imagenet_vith": (lambda: imagenet("huge", patch_size=14), PAPER, "76.6 / 86.9 (fine-tuned)", "64 V100"),
    "imagenet_vitb_800ep": (lambda: imagenet(epochs=800), PAPER, "-", "64 V100"),
    "cifar10_vit_ti": (cifar10_vit_ti, "-", "-", "1 GPU"),
    "cifar10_cpu": (cifar10_cpu, "-", "-", "2 CPU cores, minutes"),
    "digits": (digits, "-", "-", "2 CPU cores, minutes"),
}


def get_config(recipe: str = "digits") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/mae.py:digits`."""
    return defaults.choose(RECIPES, recipe, __file__, lambda: defaults.smallest(digits()))
