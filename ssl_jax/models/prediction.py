"""What predicts the next K frames of a sequence from its contexts: `[b, S, C]` to `[b, K, S, D]`."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.models.dropout import Dropout
from ssl_jax.models.initializers import DENSE_INITS

TORCH = DENSE_INITS["torch"]


class LinearPrediction(nn.Module):
    """One matrix a step: `p_tk = W_k c_t`, without bias, which makes `p_tk . z` log-bilinear.

    >>> predict = LinearPrediction(steps=3, features=2, dtype=jnp.float32)
    >>> predict.init_with_output(jax.random.key(0), jnp.ones((1, 5, 4)))[0].shape
    (1, 3, 5, 2)

    Source: van den Oord et al. 2018, https://arxiv.org/abs/1807.03748, section 2.3.
    """

    steps: int
    features: int
    dtype: Any

    @nn.compact
    def __call__(self, context, *, keys=None, train=False):
        b, contexts, _ = context.shape
        flat = nn.Dense(
            self.steps * self.features, use_bias=False, kernel_init=TORCH["kernel_init"], dtype=self.dtype,
            param_dtype=jnp.promote_types(self.dtype, jnp.float32), name="steps",
        )(context)  # fmt: skip
        return jnp.moveaxis(flat.reshape(b, contexts, self.steps, self.features), 2, 1)


class TransformerPrediction(nn.Module):
    """One transformer layer a step, over all contexts up to the one that it predicts from; C is D.

    Call with `keys`, typed PRNG keys [b], where `train` is true: the layers drop values.

    Source: facebookresearch/CPC_audio, cpc/transformers.py, `buildTransformerAR`.
    """

    steps: int
    features: int
    dtype: Any
    heads: int = 8
    hidden: int = 2048
    dropout: float = 0.1

    @nn.compact
    def __call__(self, context, *, keys=None, train=False):
        own = None
        if train:
            own = jax.vmap(lambda step: jax.vmap(jax.random.fold_in, (0, None))(keys, step))(jnp.arange(self.steps))
        layers = nn.vmap(
            RelativeLayer, variable_axes={"params": 0}, split_rngs={"params": True},
            in_axes=(None, 0 if train else None), out_axes=1, axis_size=self.steps,
        )  # fmt: skip
        return layers(self.heads, self.hidden, self.dropout, train, self.dtype, name="steps")(context, own)


class RelativeLayer(nn.Module):
    """A causal transformer layer whose norms come last and whose attention knows how far back a context lies.

    The logits are `(q_t . k_u + q_t . r_(t - u)) / sqrt(d)`, with a learned vector r of every distance for all heads.
    """

    heads: int
    hidden: int
    dropout: float
    train: bool
    dtype: Any

    @nn.compact
    def __call__(self, x, keys):
        (b, length, width), wide = x.shape, jnp.promote_types(self.dtype, jnp.float32)
        size, dtypes = width // self.heads, {"dtype": self.dtype, "param_dtype": wide}

        def dense(features, name, fan_in=None):
            bias = {"use_bias": False} if fan_in is None else {"bias_init": TORCH["bias_init"](fan_in)}
            return nn.Dense(features, kernel_init=TORCH["kernel_init"], name=name, **bias, **dtypes)

        def norm(name):
            return nn.LayerNorm(1e-5, use_fast_variance=False, name=name, **dtypes)

        q, k, v = (dense(width, name)(x).reshape(b, length, self.heads, size) for name in ("query", "key", "value"))
        distances = self.param("distances", _uniform(size), (length, size), wide).astype(self.dtype)
        back = jnp.arange(length)[:, None] - jnp.arange(length)[None]
        logits = jnp.einsum("bthd,buhd->bhtu", q, k) + jnp.einsum("bthd,tud->bhtu", q, distances[jnp.maximum(back, 0)])
        logits = jnp.where((back >= 0)[None, None], logits.astype(wide) / size**0.5, -jnp.inf)
        weights = Dropout(self.dropout, 0)(jax.nn.softmax(logits).astype(self.dtype), keys, self.train)
        y = jnp.einsum("bhtu,buhd->bthd", weights, v).reshape(x.shape)
        x = norm("norm_1")(x + dense(width, "out")(y))
        y = Dropout(self.dropout, 1)(nn.relu(dense(self.hidden, "dense_1", width)(x)), keys, self.train)
        return norm("norm_2")(x + dense(width, "dense_2", self.hidden)(y))


def _uniform(size: int):
    return lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -(size**-0.5), size**-0.5)


KINDS = {"linear": LinearPrediction, "transformer": TransformerPrediction}
