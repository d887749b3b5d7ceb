"""How good a picture that a network filled in is: its error, and how much of the fine detail it has."""

import jax.numpy as jnp
from jax import lax

from ssl_jax import collectives


def psnr(errors, counts):
    """Peak signal-to-noise ratio of each image in dB, `-10 log10(mean of squared errors that count)`, `[b]`.

    At most 100 dB, so that a perfect image does not make the mean over images infinite.

    Args:
      errors: `[b, H, W, C]`, differences of images in [0, 1].
      counts: bool `[b, H, W]`, the pixels that count.

    >>> psnr(jnp.full((1, 2, 2, 3), 0.1), jnp.ones((1, 2, 2), bool)).round(3).tolist()
    [20.0]
    """
    return -10 * jnp.log10(jnp.maximum(squared_error(errors, counts), 1e-10))


def squared_error(errors, counts):
    """The mean of the squared errors of each image's pixels that count, `[b]`; see `psnr`."""
    squared = jnp.where(counts, jnp.square(errors).mean(axis=-1), 0)
    return squared.sum((1, 2)) / jnp.maximum(counts.sum((1, 2)), 1)


def laplacian_energy(images, counts):
    """Energy of fine detail of each image, the sum over pixels that count of `(4 x - its neighbours)^2`, `[b]`.

    The border has no Laplacian and never counts. Predictions that minimise squared errors are means of what is
    possible, and so blurred: their energy is far below that of true images, though their PSNR is high.

    Args:
      images: `[b, H, W, C]`.
      counts: bool `[b, H, W]`.

    >>> board = (jnp.indices((4, 4)).sum(axis=0) % 2)[None, :, :, None].astype(float)
    >>> laplacian_energy(board, jnp.ones((1, 4, 4), bool)).tolist()
    [64.0]
    """
    inner = images[:, 1:-1, 1:-1]
    around = images[:, 2:, 1:-1] + images[:, :-2, 1:-1] + images[:, 1:-1, 2:] + images[:, 1:-1, :-2]
    return jnp.where(counts[:, 1:-1, 1:-1], jnp.square(4 * inner - around).mean(axis=-1), 0).sum((1, 2))


def of_filling(prediction, target, hidden, std, axis_name: str | None = None) -> dict:
    """Metrics of hidden pixels: mean PSNR in dB, squared error, and the energy of fine detail over that of the truth.

    Args:
      prediction, target: `[b, H, W, C]`, normalised images.
      hidden: bool `[b, H, W]`.
      std: what they were divided by, C floats.
      axis_name: the device axis; the energies are those of the global batch.
    """
    scale = jnp.asarray(std, prediction.dtype)[None, None, None]
    energies = jnp.stack([laplacian_energy(x * scale, hidden).mean() for x in (prediction, target)])
    energies = collectives.pmean(lax.stop_gradient(energies), axis_name)
    errors = (prediction - target) * scale
    return {
        "psnr": psnr(errors, hidden).mean(),
        "squared_error": squared_error(errors, hidden).mean(),
        "high_frequency_ratio": energies[0] / jnp.maximum(energies[1], 1e-12),
    }
