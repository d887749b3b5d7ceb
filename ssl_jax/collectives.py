"""Communication between devices: every function is the identity (or the one-device answer) when `axis_name` is None.

All cross-device communication of the project goes through this file, so that the same per-device code runs under
`jax.shard_map`, `jax.pmap`, `jax.vmap(axis_name=...)` and on a single device without an axis.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax


def all_gather(x, axis_name: str | None):
    """The shards of every device along the first axis: `[b, ...] -> [n * b, ...]`, in device order; differentiable."""
    if axis_name is None:
        return x
    return jax.tree.map(lambda leaf: lax.all_gather(leaf, axis_name, tiled=True), x)


def psum(x, axis_name: str | None):
    """Sum over devices of every leaf of `x`."""
    return x if axis_name is None else lax.psum(x, axis_name)


def pmean(x, axis_name: str | None):
    """Mean over devices of every leaf of `x`."""
    return x if axis_name is None else lax.pmean(x, axis_name)


def axis_index(axis_name: str | None):
    """This device's position on the axis, 0 without one."""
    return 0 if axis_name is None else lax.axis_index(axis_name)


def axis_size(axis_name: str | None) -> int:
    """The number of devices on the axis, a Python int; 1 without one."""
    return 1 if axis_name is None else lax.axis_size(axis_name)


def ppermute(x, axis_name: str | None, shift: int = 1):
    """Every device's `x` handed to the device `shift` places further on the ring."""
    if axis_name is None:
        return x
    size = axis_size(axis_name)
    pairs = [(source, (source + shift) % size) for source in range(size)]
    return lax.ppermute(x, axis_name, pairs)


def deal(x, axis_name: str | None, blocks: int):
    """Rows that every device holds in a row, dealt out like cards: device d gets the d-th of every n blocks.

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
