"""Stochastic depth whose masks belong to the examples, on any number of devices."""

import flax.linen as nn
import jax
import jax.numpy as jnp


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
        if not 0 <= self.rate < 1:
            raise ValueError(f"DropPath was given rate {self.rate} and expects 0 <= rate < 1; lower it.")
        if self.rate == 0 or not train or (keys is None and self.is_initializing()):
            return x
        if keys is None:
            raise ValueError(
                f"DropPath was given rate {self.rate} with train=True and no keys, and expects one key per example; "
                "pass keys [b], or train=False."
            )
        if keys.shape != x.shape[:1] or not jnp.issubdtype(keys.dtype, jax.dtypes.prng_key):
            raise ValueError(
                f"DropPath was given {keys.dtype} {list(keys.shape)} as keys and expects typed keys [{len(x)}]; "
                "fold the index of each example into jax.random.key(seed)."
            )

        def is_kept(key):
            # Always float32, so that runs in double precision and those in single precision drop the same rows.
            return jax.random.uniform(jax.random.fold_in(key, self.layer), (), jnp.float32) >= self.rate

        kept = jax.vmap(is_kept)(keys).reshape(-1, *(1,) * (x.ndim - 1))
        return jnp.where(kept, x / (1 - self.rate), 0)
