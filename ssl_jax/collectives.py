"""Communication between devices: every function is the identity (or the one-device answer) when `axis_name` is None.

All cross-device communication of the project goes through this file, so that the same per-device code runs under
`jax.shard_map`, `jax.pmap`, `jax.vmap(axis_name=...)` and on a single device without an axis.
"""

import jax
from jax import lax


def all_gather(x, axis_name: str | None):
    """The shards of every device along the first axis: `[b, ...] -> [n * b, ...]`, in device order; differentiable."""
    if not _mapped(axis_name):
        return x
    return jax.tree.map(lambda leaf: lax.all_gather(leaf, axis_name, tiled=True), x)


def psum(x, axis_name: str | None):
    """Sum over devices of every leaf of `x`."""
    return lax.psum(x, axis_name) if _mapped(axis_name) else x


def pmean(x, axis_name: str | None):
    """Mean over devices of every leaf of `x`."""
    return lax.pmean(x, axis_name) if _mapped(axis_name) else x


def axis_index(axis_name: str | None):
    """This device's position on the axis, 0 without one."""
    return lax.axis_index(axis_name) if _mapped(axis_name) else 0


def axis_size(axis_name: str | None) -> int:
    """The number of devices on the axis, a Python int; 1 without one."""
    return lax.axis_size(axis_name) if _mapped(axis_name) else 1


def ppermute(x, axis_name: str | None, shift: int = 1):
    """Every device's `x` handed to the device `shift` places further on the ring."""
    if not _mapped(axis_name):
        return x
    size = axis_size(axis_name)
    pairs = [(source, (source + shift) % size) for source in range(size)]
    return lax.ppermute(x, axis_name, pairs)


def _mapped(axis_name: str | None) -> bool:
    """Whether there is an axis; one that nothing maps here is refused."""
    if axis_name is None:
        return False
    try:
        lax.axis_size(axis_name)
    except NameError:
        raise ValueError(
            f"axis_name is {axis_name!r}, but no axis of that name is mapped here: call this, and take its gradient, "
            "inside of jax.shard_map, jax.pmap or jax.vmap over that axis, or pass None on one device."
        ) from None
    return True
