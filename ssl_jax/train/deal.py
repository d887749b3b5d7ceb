"""Rows of contiguous shards redistributed block-cyclically over the devices, and back: for microbatches."""

import math

import jax
import jax.numpy as jnp
from jax import lax

from ssl_jax.collectives import axis_index, axis_size


def deal(x, axis_name: str | None, blocks: int):
    """Redistributes contiguous shards block-cyclically: device d gets the global blocks d, n + d, 2n + d, ...

    The rows of all devices in order are `blocks * n` blocks of equal length, n the number of devices, of which a device
    holds `blocks` that follow one another; afterwards it holds the blocks d, n + d, 2 n + d, ... in this order. So the
    i-th blocks of all devices together are consecutive rows.

    Args:
        x: tree of `[b, ...]`, b divisible by `blocks`.
        axis_name: the device axis.
        blocks: blocks of a device.

    Returns: the tree; `collect` is the inverse.

    >>> deal(jnp.arange(4), None, blocks=2).tolist()
    [0, 1, 2, 3]
    >>> jax.vmap(lambda x: deal(x, "data", blocks=2), axis_name="data")(jnp.arange(8).reshape(2, 4)).tolist()
    [[0, 1, 4, 5], [2, 3, 6, 7]]
    """
    return x if axis_name is None else jax.tree.map(lambda leaf: _deal(leaf, axis_name, blocks, back=False), x)


def collect(x, axis_name: str | None, blocks: int):
    """The inverse of `deal`: every device gets back the rows that it held."""
    return x if axis_name is None else jax.tree.map(lambda leaf: _deal(leaf, axis_name, blocks, back=True), x)


def _deal(x, axis_name, blocks, back):
    """A block a round: every device sends one and receives one, so that the memory is that of the rows themselves."""
    old = x.reshape(blocks, -1, *x.shape[1:])
    new, device = jnp.zeros_like(old), axis_index(axis_name)
    for moves in _rounds(axis_size(axis_name), blocks):
        if back:
            moves = sorted((to, place, giver, own) for giver, own, to, place in moves)
        pairs = [(giver, to) for giver, _, to, _ in moves]
        given = jnp.array([own for _, own, _, _ in moves])[device]
        taken = jnp.array([place for _, _, _, place in sorted(moves, key=lambda move: move[2])])[device]
        block = lax.ppermute(lax.dynamic_index_in_dim(old, given, keepdims=False), axis_name, pairs)
        new = lax.dynamic_update_index_in_dim(new, block, taken, 0)
    return new.reshape(x.shape)


def _rounds(devices: int, blocks: int):
    """Of each of `blocks` rounds the moves (device, its block, device that gets it, place there), sorted.

    With g the common divisor, devices n / g apart have blocks for the same devices: they give different ones of g.
    """
    common = math.gcd(devices, blocks)
    for turn in range(blocks):
        moves = []
        for device in range(devices):
            own = turn - turn % common + (turn + device // (devices // common)) % common
            place, to = divmod(device * blocks + own, devices)
            moves.append((device, own, to, place))
        yield moves
