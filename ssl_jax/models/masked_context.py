"""The context of a grid of patches, from the rows above: masked convolutions as in a PixelCNN."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp


class MaskedContext(nn.Module):
    """`layers` residual layers, in which a place sees its own row and those above, and predictions of rows below.

    A layer is a 1x1 convolution, ReLU, a 1x3 and a 2x1 convolution that looks up, ReLU, a 1x1 convolution. One linear
    map a row predicts what stands so many rows below.

    Args:
      steps: rows that are predicted, K.
      targets: values of a prediction, D.
      hidden: channels inside a layer.
      layers: their number.
      dtype: of the computation; parameters are float32 or wider.

    Call with a grid of features `[b, h, w, C]`; returns predictions `[b, K, h, w, D]`.

    >>> model, grid = MaskedContext(steps=2, targets=3, hidden=4, layers=1), jnp.ones((1, 4, 4, 5))
    >>> model.apply(model.init(jax.random.key(0), grid), grid).shape
    (1, 2, 4, 4, 3)

    Source: Henaff et al. 2020, https://arxiv.org/abs/1905.09272, appendix A.1 (pseudo-code).
    """

    steps: int
    targets: int = 64
    hidden: int = 256
    layers: int = 5
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        wide = jnp.promote_types(self.dtype, jnp.float32)
        channels, x = x.shape[-1], x.astype(self.dtype)

        def conv(features, size, name, padding="SAME"):
            return nn.Conv(features, size, padding=padding, dtype=self.dtype, param_dtype=wide, name=name)

        for i in range(1, self.layers + 1):
            y = nn.relu(conv(self.hidden, (1, 1), f"in_{i}")(x))
            y = conv(self.hidden, (1, 3), f"across_{i}")(y)
            y = nn.relu(conv(self.hidden, (2, 1), f"up_{i}", ((1, 0), (0, 0)))(y))
            x = x + conv(channels, (1, 1), f"out_{i}")(y)
        x = conv(self.steps * self.targets, (1, 1), "prediction")(nn.relu(x))
        return jnp.moveaxis(x.reshape(*x.shape[:3], self.steps, self.targets), 3, 1)


def grid_rotated(grid, quarters: int, axes: tuple[int, int] = (1, 2)):
    """A grid rotated by quarters of a turn, so that another direction is down."""
    return jnp.rot90(grid, quarters, axes) if quarters % 4 else jnp.asarray(grid)


