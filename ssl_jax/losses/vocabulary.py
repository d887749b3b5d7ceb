"""Cross-entropy over a vocabulary too wide to keep its logits: they are made again in the backward pass, in tiles."""

import jax
import jax.numpy as jnp
from jax import lax

from ssl_jax.collectives import pmean
from ssl_jax.losses import arguments
from ssl_jax.losses.embeddings import widen

TILE = 2**24  # logits at a time, 64 MiB in float32


def vocabulary_cross_entropy(hidden, table, bias, targets, weights, *, axis_name=None, tile=None):
    """Weighted mean of `-log softmax(h E' + b)[target]` over the places of the global batch, `sum w l / sum w`.

    The product with the vocabulary is made for `tile` places at a time, forwards and backwards, so that no array
    `[n, V]` is kept.

    Args:
      hidden: `[n, D]`, the places.
      table: `[V, D]`, the embeddings of the vocabulary.
      bias: `[V]`.
      targets: integers `[n]` in 0 ... V - 1.
      weights: non-negative `[n]`, 0 for places that do not count; taken as constants.
      axis_name: mapped axis over which the global batch is spread; None for a single device.
      tile: places at a time; None for as many as make 2^24 logits.

    Returns:
      The scalar whose mean over the axis is the loss of the global batch, and, without gradient, `-log softmax` of each
      place `[n]` and bool `[n]`: whether the largest logit is the target's.

    Raises:
      ValueError: shapes that do not belong together, targets that are no integers, wrong weights or tile.

    >>> h, table = jnp.ones((3, 2)), jnp.zeros((4, 2))
    >>> loss, (each, right) = vocabulary_cross_entropy(h, table, jnp.zeros(4), jnp.array([0, 1, 2]), jnp.ones(3))
    >>> round(float(loss), 4)  # log 4
    1.3863

    Source: Devlin et al., https://arxiv.org/abs/1810.04805, appendix A.1; the normaliser is the global one, where the
    official code divides by that of each device.
    """
    targets = arguments.integers("targets", targets)
    hidden, table, bias, weights, _ = arguments.arrays(
        "pass one target and one weight a place", hidden=(hidden, "n D"), table=(table, "V D"), bias=(bias, "V"),
        weights=(arguments.weights("weights", weights), "n"), targets=(targets, "n"),
    )  # fmt: skip
    if tile is not None:
        arguments.whole("tile", tile)
    n, v = len(hidden), len(table)
    tile = min(tile or max(1, TILE // v), n)
    missing = -n % tile

    def tiles(x):
        return jnp.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1)).reshape(-1, tile, *x.shape[1:])

    @jax.checkpoint
    def loss_of_tile(table, bias, hidden, target):
        logits = widen(jnp.einsum("nd,vd->nv", hidden, table.astype(hidden.dtype), precision=_precision(hidden)))
        logits = logits + bias[None]
        right = jnp.argmax(lax.stop_gradient(logits), axis=1) == target
        own = jnp.take_along_axis(logits, target[:, None], axis=1)[:, 0]
        return jax.nn.logsumexp(logits, axis=1) - own, right

    losses, right = lax.map(lambda rows: loss_of_tile(table, bias, *rows), (tiles(hidden), tiles(targets)))
    losses, right = losses.reshape(-1)[:n], right.reshape(-1)[:n]
    weights = lax.stop_gradient(weights).astype(losses.dtype)
    total = pmean(jnp.sum(weights), axis_name)
    loss = jnp.sum(jnp.where(weights > 0, weights * losses, 0)) / jnp.maximum(total, 1e-6)
    return loss, (lax.stop_gradient(losses), right)


def _precision(x):
    """Full precision of float32 products, whose default on accelerators is less; that of narrower ones as it is."""
    return lax.Precision.HIGHEST if x.dtype == jnp.float32 else None
