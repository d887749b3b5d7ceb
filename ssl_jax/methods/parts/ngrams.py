"""Telling a word from its neighbours by counting: the trivial predictions beside a masked language model."""

import jax.numpy as jnp
import numpy as np


def count(tokens: np.ndarray, size: int) -> dict[str, np.ndarray]:
    """What follows which token most often in rows of tokens, as facts.

    Args:
      tokens: int32 `[N, T]`, padded by 0, which is not counted.
      size: of the vocabulary, V.

    Returns:
      `commonest`: int32, the commonest token but for the special ones; `after`: int32 `[V]`, that which follows each
      one most often; `pairs`, uint32 `[K]` in rising order, and `between`, int32 `[K]`: pairs of tokens as
      `left V + right`, exact up to 65,536 tokens, and what stands between them most often.
    """
    left, middle, right = (tokens[:, i : tokens.shape[1] - 2 + i].ravel().astype(np.int64) for i in range(3))
    real = (left > 0) & (middle > 0) & (right > 0)
    left, middle, right = left[real], middle[real], right[real]
    singles = np.bincount(middle, minlength=size)
    singles[:5] = 0
    after = np.full(size, singles.argmax(), np.int32)
    follows, what = commonest(left, middle)
    after[follows] = what
    pairs, between = commonest((left * size + right) % 2**32, middle)
    return {
        "commonest": np.int32(singles.argmax()), "after": after, "pairs": pairs.astype(np.uint32),
        "between": between.astype(np.int32),
    }  # fmt: skip


def commonest(given: np.ndarray, what: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different values (0 or more) of `given`, rising, and for each the value of `what` most often with it.

    >>> commonest(np.array([3, 1, 3, 3]), np.array([7, 5, 8, 8]))
    (array([1, 3]), array([5, 8]))
    """
    size = what.max(initial=0) + 1
    both, counts = np.unique(given * size + what, return_counts=True)
    given, what = both // size, both % size
    order = np.lexsort((-counts, given))
    first = np.flatnonzero(np.diff(given[order], prepend=-1))
    return given[order][first], what[order][first]


def tell(facts, tokens, places) -> dict:
    """Tokens int32 `[b, M]` told at places by the commonest word, the left neighbour, and both neighbours."""
    left = jnp.take_along_axis(tokens, jnp.maximum(places - 1, 0), axis=1)
    right = jnp.take_along_axis(tokens, jnp.minimum(places + 1, tokens.shape[1] - 1), axis=1)
    after = jnp.asarray(facts["after"])[left]
    key = left.astype(jnp.uint32) * jnp.uint32(len(facts["after"])) + right.astype(jnp.uint32)
    at = jnp.clip(jnp.searchsorted(jnp.asarray(facts["pairs"]), key), 0, len(facts["pairs"]) - 1)
    known = jnp.asarray(facts["pairs"])[at] == key
    return {
        "the commonest word": jnp.full_like(left, facts["commonest"]), "the left neighbour": after,
        "both neighbours": jnp.where(known, jnp.asarray(facts["between"])[at], after),
    }  # fmt: skip
