"""Where a step runs: one device, `jax.shard_map` over a mesh, or `jax.pmap`; the step is the same text in all three.

The state is replicated and never stacked: in and out as one plain tree. The batch is split by rows.
"""

import dataclasses
from collections.abc import Callable
from functools import partial

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from ssl_jax.train.strict.lockstep import StrictStep

AXIS = "data"
MODES = ("shard_map", "pmap")


@dataclasses.dataclass(frozen=True)
class Parallel:
    """The devices of a run and how they are driven.

    Attributes:
      mesh: the devices.
      mode: "shard_map", or "pmap" (one process only).
      blocks: 0, or in strict mode the number of blocks of rows, see `strict.py`.
    """

    mesh: jax.sharding.Mesh
    mode: str
    blocks: int = 0

    @property
    def size(self) -> int:
        """The number of devices of all processes."""
        return self.mesh.size

    @property
    def replicated(self) -> NamedSharding:
        """The sharding of the state."""
        return NamedSharding(self.mesh, P())

    def replicate(self, tree):
        """`tree` on every device."""
        return jax.tree.map(lambda leaf: place(np.asarray(leaf), self.replicated), tree)

    def compile(self, step: Callable) -> Callable:
        """`step(state, batch, axis_name) -> state, metrics` as `(state, batch) -> state, metrics`; donates the state.

        On one device nothing is wrapped: `axis_name` is None and no collective exists.
        """
        if self.blocks:
            return StrictStep(step, self.mesh, AXIS, self.blocks)
        if self.size == 1:
            return jax.jit(partial(step, axis_name=None), donate_argnums=0)
        per_device = partial(step, axis_name=AXIS)
        if self.mode == "pmap":
            return jax.pmap(
                per_device, AXIS, in_axes=(None, 0), out_axes=None, donate_argnums=0, devices=list(self.mesh.devices)
            )
        # Without check_vma nobody checks that the outputs are replicated; tests compare with one device instead.
        mapped = jax.shard_map(
            per_device, mesh=self.mesh, in_specs=(P(), P(AXIS)), out_specs=(P(), P()), check_vma=False
        )
        return jax.jit(mapped, donate_argnums=0)

    def place(self, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
        """This process's rows of a global batch, as the arrays that the compiled step takes."""
        if self.mode == "pmap" and self.size > 1:
            return {name: rows.reshape(self.size, -1, *rows.shape[1:]) for name, rows in batch.items()}
        return self.shard(batch)

    def shard(self, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
        """This process's rows as global arrays split by rows: for `jax.jit` functions that never look across rows."""
        sharding = NamedSharding(self.mesh, P(AXIS))
        return {name: jax.make_array_from_process_local_data(sharding, rows) for name, rows in batch.items()}


def place(array: np.ndarray, sharding) -> jax.Array:
    """A numpy array that every process has, as one global array."""
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def make(mode: str, devices: int | None, batch_size: int, blocks: int = 0) -> Parallel:
    """The `Parallel` of `config.parallel` for a global batch.

    Args:
      mode: "shard_map" or "pmap".
      devices: how many devices to use; None for all.
      batch_size: rows of the global batch.
      blocks: 0, or the number of blocks of strict mode.

    Raises:
      ValueError: unknown mode, more devices than there are, pmap over processes, or rows that do not split evenly.
    """
    if mode not in MODES:
        raise ValueError(f"config.parallel.mode is {mode!r}; expected one of {', '.join(MODES)}")
    if mode == "pmap" and blocks:
        raise ValueError("config.parallel.strict=True works with shard_map alone; set config.parallel.mode='shard_map'")
    if mode == "pmap" and jax.process_count() > 1:
        raise ValueError("config.parallel.mode='pmap' cannot donate the state across processes; use 'shard_map'")
    present = jax.devices()
    count = len(present) if devices is None else devices
    if not 1 <= count <= len(present):
        raise ValueError(f"config.parallel.devices is {devices}; expected 1 to {len(present)}, the devices present")
    if batch_size % count:
        lower, upper = batch_size // count * count, (batch_size // count + 1) * count
        choice = f"{lower} or {upper}" if lower else f"{upper}"
        raise ValueError(
            f"config.train.batch_size is {batch_size}, which {count} devices cannot share evenly; use {choice}, "
            "or another config.parallel.devices"
        )
    if jax.process_count() > 1 and count != len(present):
        raise ValueError(
            f"config.parallel.devices is {devices}; several processes use all their {len(present)} devices together; "
            "leave it out, and give each process the devices it should have"
        )
    mesh = jax.make_mesh((count,), (AXIS,), axis_types=(AxisType.Auto,), devices=present[:count])
    return Parallel(mesh, mode, blocks)
