"""Images as patches: cutting and joining them, which of them are hidden, and the trivial way to fill them in."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def patchify(images, size: int):
    """Images `[b, H, W, C]` as patches `[b, H W / size^2, size * size * C]`, row by row from the top left.

    >>> patchify(jnp.arange(16.0).reshape(1, 4, 4, 1), 2)[0, 1].tolist()
    [2.0, 3.0, 6.0, 7.0]
    """
    b, height, width, channels = images.shape
    h, w = height // size, width // size
    x = images.reshape(b, h, size, w, size, channels).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h * w, size * size * channels)


def unpatchify(patches, size: int, height: int, width: int):
    """The inverse of `patchify`: images `[b, height, width, C]`."""
    h, w = height // size, width // size
    x = patches.reshape(len(patches), h, w, size, size, -1).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(len(patches), height, width, -1)


def statistics(patches, epsilon: float = 1e-6):
    """Mean and standard deviation of each patch, `[b, N, 1]`; the variance divides by P - 1, as PyTorch's does.

    Source: `norm_pix_loss` in `models_mae.py` of the official code of MAE.
    """
    return patches.mean(axis=-1, keepdims=True), jnp.sqrt(patches.var(axis=-1, keepdims=True, ddof=1) + epsilon)


def shuffled(keys, count: int):
    """Random orders of `count` patches, int32 `[b, count]`, one for each key: the argsort of uniform noise."""
    noise = jax.vmap(lambda key: jax.random.uniform(key, (count,), jnp.float32))(keys)
    return jnp.argsort(noise, axis=1)


def upsampled(masked, h: int, w: int, factor: int):
    """A mask of large patches `[b, h w]` as one of patches that are `factor` times smaller, `[b, h w factor^2]`."""
    masked = masked.reshape(-1, h, w)
    return masked.repeat(factor, axis=1).repeat(factor, axis=2).reshape(len(masked), -1)


def rank(order):
    """The inverse of each order `[b, N]`: the place of every patch in it."""
    return jnp.argsort(order, axis=1)


def visible_mean(images, hidden):
    """The mean colour of each image's visible pixels, `[b, 1, 1, C]`; `hidden` is bool `[b, H, W]`."""
    visible = (~hidden[..., None]).astype(images.dtype)
    return (images * visible).sum((1, 2), keepdims=True) / jnp.maximum(visible.sum((1, 2), keepdims=True), 1)


def harmonic(images, hidden, steps: int | None = None, hole: int = 0):
    """Images whose hidden pixels are filled with the harmonic function that their borders determine.

    Every hidden pixel becomes the mean of its neighbours (Laplace's equation), by relaxation from the mean colour of
    the visible pixels: the smoothest filling, which knows nothing about images.

    Args:
      images: float `[b, H, W, C]`.
      hidden: bool `[b, H, W]`.
      steps: of the relaxation; None for 4 times the longer side, after which 32 x 32 images change by less than a grey
        level where the holes are of a few pixels.
      hole: side of the largest hole; where given, Chebyshev's acceleration, with which about 4 times as many steps as
        that are enough instead of its square.
    """
    # The largest eigenvalue of relaxation in a square; without acceleration omega stays 1.
    radius = math.cos(math.pi / (hole + 1)) if hole else 0.0
    start, hidden = visible_mean(images, hidden), hidden[..., None]

    def relax(step, carry):
        x, before, omega = carry
        around = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
        mean = (around[:, 2:, 1:-1] + around[:, :-2, 1:-1] + around[:, 1:-1, 2:] + around[:, 1:-1, :-2]) / 4
        new = jnp.where(hidden, before + omega * (mean - before), images)
        return new, x, 1 / (1 - radius**2 * omega / jnp.where(step == 0, 2, 4))

    start = jnp.where(hidden, start, images)
    carry = start, start, jnp.ones((), images.dtype)
    return lax.fori_loop(0, steps or 4 * max(images.shape[1:3]), relax, carry)[0]


def reconstructions(images, prediction, masked, size: int):
    """Images `[b, H, W, C]` as seen (hidden patches 0), with predicted patches in the hidden places, and as they are.

    `prediction` `[b, N, P]`, in the units of the images; `masked` bool `[b, N]`.
    """
    true, masked = patchify(images, size), masked[..., None]
    shown = jnp.where(masked, 0, true), jnp.where(masked, prediction, true), true
    return [unpatchify(one, size, *images.shape[1:3]) for one in shown]


def sheet(*columns) -> np.ndarray:
    """Images uint8 `[b, H, W, 3]` side by side, an example a row, with a white line between them: `[., ., 3]`."""
    frame = [(0, 0), (0, 2), (0, 2), (0, 0)]
    padded = [np.pad(np.asarray(images), frame, constant_values=255) for images in columns]
    return np.concatenate([np.concatenate(list(images)) for images in padded], axis=1)
