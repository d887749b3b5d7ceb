"""Strict mode: the same bits on any number of devices.

The global batch is cut into a fixed number of blocks of rows, and the per-device step runs once for each block, as if
every block had a device of its own; a device runs its blocks in turn and in lockstep: all of them up to the first
collective, then all of them up to the second, and so on. Three things make the result independent of the topology:

1. Every computation sees one block, so its shapes are the same everywhere.
2. What lies between two collectives is compiled by itself and without algebraic simplification, so that it is fused
   and vectorised in the same way everywhere, whatever stands before and after it.
3. Sums over blocks are a binary tree in the order of the blocks. The blocks of one device are a subtree, so that each
   device sums its own first and gathers only one partial sum from every other.

The price: a compilation and a dispatch for every segment and block, no fusion across collectives, no donation.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec as P

from ssl_jax import collectives
from ssl_jax.train.strict.program import COMMUNICATES, Operation, Program, trace

BLOCK = "block"  # the axis that a block's step communicates along


class StrictStep:
    """The step of the global batch as `blocks` virtual devices take it, on the devices of a mesh.

    A value is either shared, a replicated array, the same for every block; or a list of this device's blocks: array j
    of the list is `[devices, ...]`, split by its first axis, and holds block j of every device.

    Args:
      step: `(state, batch, axis_name) -> state, metrics`, the step of one device.
      mesh: the devices, a power of two.
      axis_name: the mesh's axis.
      blocks: the number of blocks, a power of two and at least the number of devices.

    Call with:
      state: replicated.
      batch: dict of arrays of the global batch, split by rows.

    Returns: the new state and the metrics, replicated.

    Raises:
      ValueError: other numbers, rows that the blocks cannot share, or a step that communicates inside a branch.
    """

    def __init__(self, step: Callable, mesh, axis_name: str, blocks: int):
        for name, number in (("config.parallel.blocks", blocks), ("the number of devices", mesh.size)):
            if number < 1 or number & (number - 1):
                raise ValueError(f"{name} is {number}; config.parallel.strict=True expects a power of two")
        if mesh.size > blocks:
            raise ValueError(f"config.parallel.blocks is {blocks}, but each of {mesh.size} devices needs one; raise it")
        self._step, self._mesh, self._axis, self._blocks = step, mesh, axis_name, blocks
        self._local = blocks // mesh.size
        self._cutter = self._compile(self._cut, (P(axis_name),), P(axis_name))
        self._plan = None

    def __call__(self, state, batch):
        if self._plan is None:
            self._plan = self._make_plan(state, batch)
        program, structure, segments = self._plan
        values = dict(program.constants)
        inputs = [*jax.tree.leaves(state), *self._cutter(jax.tree.leaves(batch))]
        values |= dict(zip(program.inputs, inputs, strict=True))
        for segment, unneeded in segments:
            segment(values)
            for name in unneeded:
                values.pop(name, None)  # values internal to a segment were never stored here
        outputs = [values[name] if isinstance(name, int) else name.val for name in program.outputs]
        return jax.tree.unflatten(structure, outputs)

    def _make_plan(self, state, batch):
        """The program of one block, and its segments as compiled functions that update a dict of values."""
        rows = len(jax.tree.leaves(batch)[0])
        if rows % self._blocks:
            raise ValueError(
                f"config.train.batch_size is {rows}, which {self._blocks} blocks cannot share evenly; change it, or "
                "config.parallel.blocks"
            )
        one = {
            name: jax.ShapeDtypeStruct((rows // self._blocks, *array.shape[1:]), array.dtype)
            for name, array in batch.items()
        }
        step = functools.partial(self._step, axis_name=BLOCK)
        whole = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), state)
        program, structure = trace(step, BLOCK, self._blocks, whole, one)
        is_stacked = dict.fromkeys([*program.constants, *program.inputs], False)
        is_stacked |= {name: True for name in program.inputs[len(jax.tree.leaves(state)) :]}
        stage = dict.fromkeys(is_stacked, 0)
        groups: dict[tuple[int, int], list[Operation]] = {}
        for operation in program.operations:
            read = [name for name in operation.inputs if isinstance(name, int)]
            collective = COLLECTIVES.get(operation.primitive.name)
            if collective is None and operation.primitive.name in COMMUNICATES:
                raise ValueError(
                    f"The step communicates by {operation.primitive.name}, which config.parallel.strict=True does not "
                    f"know; use one of {', '.join(COLLECTIVES)}, or set it to False"
                )
            level = max((stage[name] for name in read), default=0)
            stacked = collective[1] if collective else any(is_stacked[name] for name in read)
            groups.setdefault((level, 2 if collective else int(stacked)), []).append(operation)
            stage |= dict.fromkeys(operation.outputs, level + bool(collective))
            is_stacked |= dict.fromkeys(operation.outputs, stacked)
        if any(is_stacked[name] for name in program.outputs if isinstance(name, int)):
            raise ValueError("The step returns a value that differs between devices; reduce it over the axis first")
        # Of each stage: what is shared, then what is done block by block, then the collectives.
        make = (self._shared, self._stacked, self._collectives)
        order = sorted(groups)
        segments = [make[kind](program, groups[level, kind], is_stacked) for level, kind in order]
        unneeded = _unneeded(program, [groups[key] for key in order])
        return program, structure, list(zip(segments, unneeded, strict=True))

    def _shared(self, program: Program, operations: list[Operation], is_stacked: dict) -> Callable:
        compute, inputs, outputs = _function(program, operations)
        compiled = self._compile(compute, (P(),), P())

        def run(values):
            values.update(zip(outputs, compiled([values[name] for name in inputs]), strict=True))

        return run

    def _stacked(self, program: Program, operations: list[Operation], is_stacked: dict) -> Callable:
        compute, inputs, outputs = _function(program, operations)
        shared = [name for name in inputs if not is_stacked[name]]
        stacked = [name for name in inputs if is_stacked[name]]

        def of_block(of_all, of_one):
            known = dict(zip([*shared, *stacked], [*of_all, *[value[0] for value in of_one]], strict=True))
            return [value[None] for value in compute([known[name] for name in inputs])]

        compiled = self._compile(of_block, (P(), P(self._axis)), P(self._axis))

        def run(values):
            of_all = [values[name] for name in shared]
            found = [compiled(of_all, [values[name][j] for name in stacked]) for j in range(self._local)]
            values.update(zip(outputs, map(list, zip(*found, strict=True)), strict=True))

        return run

    def _collectives(self, program: Program, operations: list[Operation], is_stacked: dict) -> Callable:
        """Only moves and adds numbers, in one order, so that it does not matter how it is compiled."""
        inputs = sorted({name for operation in operations for name in operation.inputs if isinstance(name, int)})
        outputs = [name for operation in operations for name in operation.outputs]

        def communicate(arguments):
            known, found = dict(zip(inputs, arguments, strict=True)), []
            for operation in operations:
                if operation.params.get("axis_index_groups") is not None:
                    raise ValueError("The step communicates within axis_index_groups, which strict mode cannot do")
                rule, stacked = COLLECTIVES[operation.primitive.name]
                for name in operation.inputs or [None]:
                    value = known[name] if isinstance(name, int) else name and name.val
                    if isinstance(name, int) and is_stacked[name]:
                        value = jnp.concatenate(value)
                    elif name is not None:
                        value = jnp.broadcast_to(value, (self._local, *jnp.shape(value)))
                    output = rule(self, value, operation.params)
                    found.append(list(output[:, None]) if stacked else output)
            return found

        def spec(name):
            return P(self._axis) if is_stacked[name] else P()

        compiled = self._compile(communicate, ([spec(name) for name in inputs],), [spec(name) for name in outputs])

        def run(values):
            # Collectives run alone: simulated devices starve one another when several programs are in flight.
            found = compiled(jax.block_until_ready([values[name] for name in inputs]))
            values.update(zip(outputs, jax.block_until_ready(found), strict=True))

        return run

    def _cut(self, arrays: list) -> list:
        """This device's rows as lists of blocks."""
        return [list(rows.reshape(self._local, 1, -1, *rows.shape[1:])) for rows in arrays]

    def _compile(self, function: Callable, in_specs, out_specs) -> Callable:
        # On several devices the compiler simplifies once more than on one, and its algebra is not exact: a / b / c
        # becomes a / (b * c) here and not there. Without it both are compiled as they are written.
        mapped = jax.shard_map(function, mesh=self._mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)
        return jax.jit(mapped, compiler_options={"xla_disable_hlo_passes": "algsimp"})

    # The collectives. `x` is [local, ...]; what they return is shared, or [local, ...] again.

    def psum(self, x, params):
        return _tree_sum(collectives.all_gather(_tree_sum(x)[None], self._axis))

    def pmax(self, x, params):
        return collectives.all_gather(x, self._axis).max(axis=0)

    def pmin(self, x, params):
        return collectives.all_gather(x, self._axis).min(axis=0)

    def all_gather(self, x, params):
        everything, dimension = collectives.all_gather(x, self._axis), params["all_gather_dimension"]
        if not params["tiled"]:
            return jnp.moveaxis(everything, 0, dimension)
        return jnp.concatenate(list(everything), axis=dimension)

    def reduce_scatter(self, x, params):
        total, dimension = self.psum(x, params), params["scatter_dimension"]
        if not params["tiled"]:
            return self._mine(jnp.moveaxis(total, dimension, 0))
        return self._mine(jnp.stack(jnp.split(total, self._blocks, axis=dimension)))

    def ppermute(self, x, params):
        everything, source = collectives.all_gather(x, self._axis), [-1] * self._blocks
        for start, to in params["perm"]:
            source[to] = start
        source = self._mine(jnp.array(source))
        received = source.reshape(-1, *[1] * (x.ndim - 1)) >= 0
        return jnp.where(received, everything[source], jnp.zeros_like(x))

    def axis_index(self, x, params):
        return self._mine(jnp.arange(self._blocks, dtype=jnp.int32))

    def _mine(self, of_all):
        """This device's part of `[blocks, ...]`."""
        return lax.dynamic_slice_in_dim(of_all, collectives.axis_index(self._axis) * self._local, self._local)


