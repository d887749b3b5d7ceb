"""The two parts of a variational autoencoder's bound on the log-likelihood."""

import math

import jax.numpy as jnp

from ssl_jax.losses import arguments
from ssl_jax.losses.embeddings import mean, widen


def gaussian_kl(mu, log_variance, *, weights=None, axis_name=None, reduction="mean"):
    """The divergence of a diagonal Gaussian from the standard one, `sum_d (mu_d^2 + s_d - 1 - log s_d) / 2` in nats.

    Args:
      mu: `[b, D]`, means of the posterior; computed in float32 or wider.
      log_variance: `[b, D]`, `log s`.
      weights: non-negative `[b]` of the examples, or None for ones.
      axis_name: mapped axis over which the global batch is spread; None for a single device.
      reduction: "mean": the local value whose mean over the axis is that of the global batch; "none": `[b]`.

    Returns:
      A scalar, or `[b]` for "none".

    Raises:
      ValueError: shapes that do not belong together.

    >>> float(gaussian_kl(jnp.array([[2.0, 0.0]]), jnp.zeros((1, 2))))
    2.0

    Source: Kingma and Welling, https://arxiv.org/abs/1312.6114, appendix B.
    """
    mu, log_variance = arguments.arrays(
        "pass one mean and one log-variance a dimension", mu=(mu, "b D"), log_variance=(log_variance, "b D")
    )
    weights = arguments.reduced(len(mu), weights, reduction, axis_name)
    mu, log_variance = widen(mu), widen(log_variance)
    losses = jnp.sum(jnp.square(mu) + jnp.exp(log_variance) - 1 - log_variance, axis=-1) / 2
    return mean(losses, weights, reduction, axis_name)


def gaussian_nll(prediction, target, log_scale, *, weights=None, axis_name=None, reduction="mean"):
    """Negative log-density of values under Gaussians, `sum ((x - m) / s)^2 / 2 + log s + log(2 pi) / 2` in nats.

    Args:
      prediction: `[b, ..., C]`, the means m; computed in float32 or wider.
      target: `[b, ..., C]`, the values x.
      log_scale: `[C]`, or more of the last axes, log of the deviations s. One that is learned is at best the root of
        the mean squared error, so that the weight of the reconstruction needs no choice.
      weights, axis_name, reduction: see `gaussian_kl`.

    Returns:
      A scalar, or `[b]` for "none".

    Raises:
      ValueError: shapes that do not belong together.

    >>> round(float(gaussian_nll(jnp.zeros((1, 2)), jnp.ones((1, 2)), jnp.zeros(2))), 4)
    2.8379

    Source: Kingma and Welling, https://arxiv.org/abs/1312.6114, appendix C.2; deviations that are the same for all
    images as in Rybkin et al., https://arxiv.org/abs/2006.13202.
    """
    prediction, log_scale = arguments.real("prediction", prediction), arguments.real("log_scale", log_scale)
    axes = ["b", *(f"n{i}" for i in range(2, prediction.ndim)), "C"]
    of_scale = " ".join(axes[-max(1, min(log_scale.ndim, len(axes) - 1)) :])
    prediction, target, log_scale = arguments.arrays(
        "give one scale a channel, or one a value", prediction=(prediction, " ".join(axes)),
        target=(target, " ".join(axes)), log_scale=(log_scale, of_scale),
    )  # fmt: skip
    weights = arguments.reduced(len(prediction), weights, reduction, axis_name)
    log_scale = widen(log_scale).reshape((1,) * (prediction.ndim - log_scale.ndim) + log_scale.shape)
    errors = (widen(target) - widen(prediction)) * jnp.exp(-log_scale)
    losses = jnp.square(errors) / 2 + log_scale + math.log(2 * math.pi) / 2
    return mean(losses.reshape(len(losses), -1).sum(axis=1), weights, reduction, axis_name)
