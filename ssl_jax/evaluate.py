"""Evaluates a run: probes of the trained encoder, beside input pixels and the same encoder before training.

    python -m ssl_jax.evaluate --workdir=runs/simclr_digits --protocols=knn,linear,few_label [--data=npz:DIR]

Writes `evaluation.json` in the run directory (running a protocol again replaces its rows) and prints a table.
"""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import jax
from absl import flags

from ssl_jax import methods
from ssl_jax.data import pipeline, sources
from ssl_jax.encoder import Encoder, load_encoder
from ssl_jax.evaluation import features, protocols
from ssl_jax.run import command_line, facts, workdir
from ssl_jax.run.processes import is_first, wait_for_first

FLAGS = flags.FLAGS
# Batches that settle the untrained encoder's running statistics, and their size.
CALIBRATION_STEPS, CALIBRATION_ROWS = 50, 256
MOST_PIXELS = 2**32  # bytes of the training set's pixels as float32; beyond it the baseline of raw pixels is left out


def calibration_rows(examples: int, config) -> int:
    """The rows of a batch that settles statistics: a multiple of the groups of batch norm."""
    groups = config.model.get("norm_groups", 1)
    rows = min(max(CALIBRATION_ROWS, groups), examples)
    if rows < groups:
        raise ValueError(
            f"The training split has {examples} rows, fewer than config.model.norm_groups={groups}; give more data"
        )
    return rows - rows % groups


def untrained(encoder: Encoder, config, pipe: pipeline.Batches, known: dict) -> Encoder:
    """The encoder before its first step, its batch statistics settled on training batches."""
    method, key = methods.build(config, known), jax.random.key(config.seed)
    views = jax.jit(jax.vmap(method.views))

    def viewed(k):
        return views(jax.random.split(jax.random.fold_in(key, k), pipe.batch_size), pipe[k])

    params, state = jax.jit(method.init)(key, {name: rows[:2] for name, rows in viewed(0).items()})
    batches = map(viewed, range(CALIBRATION_STEPS))
    state = features.calibrate(method.embed, params, state, batches, key, methods.Progress(0, 1))
    params, state = encoder.parallel.replicate((params, state))
    return dataclasses.replace(encoder, params=params, state=state)


def evaluate(
    directory: Path, names, data: str | None = None, layer: str | None = None, checkpoint: str = "latest",
    watch: Callable = iter,
) -> list[dict]:  # fmt: skip
    """Runs protocols on a finished or unfinished run, writes `evaluation.json` and prints the table.

    All processes of a run encode; process 0 does the rest, and the others return no rows. `watch` wraps the batches
    that are encoded.
    """
    names, config = protocols.check(names), workdir.read_config(directory)
    spec = data or config.eval.source or config.data.source
    splits = (config.eval.train_split, config.eval.test_split)
    train, test = (sources.load(spec, split, canvas=config.data.canvas or None) for split in splits)
    if train.num_classes is None or test.num_classes is None:
        raise ValueError(f"{spec} has no labels, which probes need; give labelled data: --data or config.eval.source")

    encoder = load_encoder(directory, layer, checkpoint)
    batches = pipeline.Batches(train, batch_size=calibration_rows(len(train), config), seed=config.seed)
    kinds = {"random": untrained(encoder, config, batches, facts.read(directory)).rows, "encoder": encoder.rows}
    pixels = 4 * len(train) * math.prod(train[0]["image"].shape)
    if pixels <= MOST_PIXELS:
        kinds = {"input": lambda source, watch: features.input_rows(source), **kinds}
    else:
        print(f"input pixels left out: as features they would take {pixels / 2**30:.0f} GiB")
    found = {kind: (rows(train, watch), rows(test, watch)) for kind, rows in kinds.items()}
    rows = []
    if is_first():
        rows = protocols.evaluate(
            found, names, num_classes=train.num_classes, split=config.eval.test_split, layer=layer, seed=config.seed
        )
        path = directory / "evaluation.json"
        old = workdir.read_json(path) if path.exists() else []
        workdir.write_json(path, protocols.merge(old, rows))
        print(protocols.table(rows))
    wait_for_first("evaluated")
    return rows


def main() -> int:
    names = [name for name in FLAGS.protocols.split(",") if name]
    evaluate(Path(FLAGS.workdir), names, FLAGS.data, FLAGS.layer, FLAGS.checkpoint)
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Directory of a pretraining run.", required=True)
    flags.DEFINE_string("protocols", "knn,linear,few_label", "Which protocols, separated by commas.")
    flags.DEFINE_string("data", None, "Labelled data to evaluate on; the run's own if left out.")
    flags.DEFINE_string("layer", None, "Layer of the encoder; its output if left out.")
    flags.DEFINE_string("checkpoint", "latest", "latest, best (where config.train.keep_best), or a step.")
    command_line.run(main)
