"""Evaluates a run: probes of the trained encoder, beside input pixels and the same encoder before training.

    python -m ssl_jax.evaluate --workdir=runs/simclr_digits --protocols=knn,linear,few_label [--data=npz:DIR]

Writes `evaluation.json` in the run directory (running a protocol again replaces its rows) and prints a table.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

from absl import flags

from ssl_jax import tuning
from ssl_jax.context import context_of
from ssl_jax.data import sources
from ssl_jax.encoder import load_encoder
from ssl_jax.evaluation import protocols
from ssl_jax.paths import expand
from ssl_jax.run import command_line, workdir
from ssl_jax.run.processes import is_first, wait_for_first

FLAGS = flags.FLAGS
CHANGES = ("pool", "labels_per_class", "unlabelled", "finetune")  # flags that are keys of `config.eval`
TOGETHER = {"text tower", "layers"}  # what protocols need that encode themselves, on all processes


def evaluate(
    directory: Path, names, data: str | None = None, layer: str | None = None, checkpoint: str = "latest",
    watch: Callable = iter, files: dict | None = None, **changes,
) -> list[dict]:  # fmt: skip
    """Runs protocols on a finished or unfinished run, writes `evaluation.json` and prints the table.

    Protocols whose needs the data does not meet are left out, with a line that says so. All processes of a run encode;
    process 0 does the rest, and the others return no rows. `watch` wraps the batches that are encoded. `files`:
    questions about words, by the names of `protocols.FILES`, in place of those of the config. `changes`: other values
    of `config.eval`: `pool`, `layers`, `labels_per_class`, `unlabelled`, and `finetune` as in "epochs=5".
    """
    names, config = protocols.check(names), tuning.changed(workdir.read_config(directory), changes)
    spec = data or config.eval.source
    splits = (config.eval.train_split, config.eval.test_split)
    loaded = [sources.load(config.data, split, spec=spec) for split in splits]
    encoder = load_encoder(directory, layer, checkpoint, config.eval.pool)
    files = {name: (files or {}).get(name) or config.eval[name] for name in protocols.FILES}
    context = context_of(directory, config, encoder, loaded, watch, layer, files)
    names = protocols.possible(names, context.has)
    together = tuple(name for name in names if TOGETHER & protocols.load(name).NEEDS)
    names = tuple(name for name in names if name not in together)

    def keep(found):
        if found and is_first():
            path = directory / "evaluation.json"
            old = workdir.read_json(path, list) if path.exists() else []
            workdir.write_json(path, protocols.merge(old, found))

    rows = protocols.evaluate(context, together, keep)  # all processes encode together, here and in the next lines
    needs = [protocols.load(name).NEEDS for name in names]
    if any(need - protocols.WORDS for name, need in zip(names, needs, strict=True) if name != "finetune"):
        context.features()
    if any("words" in need for need in needs):
        context.words("random")
    if "pretext" in names:
        context = dataclasses.replace(context, held_out=functools.cache(context.held_out))
        with contextlib.suppress(ValueError):  # which the protocol raises again, and is left out
            for kind in ("random", "encoder"):
                context.held_out(kind)
    rows = rows + protocols.evaluate(context, names, keep) if is_first() else []
    if rows:
        print(protocols.told(rows, context.input_title))
    wait_for_first("evaluated")
    return rows


def probe(directory, protocols: tuple = ("knn", "linear", "few_label"), data: str | None = None) -> list[dict]:
    """The rows of some protocols on a run, as `evaluation.json` holds them: `python -m ssl_jax.evaluate` from Python.

    Args:
      directory: a run directory.
      protocols: names of files of `ssl_jax/evaluation/protocols/`.
      data: other data than the run's own, such as "npz:DIR".
    """
    return evaluate(expand(directory), tuple(protocols), data)


def main() -> int:
    names = [name.strip() for name in FLAGS.protocols.split(",") if name.strip()]
    if not names:
        known = ", ".join(protocols.NAMES)
        raise ValueError(f"--protocols={FLAGS.protocols} names none; name one or more of {known}, commas between")
    files = {name: FLAGS[name].value for name in protocols.FILES}
    rows = evaluate(
        expand(FLAGS.workdir), names, FLAGS.data, FLAGS.layer, FLAGS.checkpoint, files=files,
        layers=tuple(FLAGS.layers) if FLAGS.layers else None, **{name: FLAGS[name].value for name in CHANGES},
    )  # fmt: skip
    if not rows and is_first():
        raise ValueError(f"None of the protocols {', '.join(names)} could run, for the reasons above; give other data")
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Directory of a pretraining run.", required=True)
    flags.DEFINE_string("protocols", "knn,linear,few_label", "Which protocols, separated by commas.")
    flags.DEFINE_string("data", None, "Labelled data to evaluate on; the run's own if left out.")
    flags.DEFINE_string("layer", None, "Layer of the encoder; its output if left out.")
    flags.DEFINE_string("checkpoint", "latest", "latest, best (where config.train.keep_best), or a step.")
    flags.DEFINE_string("pool", None, "Pooling of tokens, mean or class; this and the next: the run's if left out.")
    flags.DEFINE_list("layers", None, "Inner layers for the protocol layers, such as conv_1,conv_5.")
    flags.DEFINE_integer("labels_per_class", None, "Labels a class of the protocol few_label.")
    flags.DEFINE_integer("unlabelled", None, "For segmentation: the value of pixels of a mask that do not count.")
    flags.DEFINE_string("finetune", None, "Settings in place of those of config.eval.finetune: epochs=5,mixup=0.8.")
    flags.DEFINE_string("analogies", None, "Questions for the protocol analogy; the run's own if left out.")
    flags.DEFINE_string("similarities", None, "Pairs for the protocol similarity; the run's own if left out.")
    command_line.run(main)
