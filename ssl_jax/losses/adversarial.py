"""The two losses of a generator and a discriminator that tells its outputs from real ones."""

import jax

from ssl_jax.losses import arguments
from ssl_jax.losses.embeddings import mean, nan_unless_finite, widen

LOGITS = "pass the logits of one example a row"


def adversarial_discriminator(real, fake, *, weights=None, axis_name=None, reduction="mean"):
    """The discriminator's loss, `-log sigmoid(real) - log(1 - sigmoid(fake))`.

    What made the fakes must be kept out of its gradient: pass logits of `stop_gradient(fake)`.

    Args:
      real, fake: logits `[b, K]`, K of an example (1, or the places of a map); computed in float32 or wider.
      weights: non-negative `[b]` of the examples, or None for ones.
      axis_name: mapped axis over which the global batch is spread; None for a single device.
      reduction: "mean": the local value whose mean over the axis is that of the global batch; "none": `[b]`.

    Returns:
      A scalar, or `[b]` for "none".

    Raises:
      ValueError: shapes that do not belong together.

    >>> import jax.numpy as jnp
    >>> round(float(adversarial_discriminator(jnp.zeros((2, 1)), jnp.zeros((2, 1)))), 4)
    1.3863

    Source: Goodfellow et al., https://arxiv.org/abs/1406.2661, equation 1; the sum of the two, as in
    pathak22/context-encoder, train.lua.
    """
    real, fake = arguments.arrays(LOGITS, real=(real, "b K"), fake=(fake, "b K"))
    weights = arguments.reduced(len(real), weights, reduction, axis_name)
    losses = jax.nn.softplus(-widen(real)) + jax.nn.softplus(widen(fake))
    return mean(nan_unless_finite(losses, real, fake).mean(axis=-1), weights, reduction, axis_name)


def adversarial_generator(fake, *, weights=None, axis_name=None, reduction="mean"):
    """The generator's loss, `-log sigmoid(fake)`: the form that does not saturate.

    The discriminator must be kept out of its gradient: apply it with `stop_gradient(params)`.

    Args:
      fake: logits `[b, K]`; computed in float32 or wider.
      weights, axis_name, reduction: see `adversarial_discriminator`.

    Returns:
      A scalar, or `[b]` for "none".

    Raises:
      ValueError: not `[b, K]`.

    >>> import jax.numpy as jnp
    >>> round(float(adversarial_generator(jnp.zeros((2, 1)))), 4)
    0.6931

    Source: Goodfellow et al., https://arxiv.org/abs/1406.2661, section 3.
    """
    (fake,) = arguments.arrays(LOGITS, fake=(fake, "b K"))
    weights = arguments.reduced(len(fake), weights, reduction, axis_name)
    losses = nan_unless_finite(jax.nn.softplus(-widen(fake)), fake)
    return mean(losses.mean(axis=-1), weights, reduction, axis_name)
