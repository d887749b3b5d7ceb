"""Who may import whom: the import directions of docs/architecture.md, read from the source files."""

import ast
import functools
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {
    str(path.relative_to(ROOT)): path.read_text()
    for folder in ("ssl_jax", "configs", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
}

LAYERS = {  # a folder of ssl_jax, or one module in it: what it may import besides itself; anything else is a command
    "collectives": set(),
    "losses": {"collectives", "dtypes"},
    "models": {"collectives", "dtypes"},
    "augment": {"dtypes"},
    "methods": {
        "collectives", "dtypes", "losses", "models", "augment", "data.arrays", "data.tokenizer", "data.wordpiece",
    },
    "data": {"paths"},
    "dtypes": set(),
    "paths": set(),
    "train": {"collectives", "dtypes", "methods", "defaults"},
    "run": {"collectives", "dtypes", "methods", "train", "evaluation", "defaults", "recipes", "paths"},
    "evaluation": {"collectives", "dtypes", "methods", "paths"},
    "visual": {"augment", "collectives", "methods", "evaluation", "defaults", "paths"},
    "defaults": set(),
}
CONTRACT = {"methods", "methods.api"}  # all that is known of methods outside of their folder
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


@functools.cache
def imported(path: str, source: str, lazy: bool = True) -> frozenset[str]:
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
    return frozenset(found)


def rule(name: str, rules: dict):
    """What is said of a module, or of its folder, or None."""
    return rules.get(name, rules.get(name.split(".")[0]))


def may_import(name: str, other: str) -> bool:
    """Whether a module of ssl_jax may import another; both without the leading `ssl_jax.`."""
    layer, other_layer = name.split(".")[0], other.split(".")[0]
    if other_layer == "methods" and other not in CONTRACT:
        return layer == "methods" and other.startswith("methods.parts")
    return layer not in LAYERS or bool({other_layer, other} & {layer, *rule(name, LAYERS)})


def violations(path: str, source: str) -> list[str]:
    """One line for each import that a file may not have."""
    name, found = module_name(path).removeprefix("ssl_jax."), []
    is_config = path.startswith("configs/") or name.startswith("defaults")
    packages = {"ml_collections"} if is_config else rule(name, PORTABLE)
    for other in sorted(imported(path, source)):
        package = other.split(".")[0]
        if package == "ssl_jax":
            is_config, inner = path.startswith("configs/"), other.removeprefix("ssl_jax.")
            allowed = inner == "defaults" if is_config else may_import(name, inner)
        else:
            allowed = package != "configs" and (
                packages is None or package in packages or package in sys.stdlib_module_names
            )
        if not allowed:
            found.append(f"{path} may not import {other}")
    return found


def loaded_with(name: str) -> set[str]:
    """The modules of ssl_jax that importing one of them runs, packages included."""
    seen, todo = set(), {name}
    while todo:
        module = todo.pop()
        seen.add(module)
        needs = imported(MODULES[module], SOURCES[MODULES[module]], lazy=False) | {module.rpartition(".")[0]}
        todo |= (needs & MODULES.keys()) - seen
    return seen


def heavy_imports() -> set[str]:
    """One line for each package besides jax, flax and optax that importing a portable module loads."""
    found = set()
    for name in [name for name in MODULES if rule(name.removeprefix("ssl_jax."), PORTABLE)]:
        for module in loaded_with(name):
            others = {other.split(".")[0] for other in imported(MODULES[module], SOURCES[MODULES[module]], lazy=False)}
            for package in others - JAX - {"ssl_jax"} - sys.stdlib_module_names:
                found.add(f"importing {name} runs {module}, which imports {package}")
    return found


@pytest.mark.parametrize("path", SOURCES)
def test_imports_go_in_the_right_direction(path):
    assert violations(path, SOURCES[path]) == []


def test_portable_modules_load_jax_flax_and_optax_alone(monkeypatch):
    assert heavy_imports() == set()
    monkeypatch.setitem(SOURCES, "ssl_jax/train/state.py", "import orbax.checkpoint")
    assert "importing ssl_jax.train.step runs ssl_jax.train.state, which imports orbax" in heavy_imports()
    monkeypatch.setitem(SOURCES, "ssl_jax/__init__.py", "from ssl_jax.evaluation import *\nimport tqdm")
    assert "importing ssl_jax.losses runs ssl_jax, which imports tqdm" in heavy_imports()


@pytest.mark.parametrize(
    "path, source, wrong",
    [
        ("ssl_jax/losses/new.py", "from ssl_jax.collectives import psum\nimport jax, math", None),
        ("ssl_jax/losses/new.py", "from ssl_jax import collectives, models", "ssl_jax.models"),
        ("ssl_jax/losses/new.py", "def f():\n    from ..models import resnet", "ssl_jax.models.resnet"),
        ("ssl_jax/losses/new.py", "import tqdm", "tqdm"),
        ("ssl_jax/models/new.py", "import ssl_jax.augment.geometry as g", "ssl_jax.augment.geometry"),
        ("ssl_jax/augment/new.py", "import flax.linen as nn", "flax.linen"),
        ("ssl_jax/collectives.py", "from ssl_jax import losses", "ssl_jax.losses"),
        ("ssl_jax/methods/new.py", "from ssl_jax import losses, models, augment\nfrom . import api, parts", None),
        ("ssl_jax/methods/new.py", "from ssl_jax.methods import simclr", "ssl_jax.methods.simclr"),
        ("ssl_jax/methods/new.py", "from ssl_jax.data.tokenizer import train", None),
        ("ssl_jax/methods/new.py", "from ssl_jax.data import sources", "ssl_jax.data.sources"),
        ("ssl_jax/methods/new.py", "from ssl_jax.train import schedules", "ssl_jax.train.schedules"),
        ("ssl_jax/methods/new.py", "from ml_collections import ConfigDict", "ml_collections"),
        ("ssl_jax/train/new.py", "from ssl_jax.methods import load\nimport orbax.checkpoint", None),
        ("ssl_jax/train/new.py", "import ssl_jax.methods.simclr", "ssl_jax.methods.simclr"),
        ("ssl_jax/train/new.py", "from ssl_jax.evaluation import knn", "ssl_jax.evaluation.knn"),
        ("ssl_jax/train/new.py", "from ssl_jax.run import loop", "ssl_jax.run.loop"),
        ("ssl_jax/run/loop.py", "from ssl_jax.evaluation import knn", None),
        ("ssl_jax/train/step.py", "import orbax.checkpoint", "orbax.checkpoint"),
        ("ssl_jax/evaluation/new.py", "from ssl_jax.methods import api", None),
        ("ssl_jax/evaluation/new.py", "from ssl_jax.run import loop", "ssl_jax.run.loop"),
        ("ssl_jax/data/new.py", "from ssl_jax import pretrain", "ssl_jax.pretrain"),
        ("ssl_jax/pretrain.py", "from ssl_jax import data, evaluation, methods, train", None),
        ("ssl_jax/pretrain.py", "from ssl_jax.methods.simclr import build", "ssl_jax.methods.simclr"),
        ("ssl_jax/pretrain.py", "import configs.simclr", "configs.simclr"),
        ("benchmarks/new.py", "from configs import simclr", "configs.simclr"),
        ("configs/new.py", "import math\nfrom ml_collections import ConfigDict", None),
        ("configs/new.py", "from ssl_jax import defaults", None),
        ("configs/new.py", "import ssl_jax", "ssl_jax"),
        ("configs/new.py", "from ssl_jax import methods", "ssl_jax.methods"),
        ("configs/new.py", "import numpy as np", "numpy"),
    ],
)
def test_a_wrong_import_would_be_noticed(path, source, wrong):
    assert violations(path, source) == ([] if wrong is None else [f"{path} may not import {wrong}"])
