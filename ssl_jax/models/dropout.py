"""Stochastic depth and dropout whose masks belong to the examples, on any number of devices."""

import flax.linen as nn
import jax
import jax.numpy as jnp

DROPOUT = 2**20  # folded into the keys of `Dropout`, so that it never draws what `DropPath` does


class DropPath(nn.Module):
    """Stochastic depth: a row of the residual is dropped with probability `rate`, `y = x * kept / (1 - rate)`.

    The mask of a row depends on the key of its example and on `layer` alone, so neither the number of devices nor the
    order of the batch changes it. Linen's own dropout draws one mask per device. The identity if `rate` is 0 or `train`
    is false, and where a model is initialised without keys.

    Args:
        rate: probability of dropping a row, in [0, 1).
        layer: number of this layer in its network; layers with different numbers draw different masks.

    Call with:
        x: float [b, ...], the output of a residual branch.
        keys: [b] typed PRNG keys, one per example: the step's key folded with the example's place in the global batch,
            and used for nothing else; None where nothing is drawn.
        train: whether rows are dropped.

    Returns: the shape and the dtype of `x`.

    Raises:
        ValueError: `rate` outside of [0, 1), rows to drop without keys, or keys that are not [b] typed keys.

    >>> keys = jax.random.split(jax.random.key(0), 4)
    >>> y = DropPath(0.5).apply({}, jnp.ones((4, 2)), keys, train=True)
    >>> sorted({row for row in map(tuple, y.tolist())})
    [(0.0, 0.0), (2.0, 2.0)]

    Source: Huang et al., https://arxiv.org/abs/1603.09382, equation 2; the kept rows are divided by 1 - rate instead of
    multiplying by it at test time, as in timm.
    """

    rate: float = 0.0
    layer: int = 0

    @nn.compact
    def __call__(self, x, keys, train: bool):
        if not _draws(self, x, keys, train):
            return x
        return _drop(x, self.rate, jax.vmap(jax.random.fold_in, (0, None))(keys, self.layer), ())


class Dropout(nn.Module):
    """Dropout: a value is dropped with probability `rate`, `y = x * kept / (1 - rate)`.

    As `DropPath`, with a draw for every value instead of one for the row.

    Args:
        rate: probability of dropping a value, in [0, 1).
        layer: number of this layer in its network; layers with different numbers draw different masks.

    Call with:
        x: float [b, ...].
        keys: [b] typed PRNG keys, one per example; None where nothing is drawn.
        train: whether values are dropped.

    Returns: the shape and the dtype of `x`.

    Raises:
        ValueError: `rate` outside of [0, 1), values to drop without keys, or keys that are not [b] typed keys.

    >>> keys = jax.random.split(jax.random.key(0), 2)
    >>> y = Dropout(0.5).apply({}, jnp.ones((2, 8)), keys, train=True)
    >>> sorted(set(y.ravel().tolist()))
    [0.0, 2.0]

    Source: Srivastava et al., JMLR 15 (2014), section 4; kept values are divided by 1 - rate instead of multiplying the
    weights by it at test time.
    """

    rate: float = 0.0
    layer: int = 0

    @nn.compact
    def __call__(self, x, keys, train: bool):
        if not _draws(self, x, keys, train):
            return x
        keys = jax.vmap(lambda key: jax.random.fold_in(jax.random.fold_in(key, DROPOUT), self.layer))(keys)
        return _drop(x, self.rate, keys, x.shape[1:])


def _draws(module, x, keys, train: bool) -> bool:
    """Whether there is anything to drop.

    Raises:
        ValueError: a wrong rate, or wrong keys where there is.
    """
    name, rate = type(module).__name__, module.rate
    if not 0 <= rate < 1:
        raise ValueError(f"{name} was given rate {rate} and expects 0 <= rate < 1; lower it.")
    if rate == 0 or not train or (keys is None and module.is_initializing()):
        return False
    if keys is None:
        raise ValueError(
            f"{name} was given rate {rate} with train=True and no keys, and expects one key per example; pass keys "
            "[b], or train=False."
        )
    if keys.shape != x.shape[:1] or not jnp.issubdtype(keys.dtype, jax.dtypes.prng_key):
        raise ValueError(
            f"{name} was given {keys.dtype} {list(keys.shape)} as keys and expects typed keys [{len(x)}]; "
            "fold the index of each example into jax.random.key(seed)."
        )
    return True


def _drop(x, rate: float, keys, shape: tuple):
    """A draw of `shape` for every row of x."""
    # Always float32, so that runs in double precision and those in single precision drop the same.
    kept = jax.vmap(lambda key: jax.random.uniform(key, shape, jnp.float32))(keys) >= rate
    return jnp.where(kept.reshape(*kept.shape, *(1,) * (x.ndim - kept.ndim)), x / (1 - rate), 0)
