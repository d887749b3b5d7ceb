"""Batch normalisation whose statistics belong to the global batch, or to groups of it, on any number of devices."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from ssl_jax import collectives


class BatchNorm(nn.Module):
    """Batch normalisation over every axis but the last: `y = (x - mean) / sqrt(var + epsilon) * scale + bias`.

    In training the mean and the biased variance are those of the global batch (`groups=1`), or of the group a row
    belongs to. `groups` counts groups of the GLOBAL batch: per-GPU batch norm as published on 8 GPUs is `groups=8` on
    one device as on eight. Running statistics, used where `train` is false, decay by `momentum`; the new value is the
    mean over groups of their means and of their unbiased variances `var * n / (n - 1)`. `init` leaves them at 0 and 1.

    Args:
        axis_name: the device axis that the batch is spread over; None where the batch is whole.
        groups: number of groups of the global batch, each with statistics of its own.
        momentum: decay of the running statistics, `new = momentum * old + (1 - momentum) * batch`.
        epsilon: added to the variance.
        use_scale: whether there is a learned `scale [C]`.
        use_bias: whether there is a learned `bias [C]`.
        scale_init: initializer of `scale`; zeros for the last norm of a residual block.
        dtype: of the output; None keeps the input's. Parameters and statistics are float32 or wider.

    Call with:
        x: float [b, ..., C], this device's rows.
        train: batch statistics if true, running statistics if false.
        group_ids: int32 [b], the group of every row, none of them empty; None = contiguous blocks of the global batch.

    Returns: the shape of `x`.

    Raises:
        ValueError: x is no float array of rank 2 or more, group_ids is not [b], or blocks would be unequal.

    >>> norm = BatchNorm()
    >>> x = jnp.array([[1.0], [3.0]])
    >>> variables = norm.init(jax.random.key(0), x, train=True)
    >>> y, updated = norm.apply(variables, x, train=True, mutable=["batch_stats"])
    >>> y.round(3).tolist(), updated["batch_stats"]["mean"].round(3).tolist()
    ([[-1.0], [1.0]], [0.20000000298023224])

    Source: Ioffe and Szegedy, https://arxiv.org/abs/1502.03167, algorithms 1 and 2; groups as in MoCo,
    https://arxiv.org/abs/1911.05722, section 3.3.
    """

    axis_name: str | None = None
    groups: int = 1
    momentum: float = 0.9
    epsilon: float = 1e-5
    use_scale: bool = True
    use_bias: bool = True
    scale_init: nn.initializers.Initializer = nn.initializers.ones
    dtype: Any = None

    @nn.compact
    def __call__(self, x, *, train: bool, group_ids=None):
        if x.ndim < 2 or not jnp.issubdtype(x.dtype, jnp.floating):
            raise ValueError(
                f"BatchNorm was given {x.dtype} {list(x.shape)} and expects floats [b, ..., C]; cast or reshape it."
            )
        dtype = x.dtype if self.dtype is None else self.dtype
        wide = jnp.promote_types(jnp.promote_types(dtype, x.dtype), jnp.float32)
        channels = x.shape[-1:]
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels, wide)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels, wide)

        # Subtract the running mean first: variance is shift-invariant, and one-pass sums of squares then lose no digits
        # to a large mean.
        shift = running_mean.value
        x = x.astype(wide) - _per_row(shift[None], x.ndim)
        members = None
        if train and not self.is_initializing():
            members = self._members(x, group_ids)
            mean, var, count = _moments(x, members, self.axis_name)
            unbiased = jnp.mean(var * (count / jnp.maximum(count - 1, 1)), axis=0)
            running_mean.value = shift + (1 - self.momentum) * jnp.mean(mean, axis=0)
            running_var.value = self.momentum * running_var.value + (1 - self.momentum) * unbiased
        else:
            mean, var = jnp.zeros_like(shift)[None], running_var.value[None]

        # y = x * gain + offset with [G, C] gains and offsets, so that the backward pass also needs only two sums.
        gain = lax.rsqrt(var + self.epsilon)
        if self.use_scale:
            gain = gain * self.param("scale", self.scale_init, channels, wide)[None]
        offset = -mean * gain
        if self.use_bias:
            offset = offset + self.param("bias", nn.initializers.zeros, channels, wide)[None]
        if members is not None:
            gain, offset = (jnp.sum(members[:, :, None] * values, axis=1) for values in (gain[None], offset[None]))
        return (x * _per_row(gain, x.ndim) + _per_row(offset, x.ndim)).astype(dtype)

    def _members(self, x, group_ids):
        """One-hot group membership `[b, G]` of this device's rows, or None where there is one group."""
        if self.groups == 1:
            return None
        if group_ids is None:
            group_ids = contiguous_groups(len(x), self.groups, self.axis_name)
        elif group_ids.shape != x.shape[:1]:
            raise ValueError(
                f"BatchNorm was given group_ids {list(group_ids.shape)} for {len(x)} rows and expects [{len(x)}]; "
                "pass the group of each row of this device."
            )
        return jax.nn.one_hot(group_ids, self.groups, dtype=x.dtype)


