"""A jaxpr as a flat list of operations in which collectives stand at the top: what strict mode runs in lockstep."""

import collections
import dataclasses
import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

# Primitives that only wrap a jaxpr: what is inside runs as if it were written in their place.
WRAPPERS = ("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "checkpoint", "remat2")
COMMUNICATES = ("psum", "pmax", "pmin", "all_gather", "reduce_scatter", "ppermute", "all_to_all", "axis_index")


@dataclasses.dataclass(frozen=True, eq=False)
class Operation:
    """One equation; `inputs` are names (int) or literals, `outputs` names."""

    primitive: Any
    params: dict
    inputs: list
    outputs: list[int]

    def __call__(self, environment: dict) -> None:
        """Computes the outputs from the values in `environment` and puts them there."""
        inputs = [environment[name] if isinstance(name, int) else name.val for name in self.inputs]
        found = self.primitive.bind(*inputs, **self.primitive.get_bind_params(self.params))
        found = found if self.primitive.multiple_results else [found]
        environment.update(zip(self.outputs, found, strict=True))


@dataclasses.dataclass(frozen=True)
class Program:
    """Operations in order; `inputs` and `outputs` name values, `constants` holds some.

    `readers` has, for every value that is read, the operations that read it, and None where it is an output.
    """

    operations: list[Operation]
    inputs: list[int]
    outputs: list
    constants: dict[int, Any]
    readers: dict[int, set]


def trace(function: Callable, axis_name: str, axis_size: int, *arguments) -> tuple[Program, Any]:
    """The program of a function that communicates along an axis, and the structure of its output.

    Loops of a known length that communicate are unrolled.

    Raises:
      ValueError: it communicates inside a branch, or a loop of unknown length.
    """
    make_jaxpr = partial(jax.make_jaxpr, axis_env=[(axis_name, axis_size)])
    closed, shapes = make_jaxpr(function, return_shape=True)(*arguments)
    names, constants = itertools.count(), {}
    inputs = [next(names) for _ in closed.jaxpr.invars]
    operations = []
    outputs = _flatten(closed, inputs, names, constants, operations, make_jaxpr)
    operations = _needed(operations, outputs)
    readers = collections.defaultdict(set)
    for reader, read in [*((operation, operation.inputs) for operation in operations), (None, outputs)]:
        for name in read:
            if isinstance(name, int):
                readers[name].add(reader)
    return Program(operations, inputs, outputs, constants, readers), jax.tree.structure(shapes)


def _flatten(
    closed: core.ClosedJaxpr, inputs: list, names: Iterator[int], constants: dict, operations: list,
    make_jaxpr: Callable,
) -> list:  # fmt: skip
    """Appends the operations of a jaxpr with these inputs; returns its outputs."""
    jaxpr, known = closed.jaxpr, dict(zip(closed.jaxpr.invars, inputs, strict=True))
    for variable, value in zip(jaxpr.constvars, closed.consts, strict=True):
        known[variable] = next(names)
        constants[known[variable]] = value

    def name_of(atom):
        return atom if isinstance(atom, core.Literal) else known[atom]

    for equation in jaxpr.eqns:
        name, arguments = equation.primitive.name, [name_of(atom) for atom in equation.invars]
        if name not in COMMUNICATES and _communicates(equation):
            inner = _unrolled(equation, make_jaxpr) if name == "scan" else _inner(equation)
            outputs = _flatten(inner, arguments, names, constants, operations, make_jaxpr)
        else:
            outputs = [next(names) for _ in equation.outvars]
            operations.append(Operation(equation.primitive, equation.params, arguments, outputs))
        known |= dict(zip(equation.outvars, outputs, strict=True))
    return [name_of(atom) for atom in jaxpr.outvars]


def _inner(equation) -> core.ClosedJaxpr:
    """The jaxpr that an equation only wraps."""
    if equation.primitive.name not in WRAPPERS:
        raise ValueError(
            f"The step communicates inside {equation.primitive.name}, which config.parallel.strict=True cannot take "
            "apart; set it to False, or move the collective out of the branch, or give the loop a fixed length"
        )
    for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        if name in equation.params:
            inner = equation.params[name]
            return inner if isinstance(inner, core.ClosedJaxpr) else core.ClosedJaxpr(inner, ())
    raise ValueError(f"{equation.primitive.name} holds no jaxpr")


def _unrolled(equation, make_jaxpr: Callable) -> core.ClosedJaxpr:
    """The jaxpr of a scan without the loop: its body once for every row of what it goes through."""
    body, params = core.jaxpr_as_fun(equation.params["jaxpr"]), equation.params
    first_carried, first_row = params["num_consts"], params["num_consts"] + params["num_carry"]

    def unrolled(*arguments):
        constants, carried, rows = arguments[:first_carried], arguments[first_carried:first_row], arguments[first_row:]
        found = [None] * params["length"]
        for i in range(params["length"])[:: -1 if params["reverse"] else 1]:
            out = body(*constants, *carried, *[leaf[i] for leaf in rows])
            carried, found[i] = out[: params["num_carry"]], out[params["num_carry"] :]
        return [*carried, *map(jnp.stack, zip(*found, strict=True))]

    return make_jaxpr(unrolled)(*[variable.aval for variable in equation.invars])


def _communicates(equation) -> bool:
    """Whether an equation contains a collective at any depth."""
    return any(
        inner.primitive.name in COMMUNICATES or _communicates(inner)
        for jaxpr in core.jaxprs_in_params(equation.params)
        for inner in jaxpr.eqns
    )


def _needed(operations: list[Operation], outputs: list) -> list[Operation]:
    """The operations that the outputs depend on."""
    needed, kept = {name for name in outputs if isinstance(name, int)}, []
    for operation in reversed(operations):
        if needed & set(operation.outputs):
            kept.append(operation)
            needed |= {name for name in operation.inputs if isinstance(name, int)}
    return kept[::-1]
