"""Checkpoints of a run by orbax: `checkpoints/<step>/{model,training,host}`, written in the background.

`model` (parameters and the method's state) is apart from `training` (optimizer, probe, key), so that an encoder loads
without rebuilding the optimizer. `host` is plain JSON: what the loop itself remembers.
"""

from pathlib import Path

import jax
import orbax.checkpoint as ocp

from ssl_jax.train.state import TrainState

MODEL = ("params", "method")
TRAINING = ("step", "optimizer", "probe", "key")


class Checkpoints:
    """The checkpoints of one run directory; a context manager that waits for the last save on leaving.

    Args:
      directory: `runs/x/checkpoints`; made by the first save.
      keep: how many of the newest to keep.
    """

    def __init__(self, directory, keep: int = 2):
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=True)
        handlers = {
            "model": ocp.StandardCheckpointHandler(),
            "training": ocp.StandardCheckpointHandler(),
            "host": ocp.JsonCheckpointHandler(),
        }
        self._manager = ocp.CheckpointManager(Path(directory).resolve(), options=options, item_handlers=handlers)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._manager.close()

    @property
    def latest(self) -> int | None:
        """The newest complete step, None if there is none."""
        return self._manager.latest_step()

    def save(self, step: int, state: TrainState, host: dict, *, wait: bool = False) -> None:
        """Copies `state` to the host and writes it in the background; `wait` returns only when it is on disk."""
        if step not in self._manager.all_steps():
            items = {
                "model": ocp.args.StandardSave({name: getattr(state, name) for name in MODEL}),
                "training": ocp.args.StandardSave({name: getattr(state, name) for name in TRAINING}),
                "host": ocp.args.JsonSave(host),
            }
            self._manager.save(step, args=ocp.args.Composite(**items))
        if wait:
            self._manager.wait_until_finished()

    def restore(self, abstract: TrainState, sharding) -> tuple[TrainState, dict]:
        """The newest state and the loop's memory; `abstract` gives shapes and dtypes, `sharding` where it goes."""
        items = {
            "model": ocp.args.StandardRestore(_placed({name: getattr(abstract, name) for name in MODEL}, sharding)),
            "training": ocp.args.StandardRestore(
                _placed({name: getattr(abstract, name) for name in TRAINING}, sharding)
            ),
            "host": ocp.args.JsonRestore(),
        }
        restored = self._manager.restore(self.latest, args=ocp.args.Composite(**items))
        return TrainState(**restored["model"], **restored["training"]), restored["host"] or {}

    def restore_model(self, sharding) -> dict:
        """`{"params", "method"}` of the newest checkpoint, its shapes read from the checkpoint itself."""
        shapes = dict(self._manager.item_metadata(self.latest)["model"].tree)
        items = {"model": ocp.args.StandardRestore(_placed(shapes, sharding))}
        return self._manager.restore(self.latest, args=ocp.args.Composite(**items))["model"]


def load_model(run: Path, sharding) -> dict:
    """`{"params", "method"}` of the newest checkpoint of a run directory, placed by `sharding`.

    Raises:
      ValueError: there is no checkpoint.
    """
    if (run / "checkpoints").is_dir():
        with Checkpoints(run / "checkpoints") as checkpoints:
            if checkpoints.latest is not None:
                return checkpoints.restore_model(sharding)
    raise ValueError(f"{run} has no checkpoint; give the directory of a run that has reached its first one")


def start_from(run: Path, state: TrainState, sharding) -> TrainState:
    """`state` with the parameters of another run's newest checkpoint; everything else starts anew.

    Raises:
      ValueError: there is no checkpoint, or its parameters have other names or shapes.
    """
    params = load_model(run, sharding)["params"]
    if jax.tree.map(jax.numpy.shape, params) != jax.tree.map(jax.numpy.shape, state.params):
        raise ValueError(f"config.train.init_from={run} holds other parameters; give a run of the same model")
    return state.replace(params=params)


def _placed(tree, sharding):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree)
