"""What a checkpoint must hold, file by file and leaf by leaf: written with it, compared on reading.

`checkpoints/<step>/manifest.json` has `step`; `config`, a digest of the run's config; `host`, what the loop remembers;
`files`, the SHA-256 of every file beside it; `leaves`, name -> dtype, shape and SHA-256 of the array; and `sha256` of
all this. Names are paths: "params/encoder/stem_conv/kernel".
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

NAME = "manifest.json"
CONTENT = {"step": int, "config": str, "host": dict, "files": dict, "leaves": dict}
LEAF = {"dtype", "shape", "sha256"}


class Damaged(ValueError):
    """A checkpoint does not hold what was saved; the message names the leaf or the file."""


def by_name(tree) -> dict:
    """The leaves of a tree by their paths; a path is the same for a tuple and the list that it is restored as.

    >>> by_name({"params": {"kernel": 1}, "optimizer": (2, [3])})
    {'optimizer/0': 2, 'optimizer/1/0': 3, 'params/kernel': 1}
    """
    paths = jax.tree.leaves_with_path(tree)
    named = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in paths}
    if len(named) < len(paths):
        raise ValueError("Two leaves of the state have the same path; give the keys of the method's state other names")
    return named


def digest(value) -> str:
    """SHA-256 of an array's bytes, or of the canonical text of a JSON value."""
    if isinstance(value, np.ndarray):
        return hashlib.sha256(np.ascontiguousarray(value).reshape(-1).view(np.uint8)).hexdigest()
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write(folder: Path, step: int, leaves: Mapping[str, np.ndarray], host: dict, config: str) -> None:
    """Writes the manifest of a complete folder.

    Args:
      folder: where the files of the checkpoint are.
      step: its step.
      leaves: every array, by name.
      host: JSON, kept in the manifest.
      config: a digest of the run's config.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    content = {
        "step": step,
        "config": config,
        "host": host,
        "files": {str(path.relative_to(folder)): _file_digest(path) for path in files},
        "leaves": {
            name: {"dtype": str(leaf.dtype), "shape": list(leaf.shape), "sha256": digest(leaf)}
            for name, leaf in leaves.items()
        },
    }
    _write(folder / NAME, content)


def renew(folder: Path, step: int, host: dict) -> None:
    """Replaces `host` in the manifest of a checkpoint; all at once or not."""
    content = read(folder, step)
    if content["host"] != host:
        _write(folder / f"{NAME}.new", content | {"host": host})
        os.replace(folder / f"{NAME}.new", folder / NAME)


def read(folder: Path, step: int) -> dict:
    """The manifest of a checkpoint.

    Raises:
      Damaged: it is missing, altered, lacks something, or is of another step.
    """
    _refuse_other_kinds(folder, NAME)
    try:
        manifest = json.loads((folder / NAME).read_text(encoding="utf-8"))
        content = {name: value for name, value in manifest.items() if name != "sha256"}
        own = digest(content)
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise Damaged(f"{NAME} cannot be read ({type(error).__name__})") from error
    if own != manifest.get("sha256"):
        raise Damaged(f"{NAME} differs from its own digest")
    for name, kind in CONTENT.items():
        if type(content.get(name)) is not kind:
            raise Damaged(f"{NAME} has no `{name}` of the kind that was saved")
    for name, leaf in content["leaves"].items():
        if not (isinstance(leaf, dict) and isinstance(leaf.get("shape"), list) and leaf.keys() >= LEAF):
            raise Damaged(f"{NAME} does not describe {name} as it was saved")
    if content["step"] != step:
        raise Damaged(f"{NAME} is that of step {content['step']}")
    return content


def check_files(folder: Path, manifest: dict, prefixes: tuple[str, ...]) -> None:
    """Compares the files in the folders `prefixes` with those listed; raises `Damaged` for the first that differs.

    A file that is not listed is damage too: orbax chooses what it reads by the names that it finds.
    """
    listed = {name: sha256 for name, sha256 in manifest["files"].items() if name.split("/")[0] in prefixes}
    for name, sha256 in listed.items():
        _refuse_other_kinds(folder, name)
        try:
            found = _file_digest(folder / name)
        except FileNotFoundError as error:
            raise Damaged(f"file {name} is missing") from error
        except OSError as error:
            raise Damaged(f"file {name} cannot be read ({error.strerror})") from error
        if found != sha256:
            raise Damaged(f"file {name} differs from its digest")
    for prefix in prefixes:
        for place, _, files in os.walk(folder / prefix, followlinks=True):  # a moved folder may be a link
            for name in (str((Path(place) / file).relative_to(folder)) for file in files):
                if name not in listed:
                    raise Damaged(f"file {name} is not in {NAME}")


def check_leaves(manifest: dict, fields: tuple[str, ...], leaves: Mapping[str, np.ndarray]) -> None:
    """Compares the arrays of the top-level `fields` ("params", ...); raises `Damaged` for the first that differs."""
    expected = {name: leaf for name, leaf in manifest["leaves"].items() if name.split("/")[0] in fields}
    for name in sorted(expected.keys() | leaves.keys()):
        if name not in leaves:
            raise Damaged(f"{name} is missing")
        if name not in expected:
            raise Damaged(f"{name} is not in {NAME}")
        leaf, wanted = leaves[name], expected[name]
        if str(leaf.dtype) != wanted["dtype"] or list(leaf.shape) != wanted["shape"]:
            raise Damaged(f"{name} is {leaf.dtype} {list(leaf.shape)}, saved as {wanted['dtype']} {wanted['shape']}")
        if digest(leaf) != wanted["sha256"]:
            raise Damaged(f"{name} differs from its digest")


def _write(path: Path, content: dict) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content | {"sha256": digest(content)}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def _refuse_other_kinds(folder: Path, name: str) -> None:
    """Raises `Damaged` for a folder, pipe, socket or device in place of a file: to open one may wait for ever."""
    if (folder / name).exists() and not (folder / name).is_file():
        raise Damaged(f"{name} is no regular file")


def _file_digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
