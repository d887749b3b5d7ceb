"""Evaluates a run: probes of the trained encoder, beside input pixels and the same encoder before training.

    python -m ssl_jax.evaluate --workdir=runs/simclr_digits --protocols=knn,linear,few_label [--data=npz:DIR]

Writes `evaluation.json` in the run directory (running a protocol again replaces its rows) and prints a table.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from absl import flags

from ssl_jax import methods
from ssl_jax.data import pipeline, sources
from ssl_jax.encoder import KEPT, Encoder, load_encoder, make_encoder
from ssl_jax.evaluation import features, held_out, inputs, protocols, towers
from ssl_jax.run import command_line, facts, workdir
from ssl_jax.run.processes import is_first, wait_for_first

FLAGS = flags.FLAGS
# Batches that settle the untrained encoder's running statistics, and their size.
CALIBRATION_STEPS, CALIBRATION_ROWS = 50, 256


def calibration_rows(examples: int, config) -> int:
    """The rows of a batch that settles statistics: a multiple of the groups of batch norm."""
    groups = config.model.get("norm_groups", 1)
    rows = min(max(CALIBRATION_ROWS, groups), examples)
    if rows < groups:
        raise ValueError(
            f"The training split has {examples} rows, fewer than config.model.norm_groups={groups}; give more data"
        )
    return rows - rows % groups


def untrained(encoder: Encoder, config, pipe: pipeline.Batches, known: dict) -> dict[str, Encoder]:
    """The encoder before its first step: "random_initial" with its norms' first statistics, "random" with settled ones.

    Without batch statistics the two are one, "random".
    """
    method, key = methods.build(config, known), jax.random.key(config.seed)
    views = jax.jit(jax.vmap(method.views))

    def viewed(k):
        return views(jax.random.split(jax.random.fold_in(key, k), pipe.batch_size), pipe[k])

    params, state = jax.jit(method.init)(key, {name: rows[:2] for name, rows in viewed(0).items()})
    made = {"random": state}
    if jax.tree.leaves(state.get("batch_stats", {})):
        batches = map(viewed, range(CALIBRATION_STEPS))
        made = {"random_initial": state}
        made["random"] = features.calibrate(method.embed, params, state, batches, key, methods.Progress(0, 1))
    params, made = encoder.parallel.replicate((params, made))
    return {kind: dataclasses.replace(encoder, params=params, state=state) for kind, state in made.items()}


def context_of(directory: Path, config, encoder: Encoder, splits, watch: Callable, layer, files: dict):
    """What the protocols use: features of every kind and held-out metrics, made when they are asked for.

    `splits`: the sources of the training and the test split; `layer`: its name or None; `files`: as in
    `protocols.Context`.
    """
    known = facts.read(directory)
    method = methods.build(config, known)
    train, test = (methods.read(source, config, known, train=False) for source in splits)
    title, naive = inputs.naive(train)

    @functools.cache
    def encoders():
        rows = methods.read(splits[0], config, known, train=True)
        batches = pipeline.Batches(rows, batch_size=calibration_rows(len(rows), config), seed=config.seed)
        return {**untrained(encoder, config, batches, known), "encoder": encoder}

    @functools.cache
    def found():
        kinds = {kind: own.rows for kind, own in encoders().items()}
        if method.input_layer:  # the mean of the trained vectors of tokens, whatever stands around them
            vectors = make_encoder(method, encoder.parallel, encoder.params, encoder.state, method.input_layer)
            kinds = {"vectors": vectors.rows, **kinds}
        if naive:
            kinds = {"input": lambda source, watch: naive(source), **kinds}
        elif title:
            print(f"{title} left out: as features they would take more than {inputs.MOST_PIXELS / 2**30:.0f} GiB")
        return {kind: (rows(train, watch), rows(test, watch)) for kind, rows in kinds.items()}

    def measure(kind):
        run = held_out.forward(method, methods.Progress(0, 1))
        unseen = methods.read(splits[1], config, known, train=True)
        rows = min(config.train.batch_size, len(unseen))
        batches = pipeline.Batches(unseen, batch_size=rows, seed=config.seed, shuffle=False)
        own = encoders()[kind]
        params, state = jax.tree.map(np.asarray, (own.params, {"batch_stats": {}} | own.state))  # on one device
        key = jax.random.key(config.seed)
        return held_out.measure(run, params, state, watch(batches[k] for k in range(len(unseen) // rows)), key)

    def words(kind):
        listed, vectors = method.words(encoders()[kind].params)
        return listed, np.asarray(vectors, np.float32)

    @functools.cache
    def two_towers():
        def of(own):
            images = functools.cache(lambda: own.rows(test, watch, joint=True)["features"])
            return towers.Towers(images, functools.partial(own.text, truncate=True))

        kinds = {kind: of(own) for kind, own in encoders().items()}
        counted = captions[0] and naive is not None
        return {"input": towers.word_centroids(train, test), **kinds} if counted else kinds

    captions = [getattr(source, "captions", None) is not None for source in (train, test)]
    labelled = train.num_classes is not None and test.num_classes is not None
    has = (frozenset(KEPT) & train[0].keys() & test[0].keys()) - (set() if labelled else {"label"})
    has |= {"words"} if method.words else set()
    has |= {"text"} if captions[1] else set()
    has |= {"text tower"} if encoder.joint is not None else set()
    has |= {name for name, path in files.items() if path}
    return protocols.Context(
        has=frozenset(has), features=found, held_out=measure, words=words if method.words else None, files=files,
        towers=two_towers, test=test, num_classes=train.num_classes, input_title=title,
        split=config.eval.test_split, layer=layer,
        classes=tuple(config.eval.classes or getattr(test, "classes", None) or ()), prompts=tuple(config.eval.prompts),
        seed=config.seed,
    )  # fmt: skip


def evaluate(
    directory: Path, names, data: str | None = None, layer: str | None = None, checkpoint: str = "latest",
    watch: Callable = iter, files: dict | None = None,
) -> list[dict]:  # fmt: skip
    """Runs protocols on a finished or unfinished run, writes `evaluation.json` and prints the table.

    Protocols whose needs the data does not meet are left out, with a line that says so. All processes of a run encode;
    process 0 does the rest, and the others return no rows. `watch` wraps the batches that are encoded. `files`:
    questions about words, by the names of `protocols.FILES`, in place of those of the config.
    """
    names, config = protocols.check(names), workdir.read_config(directory)
    spec = data or config.eval.source
    splits = (config.eval.train_split, config.eval.test_split)
    loaded = [sources.load(config.data, split, spec=spec) for split in splits]
    encoder = load_encoder(directory, layer, checkpoint)
    files = {name: (files or {}).get(name) or config.eval[name] for name in protocols.FILES}
    context = context_of(directory, config, encoder, loaded, watch, layer, files)
    names = protocols.possible(names, context.has)
    of_texts = tuple(name for name in names if "text tower" in protocols.load(name).NEEDS)
    names = tuple(name for name in names if name not in of_texts)
    rows = protocols.evaluate(context, of_texts)  # all processes encode together, here and in the next lines
    needs = [protocols.load(name).NEEDS for name in names]
    if any(need - protocols.WORDS for need in needs):
        context.features()
    if any("words" in need for need in needs):
        context.words("random")
    if "pretext" in names:
        context = dataclasses.replace(context, held_out=functools.cache(context.held_out))
        for kind in ("random", "encoder"):
            context.held_out(kind)
    rows = rows + protocols.evaluate(context, names) if is_first() else []
    if rows:
        path = directory / "evaluation.json"
        old = workdir.read_json(path) if path.exists() else []
        workdir.write_json(path, protocols.merge(old, rows))
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
    return evaluate(Path(directory), tuple(protocols), data)


def main() -> int:
    names = [name for name in FLAGS.protocols.split(",") if name]
    files = {name: FLAGS[name].value for name in protocols.FILES}
    evaluate(Path(FLAGS.workdir).expanduser(), names, FLAGS.data, FLAGS.layer, FLAGS.checkpoint, files=files)
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Directory of a pretraining run.", required=True)
    flags.DEFINE_string("protocols", "knn,linear,few_label", "Which protocols, separated by commas.")
    flags.DEFINE_string("data", None, "Labelled data to evaluate on; the run's own if left out.")
    flags.DEFINE_string("layer", None, "Layer of the encoder; its output if left out.")
    flags.DEFINE_string("checkpoint", "latest", "latest, best (where config.train.keep_best), or a step.")
    flags.DEFINE_string("analogies", None, "Questions for the protocol analogy; the run's own if left out.")
    flags.DEFINE_string("similarities", None, "Pairs for the protocol similarity; the run's own if left out.")
    command_line.run(main)
