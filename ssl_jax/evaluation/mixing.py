"""Mixup and CutMix: a batch of labelled images and its reverse as one, with labels mixed alike."""

import jax
import jax.numpy as jnp


def smoothed(labels, num_classes: int, smoothing: float):
    """Targets `[b, C]`: `1 - s + s / C` for the label, `s / C` for the other classes.

    >>> smoothed(jnp.array([1]), 2, 0.5).tolist()
    [[0.25, 0.75]]

    Source: Szegedy et al. 2016, arXiv 1512.00567, section 7.
    """
    return jax.nn.one_hot(labels, num_classes) * (1 - smoothing) + smoothing / num_classes


def mix(key, images, targets, *, mixup: float = 0.8, cutmix: float = 1.0):
    """The images of a batch, each mixed with that of the opposite row, and their targets mixed in the same share.

    With `l ~ Beta(a, a)`, one for the batch: mixup is `l x_i + (1 - l) x_j`; CutMix puts a rectangle of x_j, of the
    share 1 - l before it is cut at the borders, at a random place of x_i. The targets are `l y_i + (1 - l) y_j`, with
    the share of the pixels in place of l for CutMix. Where both are asked for, half of the batches get either.

    Args:
      key: of the batch.
      images: uint8 `[b, H, W, C]`; mixed values are rounded.
      targets: float `[b, K]`.
      mixup, cutmix: a of either; 0 for neither.

    Returns: images uint8 `[b, H, W, C]`, targets `[b, K]`.

    Source: Zhang et al. 2018, arXiv 1710.09412, equation 1; Yun et al. 2019, arXiv 1905.04899, section 3.1; timm,
    data/mixup.py, mode "batch", as in the official code of MAE.
    """
    if not mixup and not cutmix:
        return images, targets
    of_choice, of_share, of_place = jax.random.split(key, 3)
    cuts = jax.random.bernoulli(of_choice) if mixup and cutmix else jnp.bool_(bool(cutmix))
    alpha = jnp.where(cuts, cutmix or 1.0, mixup or 1.0)
    share = jax.random.beta(of_share, alpha, alpha)
    other = images[::-1]
    blended = jnp.round(share * images + (1 - share) * other).astype(images.dtype)
    box = rectangle(of_place, *images.shape[1:3], 1 - share)
    pasted = jnp.where(box[None, ..., None], other, images)
    share = jnp.where(cuts, 1 - jnp.mean(box), share).astype(targets.dtype)
    return jnp.where(cuts, pasted, blended), share * targets + (1 - share) * targets[::-1]


def rectangle(key, height: int, width: int, share):
    """A mask bool `[height, width]`: sides `sqrt(share)` of the image's, around a random pixel, cut at the borders."""
    centre = jax.random.randint(key, (2,), 0, jnp.array([height, width]))

    def inside(count, middle):
        half = jnp.int32(count * jnp.sqrt(share)) // 2
        places = jnp.arange(count)
        return (places >= middle - half) & (places < middle + half)

    return inside(height, centre[0])[:, None] & inside(width, centre[1])[None]
