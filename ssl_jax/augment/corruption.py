"""The noise of denoising autoencoders, and that which makes grey levels a density."""

import jax.numpy as jnp

from ssl_jax.augment.image import check_choice, normal, uniform

LEVELS = 256
KINDS = ("masking", "gaussian", "salt_and_pepper")


def corrupt(key, image, *, kind: str = "gaussian", level: float = 0.3):
    """An image with noise of one of three kinds.

    "masking": each value is 0 with probability `level`; "gaussian": normal noise of deviation `level` is added, the
    result not clipped; "salt_and_pepper": each value is 0 or 1, as likely, with probability `level`.

    Args:
        key: PRNG key.
        image: `[H, W, C]`, floating point, in [0, 1].
        kind: "masking", "gaussian" or "salt_and_pepper".
        level: how strong it is.

    Returns:
        The shape and dtype of `image`.

    Raises:
        ValueError: an unknown kind.

    >>> import jax
    >>> noisy = corrupt(jax.random.key(0), jnp.full((8, 8, 1), 0.5), kind="masking", level=0.5)
    >>> sorted(set(noisy.ravel().tolist()))
    [0.0, 0.5]

    Source: Vincent et al., JMLR 11 (2010), section 3.1, https://jmlr.org/papers/v11/vincent10a.html.
    """
    check_choice("kind of noise", kind, KINDS)
    if kind == "gaussian":
        return image + level * normal(key, image.shape, image.dtype)
    draw = uniform(key, image.shape)
    replaced = jnp.where((draw < level / 2) & (kind == "salt_and_pepper"), 1, 0).astype(image.dtype)
    return jnp.where(draw < level, replaced, image)


def dequantise(key, image):
    """An image of grey levels `n / 255` as one of densities: `(n + u) / 256` with u uniform in [0, 1), by value.

    Values between grey levels, as resampling makes them, are rounded to the nearest.

    The log-density of a model, in units of a grey level, is then a lower bound on its log-probability of the levels.

    Args:
        key: PRNG key.
        image: `[H, W, C]`, floating point, in [0, 1].

    >>> import jax
    >>> float(dequantise(jax.random.key(0), jnp.ones((1, 1, 1)))[0, 0, 0]) > 255 / 256
    True

    Source: Theis et al., https://arxiv.org/abs/1511.01844, section 3.1.
    """
    return (jnp.round(image * (LEVELS - 1)) + uniform(key, image.shape).astype(image.dtype)) / LEVELS
