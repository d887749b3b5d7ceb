"""Losses of words among very many: a few drawn negatives, or the path to a leaf of a tree, in place of a softmax.

Both are sums over all pairs of the global batch, as the published update is: one pair after another, each with the
whole learning rate. They take scores, dot products of two vectors, so that the pairs may be laid out in any way.
"""

import jax
import jax.numpy as jnp

from ssl_jax.collectives import axis_size
from ssl_jax.losses import arguments
from ssl_jax.losses.embeddings import nan_unless_finite, widen

SCORES = "broadcast them to one shape, one value a score"


def negative_sampling(positive, negative, *, weights, negative_weights, axis_name=None):
    """Negative sampling, `-sum_p w_p log sigmoid(s_p) - sum_n w_n log sigmoid(-s_n)` over the global batch.

    Args:
      positive: scores `u . v` of words that belong together, of any shape.
      negative: scores of words with drawn ones, of any shape.
      weights: the weight of every positive score, 0 for none, in its shape. Taken as constants.
      negative_weights: likewise for `negative`: k / K where K drawn words stand for k a pair.
      axis_name: mapped axis over which the global batch is spread; None for a single device.

    Returns:
      The local scalar whose mean over the axis is the sum over the global batch.

    Raises:
      ValueError: weights that are not in the shape of their scores.

    >>> s = jnp.zeros((2, 3))
    >>> loss = negative_sampling(s[:, 0], s, weights=jnp.ones(2), negative_weights=jnp.ones((2, 3)))
    >>> round(float(loss), 2)  # 8 log 2
    5.55

    Reference: Mikolov et al. 2013, https://arxiv.org/abs/1310.4546, eq. 4.
    """
    weights = arguments.weights("weights", weights)
    negative_weights = arguments.weights("negative_weights", negative_weights)
    positive, weights = arguments.arrays(SCORES, positive=(positive, "..."), weights=(weights, "..."))
    negative, negative_weights = arguments.arrays(
        SCORES, negative=(negative, "..."), negative_weights=(negative_weights, "...")
    )
    return _sum(-widen(positive), weights, axis_name) + _sum(widen(negative), negative_weights, axis_name)


def hierarchical_softmax(scores, codes, *, weights, axis_name=None):
    """Hierarchical softmax, `-sum w log sigmoid((1 - 2 code) s)` over the nodes of all paths of the global batch.

    Args:
      scores: `u . v` of a vector with each inner node on the path of a word, of any shape.
      codes: 0 or 1, the branch that the path takes at each node, in the shape of the scores.
      weights: the weight of every score, 0 for none, in the shape of the scores. Taken as constants.
      axis_name: mapped axis over which the global batch is spread; None for a single device.

    Returns:
      The local scalar whose mean over the axis is the sum over the global batch.

    Raises:
      ValueError: shapes that differ.

    >>> scores = jnp.array([[2.0, -1.0, 0.0]])
    >>> loss = hierarchical_softmax(scores, jnp.array([[0, 1, 0]]), weights=jnp.array([[1.0, 1.0, 0.0]]))
    >>> round(float(loss), 4)  # log(1 + exp(-2)) + log(1 + exp(-1))
    0.4402

    Reference: Mikolov et al. 2013, https://arxiv.org/abs/1310.4546, eq. 3.
    """
    weights = arguments.weights("weights", weights)
    scores, codes, weights = arguments.arrays(
        SCORES, scores=(scores, "..."), codes=(codes, "..."), weights=(weights, "...")
    )
    scores = widen(scores)
    return _sum(jnp.where(codes == 1, scores, -scores), weights, axis_name)


def _sum(scores, weights, axis_name):
    weights = jax.lax.stop_gradient(weights).astype(scores.dtype)
    return axis_size(axis_name) * jnp.sum(weights * nan_unless_finite(jax.nn.softplus(scores), scores))
