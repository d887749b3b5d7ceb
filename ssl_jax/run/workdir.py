"""The run directory `runs/x/`: its config, its environment and its evaluation, written whole or not at all."""

import contextlib
import datetime
import fcntl
import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import jax
import ml_collections
import numpy as np

from ssl_jax import defaults
from ssl_jax.run import manifest
from ssl_jax.run.processes import from_first, is_first, text_from_first

# A run may be continued with other values of these: they change where and how often, not what is computed.
MAY_DIFFER = (
    "parallel.", "data.workers", "train.microbatches", "train.keep", "train.best", "train.wandb", "train.on_nonfinite",
    "train.skip_limit", "eval.protocols", "eval.pool", "eval.layers", "eval.labels_per_class", "eval.unlabelled",
    "eval.finetune.",
)  # fmt: skip
MAY_DIFFER_SUFFIX = "_every"
FILES = (
    "config.json", "environment.json", "data.json", "facts.npz", "metrics.jsonl", "evaluation.json", ".lock", "wandb_id"
)  # fmt: skip
FOLDERS = ("checkpoints", "tensorboard")


def write_json(path: Path, value) -> None:
    """Writes `value` by a temporary file and a rename, so that no reader ever sees half a file."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=1) + "\n")
    os.replace(temporary, path)


@contextlib.contextmanager
def lock(workdir: Path):
    """The directory belongs to this command as long as the context lasts; it is made if need be. Process 0 only.

    Raises:
      ValueError: another command is writing there.
    """
    if not is_first():
        yield
        return
    workdir.mkdir(parents=True, exist_ok=True)
    with open(workdir / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"Another command is training in {workdir}; wait, or give another --workdir") from error
        except OSError:
            pass  # a file system without locks
        yield


def check(workdir: Path) -> None:
    """Refuses a directory where a pipe, or anything else, has the name of a run's file: to open it may wait for ever.

    Raises:
      ValueError: naming it.
    """
    for path in map(workdir.joinpath, (*FILES, *FOLDERS)):
        if path.exists() and not (path.is_dir() if path.name in FOLDERS else path.is_file()):
            kind = "folder" if path.name in FOLDERS else "regular file"
            raise ValueError(f"{path} is no {kind}; move it away, or give another --workdir")


def read_json(path: Path, kind: type = dict):
    """What `write_json` wrote, a dict or a list.

    Raises:
      ValueError: the file is damaged.
    """
    return _parse(path.read_text(encoding="utf-8", errors="replace"), path, kind)


def _parse(text: str, path: Path, kind: type = dict):
    try:
        value, problem = json.loads(text), f"it holds no JSON {'object' if kind is dict else 'array'}"
    except (ValueError, RecursionError) as error:
        value, problem = None, str(error)
    if not isinstance(value, kind):
        raise ValueError(f"{path} is damaged ({problem}); put a good copy back, or start in another directory")
    return value


def flatten(config: dict, prefix: str = "") -> dict:
    """Nested dicts as one dict of dotted keys."""
    flat = {}
    for name, value in config.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def plain(config: ml_collections.ConfigDict) -> dict:
    """The config as JSON values (tuples become lists)."""
    return json.loads(config.to_json())


def may_differ(name: str) -> bool:
    """Whether a run may go on with another value of a dotted key of its config."""
    return name.startswith(MAY_DIFFER) or name.endswith(MAY_DIFFER_SUFFIX)


def digest(config: ml_collections.ConfigDict) -> str:
    """What identifies a run's mathematics: a digest of its config without the keys that may differ.

    Keys at their defaults do not count, so that a key that a later version adds changes no digest.
    """
    return manifest.digest({
        name: value for name, value in flatten(plain(config)).items()
        if not may_differ(name) and not defaults.is_default(name, value)
    })  # fmt: skip


def early_digest(workdir: Path) -> str | None:
    """The digest that checkpoints of this directory had when all keys counted; None before the run has a config."""
    path = workdir / "config.json"
    if not path.exists():
        return None
    held = flatten(read_json(path))
    may_differ_then = tuple(name for name in MAY_DIFFER if name != "eval.protocols")  # that may differ since
    return manifest.digest({
        name: value for name, value in held.items()
        if not name.startswith(may_differ_then) and not name.endswith(MAY_DIFFER_SUFFIX)
    })  # fmt: skip


def prepare(workdir: Path, config: ml_collections.ConfigDict) -> None:
    """Makes the directory of a run, or checks that it belongs to the same config.

    Raises:
      ValueError: the directory holds a run of another config; names the first key that differs.
    """
    path, new = workdir / "config.json", plain(config)
    if path.exists():
        held = read_json(path)
        old, wanted = flatten(json.loads(json.dumps(defaults.fill(held)))), flatten(new)
        for name in sorted(old.keys() | wanted.keys()):
            if name not in old and defaults.is_default(name, wanted[name]):
                continue  # the key of a group that did not exist when the run was begun
            if not may_differ(name) and old.get(name) != wanted.get(name):
                raise ValueError(
                    f"{workdir} holds a run with config.{name} = {old.get(name)!r}, and {wanted.get(name)!r} was asked "
                    "for; give another --workdir, or the config of that run"
                )
        new = _as_begun(held, new)
    if is_first():
        workdir.mkdir(parents=True, exist_ok=True)
        write_json(path, new)
        write_json(workdir / "environment.json", environment())


def keep_data(workdir: Path, rows: int, batch: dict) -> None:
    """Notes what a run is trained on in `data.json`, or checks that it is what the run was begun on.

    The number of rows decides what `config.train.epochs` means, and which rows a batch has.

    Args:
      workdir: the run directory.
      rows: the number of training examples.
      batch: one batch, arrays `[b, ...]`; names, dtypes and shapes of the rows matter.

    Raises:
      ValueError: the run was begun on other data; says on which.
    """
    path = workdir / "data.json"
    arrays = {name: f"{array.dtype} {list(array.shape[1:])}" for name, array in sorted(batch.items())}
    given = {"rows": rows, "arrays": {name: arrays[name] for name in arrays if name not in ("index", "row")}}
    text = text_from_first(path.read_text(encoding="utf-8", errors="replace") if is_first() and path.exists() else "")
    begun = _parse(text, path) if text else given  # an earlier version noted nothing
    if begun != given:
        raise ValueError(
            f"{workdir} holds a run on {_told(begun)}, and {_told(given)} were given; give it its data back, or start "
            f"anew with another --workdir, with its parameters by --config.train.init_from={workdir}"
        )
    if is_first() and not text:
        write_json(path, given)


def _told(data: dict) -> str:
    arrays = data.get("arrays")
    listed = ", ".join(f"{name} {array}" for name, array in arrays.items()) if isinstance(arrays, dict) else arrays
    return f"{data.get('rows')} rows of {listed}"


def _as_begun(held: dict, new: dict, prefix: str = "") -> dict:
    """`new` without keys that the run was begun without and that say nothing: its early checkpoints count all keys."""
    kept = {name: held[name] for name in held if prefix + name in defaults.DROPPED}
    for name, value in new.items():
        if isinstance(value, dict) and name in held:
            kept[name] = _as_begun(held[name], value, f"{prefix}{name}.")
        elif name in held or not defaults.is_default(prefix + name, value):
            kept[name] = value
    return kept


def read_config(workdir: Path) -> ml_collections.ConfigDict:
    """The config of a run, which process 0 reads: the directory may be on its disk alone.

    Raises:
      ValueError: there is no run in that directory.
    """
    check(workdir)
    path = workdir / "config.json"
    there = bool(from_first(np.array(path.exists())))
    if not there:
        raise ValueError(f"{workdir} holds no run (no config.json there); give the --workdir of a pretraining run")
    text = text_from_first(path.read_text(encoding="utf-8", errors="replace") if is_first() else "")
    return ml_collections.ConfigDict(defaults.fill(_parse(text, path)), convert_dict=True).lock()


def environment() -> dict:
    """Versions, devices, command and commit: what one must know to repeat a run."""
    packages = ("ssl_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None  # a checkout that is not installed
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.TimeoutExpired):
        commit = None
    device = jax.devices()[0]
    return {
        "versions": versions,
        "devices": {"platform": device.platform, "kind": device.device_kind, "count": jax.device_count()},
        "processes": jax.process_count(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "command": shlex.join(sys.argv),
        "commit": commit,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
