"""Weighted k-nearest-neighbour classification of features: no training, no hyper-parameters to tune."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ssl_jax.evaluation.labels import check


def sensible_k(n_train: int, num_classes: int) -> int:
    """200 neighbours, or half the examples a class has on average where that is fewer; at least one.

    200 is the published setting for ImageNet and CIFAR-10. With more neighbours than a class has examples, part of the
    votes come from other classes whatever the features are; half of them leaves room for unequal classes.

    >>> sensible_k(50_000, 10), sensible_k(1_437, 10), sensible_k(8, 10)
    (200, 71, 1)
    """
    return max(1, min(200, n_train // num_classes // 2))


def knn_predict(
    train_features, train_labels, test_features, *, k: int = 200, temperature: float = 0.1, num_classes: int,
    block: int = 256,
) -> np.ndarray:
    """The class with the largest sum of `exp(cosine / temperature)` over the `k` nearest training rows.

    Exact: every test row is compared with every training row, `block` test rows at a time. Equal cosines take the
    training row with the smaller index, equal votes the class with the smaller index.

    Args:
      train_features: float [N, F]; test_features: float [M, F]. L2-normalised inside.
      train_labels: int [N] in `0..num_classes - 1`.
      k: number of neighbours, at most N; `sensible_k` chooses one.
      temperature: of the weights, in units of the cosine; small values leave the vote to the nearest few.
      block: test rows at a time; memory is `block * N` floats.

    Returns:
      int32 [M], the predicted classes.

    Raises:
      ValueError: feature widths differ, features are not finite, labels are not one a row, or not in the range; k is
        not in 1..N, or the temperature is not positive.

    >>> train = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> knn_predict(train, np.array([0, 0, 1]), np.array([[2.0, 0.1], [0.1, 3.0]]), k=2, num_classes=2).tolist()
    [0, 1]

    Wu et al. 2018, arXiv 1805.01978, section 3.4 (k=200, temperature 0.07); the CIFAR-10 demo of MoCo uses 0.1.
    """
    check(train_features, train_labels, test_features, num_classes=num_classes)
    if not 1 <= k <= len(train_features):
        raise ValueError(f"kNN was given k={k} for {len(train_features)} training rows; pass 1 <= k <= that many.")
    if not temperature > 0:
        raise ValueError(f"kNN was given temperature={temperature}; pass a positive number such as 0.1.")
    train = _normalise(jnp.asarray(train_features))
    labels = jnp.asarray(train_labels, jnp.int32)
    predictions = []
    for start in range(0, len(test_features), block):
        rows = np.asarray(test_features[start : start + block])
        # The last block is padded to the size of the others, so that there is one compilation.
        padded = np.pad(rows, ((0, block - len(rows)), (0, 0)))
        voted = _vote(train, labels, padded, k=k, temperature=temperature, num_classes=num_classes)
        predictions.append(np.asarray(voted)[: len(rows)])
    return np.concatenate(predictions)


def _normalise(x):
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return x / jnp.maximum(jnp.linalg.norm(x, axis=1, keepdims=True), 1e-12)


@partial(jax.jit, static_argnames=("k", "num_classes"))
def _vote(train, labels, rows, *, k, temperature, num_classes):
    cosine = jnp.einsum("mf,nf->mn", _normalise(rows), train, precision=lax.Precision.HIGHEST)
    nearest, index = lax.top_k(cosine, k)
    # exp(cosine / temperature) up to a factor common to the row: the winner stays, and nothing overflows.
    weights = jax.nn.softmax(nearest / temperature, axis=1)
    classes = jax.nn.one_hot(labels[index], num_classes)
    votes = jnp.einsum("mk,mkc->mc", weights, classes, precision=lax.Precision.HIGHEST)
    return jnp.argmax(votes, axis=1).astype(jnp.int32)
