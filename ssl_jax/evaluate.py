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

from ssl_jax import methods, models, tuning
from ssl_jax.data import pipeline, sources
from ssl_jax.encoder import KEPT, Encoder, load_encoder, make_encoder
from ssl_jax.evaluation import features, held_out, inputs, labels, protocols, towers
from ssl_jax.models.norm import BatchNorm
from ssl_jax.paths import expand
from ssl_jax.run import command_line, facts, workdir
from ssl_jax.run.processes import is_first, wait_for_first

FLAGS = flags.FLAGS
# Batches that settle the untrained encoder's running statistics, and their size.
CALIBRATION_STEPS, CALIBRATION_ROWS = 50, 256
CHANGES = ("pool", "labels_per_class", "unlabelled", "finetune")  # flags that are keys of `config.eval`
TOGETHER = {"text tower", "layers"}  # what protocols need that encode themselves, on all processes


def calibration_rows(examples: int, config) -> int:
    """The rows of a batch that settles statistics: a multiple of the groups of batch norm.

    A group keeps its number of examples, see `methods/parts/networks.py`, so that other batches have other groups.
    """
    groups = config.model.get("norm_groups", 1)
    rows = min(max(CALIBRATION_ROWS, groups), examples)
    if rows < groups:
        raise ValueError(
            f"The training split has {examples} rows, fewer than config.model.norm_groups={groups}; give more data"
        )
    rows -= rows % groups
    of_these = max(1, rows // max(1, config.train.batch_size // groups))
    return rows - rows % of_these


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


def layers_of(config) -> tuple[str, ...]:
    """The inner layers that are probed: those of `config.eval.layers`, else those that the encoder names."""
    if config.eval.layers or config.model.get("name") not in models.names():  # others' names are those of methods
        return tuple(config.eval.layers)
    return tuple(getattr(models.build(config.model, norm=BatchNorm, dtype="float32"), "layers", ()))


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

    def inner(layer, pool, keep=KEPT, whole=False):
        seen = tuning.changed(config, {"crop": 0.0} if whole else {})
        encode = tuning.pooled_by(methods.build(seen, known), layer, pool, encoder.parallel)
        kinds = {kind: dataclasses.replace(own, encode=encode) for kind, own in encoders().items()}
        return {kind: tuple(own.rows(source, watch, keep) for source in (train, test)) for kind, own in kinds.items()}

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
        return {"input": towers.word_centroids(train, test), **kinds} if counted else kinds

    counted = naive is not None and getattr(train, "captions", None) is not None
    layers = layers_of(config)
    return protocols.Context(
        has=offered(method, train, test, files) | ({"layers"} if layers else set()), features=found, held_out=measure,
        words=words if method.words else None, files=files, towers=two_towers,
        finetune=functools.partial(tuning.task, config, known, encoders, train, test, watch, layer),
        inner=inner, layers=layers, labels_per_class=config.eval.labels_per_class, unlabelled=config.eval.unlabelled,
        train=train, test=test, num_classes=train.num_classes, input_title=title,
        split=config.eval.test_split, layer=layer, pool=config.eval.pool,
        classes=tuple(config.eval.classes or getattr(test, "classes", None) or ()), prompts=tuple(config.eval.prompts),
        seed=config.seed,
    )  # fmt: skip


def offered(method, train, test, files: dict) -> frozenset:
    """What protocols may need and a method and its data have: see `protocols.Context.has`.

    Says of each split how many of its rows have no label, where some have none.
    """
    has = {*KEPT, "mask"} & train[0].keys() & test[0].keys()
    for source in (train, test) if "label" in has else ():
        if said := labels.said(source.labels):
            print(f"labels      of {source.name}: {said}")
        has -= set() if len(labels.classes(source.labels)) else {"label"}
    has |= {"words"} if method.words else set()
    has |= {"text"} if getattr(test, "captions", None) is not None else set()
    has |= {"text tower"} if method.tokenize else set()
    return frozenset(has | {name for name, path in files.items() if path})


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
