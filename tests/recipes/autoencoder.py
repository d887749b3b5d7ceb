"""Autoencoders: the papers' networks are dense ones for MNIST, which no recipe has, so that nothing was published."""

RECIPES = {}
UNCHECKED = ("cifar10_vae", "cifar10_denoising")  # ours: nothing was published
