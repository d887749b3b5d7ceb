"""Who may import whom: the import directions of docs/architecture.md, read from the source files."""

import ast
import sys
from pathlib import Path

import pytest

from ssl_jax.methods import api

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {
    str(path.relative_to(ROOT)): path.read_text()
    for folder in ("ssl_jax", "configs", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
}

CONTRACT = {"methods", "methods.api"}  # what the rest of the project may know of methods
LAYERS = {  # layer, or one module of it: what it may import besides its own layer; any other module is a command
    "collectives": set(),
    "losses": {"collectives"},
    "models": {"collectives"},
    "augment": set(),
    "methods": {"collectives", "losses", "models", "augment"},
    "data": set(),
    "train": {"collectives"} | CONTRACT,
    "train.loop": {"collectives", "evaluation"} | CONTRACT,
    "evaluation": {"collectives"} | CONTRACT,
    "visual": {"collectives", "evaluation"} | CONTRACT,
}
JAX = {"jax", "flax", "optax", "numpy"}
PORTABLE = {  # what runs wherever jax, flax and optax are: the packages that it may import
    "collectives": {"jax"},
    "losses": JAX,
    "models": JAX,
    "augment": {"jax", "numpy"},
    "methods": JAX,
    "train.step": JAX,
}


def module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


MODULES = {module_name(path): path for path in SOURCES}


def imported(path: str, source: str, lazy: bool = True) -> set[str]:
    """The modules that a file imports; without those imported inside functions unless `lazy`."""
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {node for function in functions for node in ast.walk(function)}
    found = set()
    for node in ast.walk(tree):
        if node in inside and not lazy:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            folders = Path(path).parent.parts
            parent = folders[: len(folders) - node.level + 1] if node.level else ()
            base = ".".join([*parent, *([node.module] if node.module else [])])
            submodules = {f"{base}.{alias.name}" for alias in node.names} & MODULES.keys()
            found |= submodules
            if len(submodules) < len(node.names):  # the rest are names defined in `base`
                found.add(base)
    return found


def within(name: str, layers) -> bool:
    return any(name == layer or name.startswith(f"{layer}.") for layer in layers)


def rule(name: str, rules: dict):
    """The entry for a module: its own, or its layer's, or None."""
    return rules.get(name, rules.get(name.split(".")[0]))


def may_import(name: str, other: str) -> bool:
    """Whether one module of ssl_jax may import another; names without the leading `ssl_jax.`."""
    layer, other_layer = name.split(".")[0], other.split(".")[0]
    if other_layer == "methods":
        if layer != "methods":
            return other in CONTRACT and rule(name, LAYERS) not in (None,) or layer not in LAYERS and other in CONTRACT
        return other.removeprefix("methods.") not in api.names()  # a method knows no other method
    return layer not in LAYERS or layer == other_layer or within(other, rule(name, LAYERS))
