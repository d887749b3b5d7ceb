"""What predicts the next K frames of a sequence from its contexts: `[b, S, C]` to `[b, K, S, D]`."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from ssl_jax.models.initializers import DENSE_INITS


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
            self.steps * self.features, use_bias=False, kernel_init=DENSE_INITS["torch"]["kernel_init"],
            dtype=self.dtype, param_dtype=jnp.promote_types(self.dtype, jnp.float32), name="steps",
        )(context)  # fmt: skip
        return jnp.moveaxis(flat.reshape(b, contexts, self.steps, self.features), 2, 1)
