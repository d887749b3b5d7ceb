"""Autoencoders, the generative baselines: denoising, and variational.

    python -m ssl_jax.pretrain --config=configs/autoencoder.py:digits --workdir=runs/vae_digits

Papers: Vincent et al. 2010, JMLR 11 (denoising); Kingma and Welling 2014, arXiv 1312.6114 (variational). Both train
small dense networks on MNIST; here the networks are the convolutional ones of configs/inpainting.py, so that no recipe
is one of theirs and no number is published. `config.method.beta` above 1 makes a beta-VAE.

| recipe                | paper | published | hardware             |
|-----------------------|-------|-----------|----------------------|
| cifar10_vae           | none  | -         | 1 GPU                |
| cifar10_denoising     | none  | -         | 1 GPU                |
| cifar10_cpu_vae       | none  | -         | 2 CPU cores, minutes |
| cifar10_cpu_denoising | none  | -         | 2 CPU cores, minutes |
| digits                | none  | -         | 2 CPU cores, minutes |
| digits_denoising      | none  | -         | 2 CPU cores, minutes |
"""

from ml_collections import ConfigDict

from ssl_jax import defaults


def cifar10(kind: str = "vae") -> ConfigDict:
    """CIFAR-10 for one GPU: the convolutional network of context encoders, a code of 128 numbers, 100 epochs."""
    config = defaults.experiment("autoencoder", kind=kind, noise="gaussian", level=0.2, beta=1.0)
    config.model = ConfigDict({
        "name": "encoder_decoder", "channels": (64, 128, 256), "bottleneck": 512 if kind == "vae" else 128,
        "posterior": defaults.mlp((), 2 * 128), "decoder": {"channels": (256, 128, 64)},
        "norm_momentum": 0.9, "norm_groups": 1,
    })  # fmt: skip
    config.augment = defaults.views("mae", crop=False, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    defaults.on_cifar10(config)
    config.augment.update(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    config.train.update(batch_size=256, epochs=100)
    config.optim = defaults.adamw_on_two_cores(1e-3, warmup_steps=500)
    config.eval.protocols = ("pretext", "knn", "linear")
    defaults.intervals(config, 50_000, evaluate=10, checkpoint=5)
    return config


def cifar10_cpu(kind: str = "vae") -> ConfigDict:
    """CIFAR-10 in minutes on 2 CPU cores; data: `npz:DIR`."""
    config = cifar10(kind)
    config.model.update(channels=(32, 64, 128), bottleneck=256 if kind == "vae" else 128)
    config.model.decoder.channels = (128, 64, 32)
    defaults.on_two_cores(config, epochs=2, batch_size=128)
    config.augment.size = 32
    config.optim.update(learning_rate=2e-3, warmup_steps=100)
    return config


def digits(kind: str = "vae") -> ConfigDict:
    """scikit-learn's 8 x 8 handwritten digits, embedded, no download."""
    config = cifar10_cpu(kind)
    config.model.update(channels=(32, 64), bottleneck=64)
    config.model.posterior.output_dim = 2 * 16
    config.model.decoder.channels = (64, 32)
    defaults.on_digits(config)
    return config


def tiny() -> ConfigDict:
    """The smallest run: a VAE."""
    config = digits()
    config.model.update(channels=(8, 8), bottleneck=8)
    config.model.posterior.output_dim = 8
    config.model.decoder.channels = (8,)
    return defaults.smallest(config)


# name: (config, paper, published number, hardware)
RECIPES = {
    "cifar10_vae": (cifar10, "-", "-", "1 GPU"),
    "cifar10_denoising": (lambda: cifar10("denoising"), "-", "-", "1 GPU"),
    "cifar10_cpu_vae": (cifar10_cpu, "-", "-", "2 CPU cores, minutes"),
    "cifar10_cpu_denoising": (lambda: cifar10_cpu("denoising"), "-", "-", "2 CPU cores, minutes"),
    "digits": (digits, "-", "-", "2 CPU cores, minutes"),
    "digits_denoising": (lambda: digits("denoising"), "-", "-", "2 CPU cores, minutes"),
}


def get_config(recipe: str = "digits") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/autoencoder.py:digits`."""
    return defaults.choose(RECIPES, recipe, __file__, tiny)
