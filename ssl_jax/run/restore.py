"""Checkpoints read back: the newest that is intact, on every process, as a state or as an encoder's parameters."""

import dataclasses
import json
import re
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from ssl_jax.run import manifest
from ssl_jax.run.logs import reached
from ssl_jax.run.manifest import Damaged
from ssl_jax.run.processes import from_first, is_first, text_from_first
from ssl_jax.train.parallel import place
from ssl_jax.train.state import TrainState

# Parameters and the method's state are apart, so that an encoder loads without rebuilding the optimizer.
ITEMS = {"model": ("params", "method"), "training": ("step", "optimizer", "probe", "key")}
# What a run writes: checkpoints, those half written or half deleted, and those set aside.
NAMES = re.compile(r"(0|[1-9]\d{0,9})(\.partial|\.deleting|\.damaged(?:\.\d+)?)?", re.ASCII)
SAVED = ".saved"  # in the run directory from its first checkpoint on


@dataclasses.dataclass(frozen=True)
class Restored:
    """An intact checkpoint.

    Attributes:
      step: its step.
      leaves: the arrays by name, see `manifest.by_name`.
      host: what the loop remembered.
      config: the digest of the config that it was saved under.
      damage: a sentence for every newer checkpoint, all of them damaged.
    """

    step: int
    leaves: dict[str, np.ndarray]
    host: dict
    config: str
    damage: list[str] = dataclasses.field(default_factory=list)


def step_of(name: str) -> int | None:
    """The step of a checkpoint by its folder's name; None for a name that no run gives to a checkpoint.

    >>> [step_of(name) for name in ("40", "0040", "40.damaged", "forty")]
    [40, None, None, None]
    """
    named = NAMES.fullmatch(name)
    return int(named[1]) if named and not named[2] else None


def steps(directory: Path) -> list[int]:
    """The steps that have a checkpoint, newest first."""
    found = [step_of(path.name) for path in directory.iterdir()] if directory.is_dir() else []
    return sorted((step for step in found if step is not None), reverse=True)


def unknown(directory: Path) -> list[str]:
    """What lies beside the checkpoints under a name that no run writes."""
    names = sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []
    return [name for name in names if not NAMES.fullmatch(name)]


def read(directory: Path, step: int, items=tuple(ITEMS)) -> Restored:
    """One checkpoint, compared with its manifest. On process 0 only.

    Raises:
      Damaged: naming the file or the leaf that is not as it was saved.
    """
    folder, leaves = directory.resolve() / str(step), {}
    described = manifest.read(folder, step)
    manifest.check_files(folder, described, items)
    for item in items:
        try:
            tree = orbax(ocp.StandardCheckpointHandler).restore(folder / item, args=ocp.args.StandardRestore())
            leaves |= manifest.by_name({name: tree.get(name, {}) for name in ITEMS[item]})
        except Exception as error:  # whatever orbax and tensorstore make of files that they cannot read
            raise Damaged(f"{item} cannot be read ({first_line(error)})") from error
    manifest.check_leaves(described, sum((ITEMS[item] for item in items), ()), leaves)
    return Restored(step, leaves, described["host"], described["config"])


def newest_intact(directory: Path, items=tuple(ITEMS), step: int | None = None) -> Restored | None:
    """The newest checkpoint that is as it was saved, or that of `step`; None if there is none. On every process.

    Raises:
      ValueError: there are checkpoints, but none is intact.
    """
    restored, damage = None, []
    for candidate in (steps(directory) if step is None else [step]) if is_first() else []:
        try:
            restored = read(directory, candidate, items)
            break
        except Damaged as error:
            damage.append(f"checkpoint {candidate} in {directory} is damaged: {error}")
    restored, damage = _shared(restored, damage)
    if restored is None and damage:
        raise ValueError(f"{'; '.join(damage)}; no other one is intact, so start anew in another directory")
    return restored and dataclasses.replace(restored, damage=damage)


def fill(abstract, restored: Restored, sharding):
    """The tree `abstract` (of shapes and dtypes) with the leaves of a checkpoint, placed by `sharding`.

    Raises:
      ValueError: naming the leaf that the checkpoint lacks or holds in another shape.
    """

    def placed(name, leaf):
        saved, key = restored.leaves.get(name), is_key(leaf)
        wanted = jax.eval_shape(jax.random.key_data, leaf) if key else leaf
        if saved is None or saved.shape != wanted.shape or saved.dtype != wanted.dtype:
            holds = "no such leaf" if saved is None else f"{saved.dtype} {list(saved.shape)}"
            raise ValueError(
                f"Checkpoint {restored.step} holds another model than this config describes: {name} should be "
                f"{wanted.dtype} {list(wanted.shape)} and is {holds}; give the config that the run was started with"
            )
        array = place(saved, sharding)
        return jax.random.wrap_key_data(array) if key else array

    names = manifest.by_name(abstract)
    return jax.tree.unflatten(jax.tree.structure(abstract), [placed(name, leaf) for name, leaf in names.items()])


