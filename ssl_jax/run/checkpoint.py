"""Checkpoints of a run: `checkpoints/<step>/{model,training,manifest.json}`, written in the background.

Orbax writes the arrays to a folder of another name; the manifest with their digests joins them there, and one rename
makes it the checkpoint: it is there whole, with its digests, or not at all. The state is the same on every process, so
process 0 alone writes and reads.
"""

import contextlib
import errno
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from ssl_jax.run import manifest
from ssl_jax.run.processes import is_first
from ssl_jax.run.restore import ITEMS, NAMES, SAVED, Restored, fill, first_line, is_key, newest_intact, orbax, steps
from ssl_jax.train.state import TrainState

PARTIAL, DOOMED = ".partial", ".deleting"  # what a killed process may leave behind


class Checkpoints:
    """The checkpoints of one run directory; a context manager that waits for the last save on leaving.

    Args:
      directory: `runs/x/checkpoints`; made by the first save.
      keep: how many of the newest to keep, at least 1.
      keep_every: checkpoints at multiples of this step are kept for ever; 0 for none.
      config: a digest of the run's config; a run does not continue from another one's checkpoint.
      early: another digest of the same config, as earlier versions made it; None if there is none.

    Raises:
      ValueError: `keep` is less than 1.
    """

    def __init__(self, directory, keep: int = 2, keep_every: int = 0, config: str = "", early: str | None = None):
        if keep < 1:
            raise ValueError(f"config.train.keep is {keep}; expected at least 1 checkpoint, to continue from")
        self.directory, self._keep, self._keep_every, self._config = Path(directory), keep, keep_every, config
        self._accepted = {config, early}
        self._writer, self._writing, self._best = ThreadPoolExecutor(1, "checkpoint"), None, None
        if is_first():
            _sweep(self.directory)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._writer.shutdown(wait=True)

    def save(self, step: int, state: TrainState, host: dict, *, best: int | None = None, wait: bool = False) -> str:
        """Copies `state` to the host and writes it in the background; first waits for the save before.

        Args:
          step: the state's step; where its checkpoint exists, `host` alone is renewed.
          state: what to save.
          host: JSON, saved beside it.
          best: the step of the best checkpoint, which is kept.
          wait: return only when it is on disk.

        Returns:
          What went wrong with the save before, or with this one if `wait`: a sentence, or "". A save that fails, as on
          a full disk, leaves the earlier checkpoints as they are.
        """
        if not is_first():
            return ""
        problem = self._finish()
        host = json.loads(json.dumps(host))  # as it is now
        there = step in steps(self.directory)
        task = (manifest.renew, self.directory / str(step), step, host)
        task = task if there else (self._write, step, to_host(state), host, best)
        self._writing = step, self._writer.submit(*task)
        return self._finish() if wait else problem

    def restore(self, abstract: TrainState, sharding) -> tuple[TrainState, Restored] | None:
        """The newest intact state, None if there is no checkpoint; damaged ones are renamed to `<step>.damaged`.

        Args:
          abstract: shapes and dtypes of the state.
          sharding: where its leaves go.

        Raises:
          ValueError: no checkpoint is intact, or they belong to another config or model.
        """
        restored = newest_intact(self.directory)
        if restored is None:
            return None
        if self._config and restored.config not in self._accepted:
            raise ValueError(
                f"Checkpoint {restored.step} in {self.directory} was saved under another config than this run's; "
                "put the config.json back that belongs to it, or start in another directory"
            )
        tree = {name: getattr(abstract, name) for names in ITEMS.values() for name in names}
        state = TrainState(**fill(tree, restored, sharding))
        for step in [step for step in steps(self.directory) if step > restored.step] if is_first() else []:
            os.replace(self.directory / str(step), _free(self.directory / f"{step}.damaged"))
        return state, restored

    def _finish(self) -> str:
        if self._writing is None:
            return ""
        (step, future), self._writing = self._writing, None
        error = future.exception()
        return f"checkpoint {step} could not be written ({first_line(error)}); the earlier ones stay" if error else ""

    def _write(self, step: int, tree: dict, host: dict, best: int | None) -> None:
        """In the writer's thread: files, digests, one rename; then the checkpoints that are no longer wanted."""
        partial = self.directory.resolve() / f"{step}{PARTIAL}"
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves(tree)) + 2**20
        partial.mkdir(parents=True, exist_ok=True)
        try:
            free = shutil.disk_usage(partial).free
            if free < needed:
                raise OSError(errno.ENOSPC, f"{needed / 2**20:.0f} MiB needed, {free / 2**20:.0f} MiB free")
            for item, names in ITEMS.items():
                fields = {name: tree[name] for name in names}
                orbax(ocp.StandardCheckpointHandler).save(partial / item, args=ocp.args.StandardSave(fields))
            manifest.write(partial, step, manifest.by_name(tree), host, self._config)
            os.replace(partial, self.directory / str(step))
            with contextlib.suppress(OSError):
                (self.directory.parent / SAVED).touch()
        except BaseException:
            _sweep(self.directory)
            raise
        if best is None or (self.directory / str(best)).is_dir():
            self._best = best  # whose save has succeeded; until then the one before is kept
        for old in steps(self.directory)[self._keep :]:
            if old != self._best and not (self._keep_every and old % self._keep_every == 0):
                doomed = self.directory / f"{old}{DOOMED}"
                os.replace(self.directory / str(old), doomed)  # gone at once, however long the deletion takes
                shutil.rmtree(doomed, ignore_errors=True)


def to_host(state: TrainState) -> dict:
    """The fields of a state as numpy arrays of their own, keys as their data."""
    tree = {name: getattr(state, name) for names in ITEMS.values() for name in names}
    tree = jax.tree.map(lambda leaf: jax.random.key_data(leaf) if is_key(leaf) else leaf, tree)
    for leaf in jax.tree.leaves(tree):
        leaf.copy_to_host_async()
    return jax.tree.map(lambda leaf: np.array(leaf, copy=True), tree)  # the next step is given the arrays' memory


def _sweep(directory: Path) -> None:
    """Removes what a killed or failed save or deletion has left."""
    for path in list(directory.iterdir()) if directory.is_dir() else ():
        named = NAMES.fullmatch(path.name)
        if named and named[2] in (PARTIAL, DOOMED):
            shutil.rmtree(path, ignore_errors=True)


def _free(path: Path) -> Path:
    """`path`, or the first of `path.2`, `path.3`, ... that does not exist."""
    number, free = 1, path
    while free.exists():
        number, free = number + 1, path.with_name(f"{path.name}.{number + 1}")
    return free
