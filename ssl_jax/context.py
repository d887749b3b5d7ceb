"""What the protocols use of a run: features and held-out metrics of its encoder, trained and untrained."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from ssl_jax import methods, models, tuning
from ssl_jax.data import pipeline
from ssl_jax.encoder import KEPT, Encoder, make_encoder
from ssl_jax.evaluation import features, held_out, inputs, labels, protocols, towers
from ssl_jax.models.norm import BatchNorm
from ssl_jax.run import facts

# Batches that settle the untrained encoder's running statistics, and their size.
CALIBRATION_STEPS, CALIBRATION_ROWS = 50, 256


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
        for kind, own in kinds.items():  # one at a time: features of inner layers are large
            yield kind, tuple(own.rows(source, watch, keep) for source in (train, test))

    def measure(kind):
        run = held_out.forward(method, methods.Progress(0, 1))
        unseen = methods.read(splits[1], config, known, train=True)
        rows = held_out_rows(len(unseen), config)
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

    counted = getattr(train, "captions", None) is not None
    return protocols.Context(
        has=offered(config, method, train, test, files), features=found, held_out=measure,
        words=words if method.words else None, files=files, towers=two_towers,
        finetune=functools.partial(tuning.task, config, known, encoders, train, test, watch, layer),
        inner=inner, layers=layers_of(config),
        labels_per_class=config.eval.labels_per_class, unlabelled=config.eval.unlabelled,
        train=train, test=test, num_classes=train.num_classes, input_title=title,
        split=config.eval.test_split, layer=layer, pool=config.eval.pool,
        classes=tuple(config.eval.classes or getattr(test, "classes", None) or ()), prompts=tuple(config.eval.prompts),
        seed=config.seed,
    )  # fmt: skip


def offered(config, method, train, test, files: dict) -> frozenset:
    """What protocols may need and a method and its data have: see `protocols.Context.has`.

    Says of each split how many of its rows have no label, where some have none.
    """
    has = {*KEPT, "mask"} & train[0].keys() & test[0].keys()
    for source in (train, test) if "label" in has else ():
        if said := labels.said(source.labels):
            print(f"labels      of {source.name}: {said}")
        has -= set() if len(labels.classes(source.labels)) else {"label"}
    has |= {"layers"} if layers_of(config) else set()
    has |= {"words"} if method.words else set()
    has |= {"text"} if getattr(test, "captions", None) is not None else set()
    has |= {"text tower"} if method.tokenize else set()
    return frozenset(has | {name for name, path in files.items() if path})


def layers_of(config) -> tuple[str, ...]:
    """The inner layers that are probed: those of `config.eval.layers`, else those that the encoder names."""
    if config.eval.layers or config.model.get("name") not in models.names():  # others' names are those of methods
        return tuple(config.eval.layers)
    return tuple(getattr(models.build(config.model, norm=BatchNorm, dtype="float32"), "layers", ()))


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


def held_out_rows(examples: int, config) -> int:
    """The rows of a held-out batch: those of training; of fewer examples as many as fill groups of negatives."""
    batch = config.train.batch_size
    group = batch // config.method.get("groups", 1)
    return batch if examples >= batch else max(examples - examples % group, min(examples, group))


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