def load_model(run: Path, sharding, which: str = "latest") -> dict:
    """`{"params", "method"}` of a checkpoint of a run directory, as nested dicts, placed by `sharding`.

    Args:
      run: the run directory.
      sharding: where the leaves go.
      which: "latest" (that is intact), "best" (by online kNN, see `config.train.keep_best`), or a step.

    Raises:
      ValueError: there is no such checkpoint.
    """
    directory, step = run / "checkpoints", None
    there = json.loads(text_from_first(json.dumps(steps(directory))))
    if which == "best":
        newest = newest_intact(directory, items=())
        step = newest and newest.host.get("best", {}).get("step")
        if step is None:
            raise ValueError(f"{run} kept no best checkpoint; train with --config.train.keep_best=True, or name a step")
        if step not in there:
            raise ValueError(f"{run} could not save its best checkpoint, {step}; name one of {there}")
    elif which != "latest":
        step = step_of(which)
        if step not in there:
            raise ValueError(f"{run} has no checkpoint {which!r}; give latest, best or one of {there}")
    restored = newest_intact(directory, ("model",), step)
    if restored is None:
        raise ValueError(f"{run} has no checkpoint; give the directory of a run that has reached its first one")
    for name in unknown(directory) if is_first() else ():
        print(f"warning: {name!r} in {directory} is no name that a run gives to a checkpoint; it is left alone")
    for sentence in restored.damage:
        print(f"warning: {sentence}; using checkpoint {restored.step}")
    tree = {name: {} for name in ITEMS["model"]}
    for name, leaf in restored.leaves.items():
        *folders, last = name.split("/")
        inner = tree
        for folder in folders:
            inner = inner.setdefault(folder, {})
        inner[last] = place(leaf, sharding)
    return tree


def refuse_lost(run: Path) -> None:
    """Refuses to begin a run anew that had been saved, and whose checkpoints are gone.

    Raises:
      ValueError: they were deleted, or moved to names that no run writes.
    """
    step, saved = reached(run / "metrics.jsonl")
    saved |= (run / SAVED).exists()
    beside = unknown(run / "checkpoints")
    found = f" but {', '.join(map(repr, beside))}, which no run writes" if beside else ""
    sentence = (
        f"{run} has been saved and had reached step {step}, but its checkpoints/ holds none{found}; put them back, or "
        f"begin anew with another --workdir or after deleting {run}"
    )
    if sentence := text_from_first(sentence if saved else ""):
        raise ValueError(sentence)


def start_from(run: Path, state: TrainState, adopt, sharding, parts: tuple[str, ...] = ()) -> TrainState:
    """`state` with the parameters and batch statistics of another run's newest checkpoint; the rest starts anew.

    Args:
      run: its directory.
      state: the state before the first step.
      adopt: that of the `Method`: what of its state must fit the parameters.
      sharding: where the leaves go.
      parts: networks that are taken, such as ("encoder",); () for all.

    Raises:
      ValueError: there is no checkpoint, or its parameters have other names or shapes.
    """
    held = load_model(run, sharding)
    taken = {name: held["params"].get(name, {}) for name in parts} or held["params"]
    own = {name: state.params.get(name) for name in parts} or state.params
    if jax.tree.map(jax.numpy.shape, taken) != jax.tree.map(jax.numpy.shape, own):
        which = f" of {', '.join(parts)}" if parts else ""
        raise ValueError(f"config.train.init_from={run} holds other parameters{which}; give a run of the same model")
    params, method = {**state.params, **taken}, state.method
    if "batch_stats" in method:
        found = held["method"].get("batch_stats", {})
        stats = {name: found[name] for name in taken if name in found and name in method["batch_stats"]}
        method = {**method, "batch_stats": {**method["batch_stats"], **stats}}
    return state.replace(params=params, method=adopt(params, method))


def is_key(leaf) -> bool:
    """Whether a leaf is a typed PRNG key."""
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def orbax(handler) -> ocp.Checkpointer:
    """A checkpointer of one process, whatever the number of processes."""
    alone = ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0}, barrier_sync_key_prefix="first")
    return ocp.Checkpointer(handler(multiprocessing_options=alone), multiprocessing_options=alone)


def first_line(error: BaseException) -> str:
    """An error as one line of bounded length."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:200]}" if text else type(error).__name__


def _shared(restored: Restored | None, damage: list[str]) -> tuple[Restored | None, list[str]]:
    """What process 0 has found, on every process."""
    if jax.process_count() == 1:
        return restored, damage
    about = None
    if restored is not None:
        shapes = {name: [str(leaf.dtype), leaf.shape] for name, leaf in restored.leaves.items()}
        about = dataclasses.asdict(dataclasses.replace(restored, leaves=shapes))
    about, damage = json.loads(text_from_first(json.dumps([about, damage])))
    if about is None:
        return None, damage
    if restored is None:
        leaves = {name: np.zeros(shape, np.dtype(dtype)) for name, (dtype, shape) in about["leaves"].items()}
        restored = Restored(**about | {"leaves": leaves})
    return dataclasses.replace(restored, leaves=from_first(restored.leaves)), damage