def contiguous_groups(b: int, groups: int, axis_name: str | None = None):
    """Groups of per-device batch norm: equal contiguous blocks of the global batch, on any number of devices.

    Args:
        b: rows on this device.
        groups: number of groups of the global batch.
        axis_name: the device axis that the batch is spread over.

    Returns: int32 [b], for `group_ids` of `BatchNorm`.

    Raises:
        ValueError: the global batch is not divisible by `groups`.

    >>> contiguous_groups(4, groups=2).tolist()
    [0, 0, 1, 1]
    """
    return _shard(_blocks(b * collectives.axis_size(axis_name), groups), b, axis_name)


def shuffled_groups(key, b: int, groups: int, axis_name: str | None = None):
    """Groups of shuffled batch norm: equal groups of rows drawn at random from the global batch.

    Shuffling the ids gives every row the statistics that shuffling the images over devices would, and moves no image.

    Args:
        key: the step's key, the same on every device.
        b: rows on this device.
        groups: number of groups of the global batch.
        axis_name: the device axis that the batch is spread over.

    Returns: int32 [b], for `group_ids` of `BatchNorm`.

    Raises:
        ValueError: the global batch is not divisible by `groups`.

    >>> ids = shuffled_groups(jax.random.key(0), 8, groups=4)
    >>> jnp.bincount(ids).tolist()
    [2, 2, 2, 2]

    Source: MoCo, https://arxiv.org/abs/1911.05722, section 3.3.
    """
    blocks = _blocks(b * collectives.axis_size(axis_name), groups)
    return _shard(jax.random.permutation(key, blocks), b, axis_name)


def _moments(x, members, axis_name):
    """Mean `[G, C]`, biased variance `[G, C]` and number of values `[G, 1]` of each group, by one collective."""
    if members is None:
        axes = tuple(range(x.ndim - 1))
        sums = jnp.concatenate([jnp.sum(x, axes), jnp.sum(x * x, axes)])[None]
        sums = collectives.psum(sums, axis_name)
        count = jnp.full((1, 1), x.size // x.shape[-1] * collectives.axis_size(axis_name), x.dtype)
    else:
        axes = tuple(range(1, x.ndim - 1))
        values = jnp.full((len(x), 1), x[0, ..., 0].size, x.dtype)
        rows = jnp.concatenate([jnp.sum(x, axes), jnp.sum(x * x, axes), values], axis=1)
        sums = jnp.einsum("bg,bc->gc", members, rows, precision=lax.Precision.HIGHEST)
        sums = collectives.psum(sums, axis_name)
        sums, count = sums[:, :-1], sums[:, -1:]
    mean, mean_square = jnp.split(sums / count, 2, axis=1)
    return mean, jnp.maximum(mean_square - mean * mean, 0), count


def _per_row(values, ndim: int):
    """`[n, C]` as `[n, 1, ..., 1, C]`, ready to broadcast against `[b, ..., C]`; n is 1 or b."""
    return values.reshape(values.shape[:1] + (1,) * (ndim - 2) + values.shape[1:])


def _blocks(batch: int, groups: int):
    """Group ids `[batch]` of equal contiguous blocks of the global batch."""
    if batch % groups:
        raise ValueError(
            f"BatchNorm was given a global batch of {batch} rows and expects a multiple of groups={groups}; "
            "change the batch size or the number of groups."
        )
    return jnp.arange(batch, dtype=jnp.int32) // (batch // groups)


def _shard(ids, b: int, axis_name):
    """This device's `[b]` of ids of the global batch."""
    return lax.dynamic_slice_in_dim(ids, collectives.axis_index(axis_name) * b, b)


class MapNorm(nn.Module):
    """Layer normalisation of a whole map: over all axes but the first, with a scale and an offset for each channel.

    For networks that no batch statistics may enter; called as `BatchNorm` is.

    Args:
        epsilon: added to the variance.
        scale_init: initializer of `scale`.
        dtype: of the output; None keeps the input's. Parameters and statistics are float32 or wider.

    Call with x, float [b, ..., C]; `train` and `group_ids` are unused.

    >>> x = jax.random.normal(jax.random.key(0), (2, 4, 4, 3))
    >>> y, _ = MapNorm().init_with_output(jax.random.key(1), 5 + 2 * x, train=True)
    >>> bool(jnp.allclose(y.mean((1, 2, 3)), 0, atol=1e-5))
    True

    Source: Ba et al., https://arxiv.org/abs/1607.06450, section 3.
    """

    epsilon: float = 1e-5
    scale_init: nn.initializers.Initializer = nn.initializers.ones
    dtype: Any = None

    @nn.compact
    def __call__(self, x, *, train: bool, group_ids=None):
        wide, axes = jnp.promote_types(x.dtype, jnp.float32), tuple(range(1, x.ndim))
        y = x.astype(wide)
        y = y - y.mean(axes, keepdims=True)
        y = y * jax.lax.rsqrt(jnp.square(y).mean(axes, keepdims=True) + self.epsilon)
        shape = (1,) * (x.ndim - 1) + (x.shape[-1],)
        scale = self.param("scale", self.scale_init, shape[-1:], wide).reshape(shape)
        bias = self.param("bias", nn.initializers.zeros, shape[-1:], wide).reshape(shape)
        return (y * scale + bias).astype(self.dtype or x.dtype)


class NoNorm(nn.Module):
    """The identity, called as a norm is: for networks that were published without one."""

    scale_init: nn.initializers.Initializer = nn.initializers.ones
    dtype: Any = None

    @nn.compact
    def __call__(self, x, *, train: bool, group_ids=None):
        return x
