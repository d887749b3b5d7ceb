"""What a method must know of its data, computed once and kept as `facts.npz` in the run directory.

A vocabulary, word counts or a colour prior decide the shapes and values of a run like its config does, so their digest
is part of what a checkpoint belongs to. A trained encoder needs the run directory alone, not the data.
"""

import base64
import io
import os
from pathlib import Path

import numpy as np

from ssl_jax import methods
from ssl_jax.run import manifest
from ssl_jax.run.processes import is_first, text_from_first

NAME = "facts.npz"


def gather(directory: Path | None, config, source) -> dict[str, np.ndarray]:
    """The facts of a run: those that its directory keeps, else `facts(source, config)` of its method."""
    compute = getattr(methods.load(config.method.name), "facts", None)
    if compute is None:
        return {}
    kept = read(directory) if directory is not None else {}
    return kept or {name: np.asarray(array) for name, array in compute(source, config).items()}


def keep(directory: Path, facts: dict[str, np.ndarray]) -> None:
    """Writes the facts into the run directory, all at once or not at all; process 0 only."""
    path = directory / NAME
    if not facts or not is_first() or path.exists():
        return
    with open(path.with_suffix(".tmp"), "wb") as file:
        np.savez(file, **facts)
    os.replace(path.with_suffix(".tmp"), path)


def read(directory: Path) -> dict[str, np.ndarray]:
    """The facts of a run directory, {} where it has none; process 0 reads them for all processes.

    Raises:
      ValueError: the file is damaged.
    """
    path = Path(directory) / NAME
    held = path.read_bytes() if is_first() and path.exists() else b""
    held = base64.b64decode(text_from_first(base64.b64encode(held).decode()))
    if not held:
        return {}
    try:
        with np.load(io.BytesIO(held), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # a damaged archive raises errors of many kinds
        raise ValueError(f"{path} is damaged ({error}); put a good copy back, or start in another directory") from error


def digest(config: str, facts: dict[str, np.ndarray]) -> str:
    """The digest of a run: that of its config, and of the facts where it has any."""
    if not facts:
        return config
    return manifest.digest({"config": config} | {name: manifest.digest(array) for name, array in sorted(facts.items())})