# What a collective does, and whether its output differs from block to block.
COLLECTIVES = {
    "psum": (StrictStep.psum, False),
    "pmax": (StrictStep.pmax, False),
    "pmin": (StrictStep.pmin, False),
    "all_gather": (StrictStep.all_gather, False),
    "reduce_scatter": (StrictStep.reduce_scatter, True),
    "ppermute": (StrictStep.ppermute, True),
    "axis_index": (StrictStep.axis_index, True),
}


def _unneeded(program: Program, segments: list[list[Operation]]) -> list[list[int]]:
    """After each segment, the values that nothing reads any more."""
    last = {}
    for position, operations in enumerate(segments):
        read = {name for operation in operations for name in operation.inputs if isinstance(name, int)}
        last |= {name: position for name in read if None not in program.readers[name]}
    return [[name for name, position in last.items() if position == p] for p in range(len(segments))]


def _function(program: Program, operations: list[Operation]) -> tuple[Callable, list[int], list[int]]:
    """Operations as one function of a list, with the names of what it takes and returns."""
    made = {name for operation in operations for name in operation.outputs}
    read = {name for operation in operations for name in operation.inputs if isinstance(name, int)}
    inputs = sorted(read - made)
    outputs = sorted(name for name in made if program.readers[name] - set(operations))

    def compute(arguments):
        values = dict(zip(inputs, arguments, strict=True))
        for operation in operations:
            operation(values)
        return [values[name] for name in outputs]

    return compute, inputs, outputs


def _tree_sum(x):
    """The sum over the first axis, whose length is a power of two, as a binary tree over neighbours."""
    while len(x) > 1:
        x = x[0::2] + x[1::2]
    return x[0]
