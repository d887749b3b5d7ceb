"""The global batch as tiles of rows, and the sweep in which every tile meets every other on any devices.

The tiles are numbered through the global batch: with T of them on n devices, device d holds tiles d t ... d t + t - 1,
t = T / n. At offset k row tile r meets column tile (r + k) mod T. A device therefore needs a window of t column tiles
that moves on by one tile with every offset, so each device sends one tile per offset to its neighbour in the ring, with
what has been summed up for it. What a tile meets, and in which order, does not depend on n, so neither do the bits of
the sums.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ssl_jax import collectives
from ssl_jax.losses.tiled.plan import Plan, plan_for

GATHERED_BELOW = 512  # smaller global batches are not worth the loops
CANONICAL = 8  # canonical tiles at least, so that they are the same on 1, 2, 4 and 8 devices


class Tiles(NamedTuple):
    """How the `rows` of each device are cut: into `count` tiles of `size` rows, the last one filled up.

    `gathered` says that the batch is too small for loops: one tile a device, which meets the gathered batch at once.
    `plan` is how the tiles are handled.
    """

    rows: int
    size: int
    axis_name: str | None
    gathered: bool
    plan: Plan

    @property
    def count(self) -> int:
        """Tiles on each device."""
        return -(-self.rows // self.size)

    def split(self, x, fill=0):
        """`[rows, ...]` as `[count, size, ...]`, filled up with `fill`."""
        missing = self.count * self.size - self.rows
        if missing:
            x = jnp.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1), constant_values=fill)
        return x.reshape(self.count, self.size, *x.shape[1:])

    def join(self, x):
        """`[count, size, ...]` as `[rows, ...]`: what `split` was given."""
        return x.reshape(-1, *x.shape[2:])[: self.rows]

    def spread(self, scalar):
        """A scalar of the whole batch as one for each row, `[count, size]`; its gradient is summed in a fixed order."""
        return _spread(jnp.asarray(scalar), (self.count, self.size), self.axis_name)

    def mean(self, losses, weights=None, reduction="mean"):
        """`embeddings.mean` of `losses`, `[count, size]`; the same bits of the global value on every device.

        Its gradient is that of the local mean: what a device makes of its value weights the rows that it owns.
        """
        if reduction == "none":
            return self.join(losses)
        weights = jnp.ones(self.rows) if weights is None else lax.stop_gradient(jnp.asarray(weights))
        return _mean(losses, self.split(weights.astype(losses.dtype)), self.axis_name)


def cut(rows: int, axis_name: str | None, block_size: int | None, views: int = 1, plan: Plan | None = None) -> Tiles:
    """The tiles of `rows` examples a device, each of `block_size` examples or as many as suit the plan.

    An example has `views` rows of logits. Without a plan it is that of the backend: here alone it is asked for.
    """
    plan = plan or plan_for(jax.default_backend())
    batch = rows * collectives.axis_size(axis_name)
    if block_size is not None:
        return Tiles(rows, min(block_size, rows), axis_name, gathered=False, plan=plan)
    if batch < GATHERED_BELOW:
        return Tiles(rows, rows, axis_name, gathered=True, plan=plan)
    if plan.canonical_tiles:
        # Large tiles mean fewer loop steps, which dominate small batches; above 16,384 rows smaller ones save memory.
        size, largest = batch // math.gcd(batch, CANONICAL), (1024 if batch <= 16384 else 512) // views
    else:
        size, largest = rows, 8192 // views
    while size > largest:
        size = -(-size // 2)
    return Tiles(rows, min(size, rows), axis_name, gathered=False, plan=plan)


def cut_queue(batch: Tiles, keys: int, block_size: int | None) -> tuple[Tiles, Tiles]:
    """The tiles of the queries, given those of `cut`, and of the keys of a queue that is on every device."""
    queries = batch.rows * collectives.axis_size(batch.axis_name)
    if batch.gathered and queries * keys <= GATHERED_BELOW**2:
        return batch, Tiles(keys, keys, None, gathered=True, plan=batch.plan)
    return batch._replace(gathered=False), cut(keys, None, block_size, plan=batch.plan)._replace(gathered=False)


def sweep(
    meet: Callable, rows, row_sums, columns, column_sums, *,
    offsets: int, axis_name=None, stagger=True, parts=1, late_shift=False,
):  # fmt: skip
    """Every row tile meets the column tiles at `offsets` offsets in turn; what they sum up comes back in place.

    Args:
      meet: `(offset, row, row_sum, column, column_sum) -> row_sum, column_sum` for a part of a row tile and a column
        tile.
      rows, row_sums: trees of `[t, ...]`, this device's row tiles and what is summed up for them, the start.
      columns, column_sums: likewise for the column tiles, which are passed along the ring.
      offsets: how many offsets, from 0 on; static.
      axis_name: the ring; None where all column tiles are here.
      stagger: whether row tile r begins with column tile r; False: with column tile 0, where all columns are on
        every device.
      parts: into how many parts row tiles are cut, so that what `meet` makes of a pair is small.
      late_shift: whether a column tile is sent on only after all row tiles here have met theirs.

    Returns:
      `row_sums` and `column_sums`.
    """
    held, count = (len(jax.tree.leaves(tree)[0]) for tree in (columns, rows))
    rotates = collectives.axis_size(axis_name) > 1
    rows, row_sums = _regroup((rows, row_sums), count * parts)

    def at_offset(carry, offset):
        moving, row_sums, column_sums = carry

        def at_row(i, sums):
            row_sums, column_sums, ticks = sums
            j = (offset + i // parts if stagger else offset) % held
            column = _take(moving if rotates else columns, j)
            row_sum, column_sum = meet(offset, _take(rows, i), _take(row_sums, i), column, _take(column_sums, j))
            return _put(row_sums, row_sum, i), _put(column_sums, column_sum, j), ticks + 1

        row_sums, column_sums, ticks = lax.fori_loop(0, count * parts, at_row, (row_sums, column_sums, offset))
        if rotates:
            # The device before this one needs next what the first row tile here has just met. A late shift depends on
            # the end of the loop (ticks - count * parts is the offset): XLA would send before it, and keep a copy of
            # all that moves.
            slot = (ticks - count * parts if late_shift else offset) % held
            received = _shift(_take((moving, column_sums), slot), axis_name)
            moving, column_sums = _put((moving, column_sums), received, slot)
        return (moving, row_sums, column_sums), None

    start = (columns if rotates else (), row_sums, column_sums)
    (_, row_sums, column_sums), _ = lax.scan(at_offset, start, jnp.arange(offsets, dtype=jnp.int32))
    row_sums = _regroup(row_sums, count)
    return row_sums, _unshift(column_sums, offsets, axis_name) if rotates else column_sums


def _regroup(tree, count: int):
    """Tiles `[t, m, ...]` as `count` tiles of the same rows."""
    return jax.tree.map(lambda x: x if len(x) == count else x.reshape(count, -1, *x.shape[2:]), tree)


def _shift(tree, axis_name):
    """A tree of arrays to the device before this one: matrices as they are, all that is small as one message."""
    leaves, structure = jax.tree.flatten(tree)
    received = [collectives.ppermute(leaf, axis_name, shift=-1) if leaf.ndim > 1 else None for leaf in leaves]
    small = [i for i, leaf in enumerate(leaves) if leaf.ndim <= 1]
    words = [lax.bitcast_convert_type(leaves[i], jnp.int32) for i in small]  # whatever the dtype: the same bits
    if words:
        message = collectives.ppermute(jnp.concatenate([word.ravel() for word in words]), axis_name, shift=-1)
        parts = jnp.split(message, np.cumsum([word.size for word in words])[:-1])
        for i, word, part in zip(small, words, parts, strict=True):
            received[i] = lax.bitcast_convert_type(part.reshape(word.shape), leaves[i].dtype)
    return jax.tree.unflatten(structure, received)


def _unshift(sums, shifts: int, axis_name):
    """Sums on the devices of their tiles again, from a window that has moved on by `shifts` tiles."""

    def back(x):
        held = len(x)
        if shifts % (held * collectives.axis_size(axis_name)) == 0:
            return x
        devices, tiles = divmod(shifts, held)
        x = jnp.roll(x, -tiles, axis=0)  # in the order of the tiles
        near = collectives.ppermute(x[: held - tiles], axis_name, shift=devices)
        if not tiles:
            return near
        return jnp.concatenate([collectives.ppermute(x[held - tiles :], axis_name, shift=devices + 1), near])

    return jax.tree.map(back, sums)


def _take(tree, i):
    """Tile i of each array; without a copy where there is but one."""
    return jax.tree.map(lambda x: x[0] if len(x) == 1 else lax.dynamic_index_in_dim(x, i, keepdims=False), tree)


def _put(tree, value, i):
    """Each array with another tile i."""

    def put(x, new):
        new = new.astype(x.dtype)
        return new[None] if len(x) == 1 else lax.dynamic_update_index_in_dim(x, new, i, 0)

    return jax.tree.map(put, tree, value)


def sum_of_each(x, ordered: bool):
    """Sum over the last axis; if ordered, in an order that does not depend on the number of rows."""
    return _tree_sum(jnp.moveaxis(x, -1, 0)) if ordered else jnp.sum(x, axis=-1)


def _total(x, axis_name):
    """The sum of `[t, size, ...]` over the rows of all tiles of all devices: the same bits on any number of devices."""
    return _tree_sum(collectives.all_gather(_tree_sum(jnp.moveaxis(x, 1, 0)), axis_name))


def _tree_sum(x):
    """The sum over the first axis as a tree, written out, so that no compiler chooses the order."""
    whole = 1 << (len(x).bit_length() - 1)
    if over := len(x) - whole:
        x = jnp.concatenate([x[:over] + x[whole:], x[over:whole]])
    while len(x) > 1:
        x = x[: len(x) // 2] + x[len(x) // 2 :]
    return x[0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _mean(losses, weights, axis_name):
    return _mean_forward(losses, weights, axis_name)[0]


def _mean_forward(losses, weights, axis_name):
    # One collective, which has to wait for the losses: two that may run in any order could wait for each other.
    loss, weight = _total(jnp.stack([weights * losses, weights], axis=-1), axis_name)
    return loss / weight, (weights, weight)


def _mean_backward(axis_name, kept, gradient):
    weights, weight = kept
    return gradient * weights * (collectives.axis_size(axis_name) / weight), None


_mean.defvjp(_mean_forward, _mean_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _spread(scalar, shape, axis_name):
    return jnp.full(shape, scalar)


def _spread_forward(scalar, shape, axis_name):
    return _spread(scalar, shape, axis_name), None


def _spread_backward(shape, axis_name, _, gradients):
    # Summed up over all tiles in their order, and shared evenly: the mean over devices is the gradient of the batch.
    return (_total(gradients, axis_name) / collectives.axis_size(axis_name),)


_spread.defvjp(_spread_forward, _spread_backward)
