"""What a run looks at while it trains: a linear probe all the time, weighted kNN and recalled batches now and then.

Probe and kNN see labels of the TRAINING split alone: kNN classifies rows held out of the labelled ones, so that
choosing a checkpoint by it never touches test data.
"""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from ssl_jax.data.pipeline import Batches
from ssl_jax.data.sources import Source, Subset, hold_out
from ssl_jax.encoder import make_encoder
from ssl_jax.evaluation import labels
from ssl_jax.evaluation.knn import knn_predict, sensible_k
from ssl_jax.evaluation.online_probe import OnlineProbe
from ssl_jax.run.termination import Termination
from ssl_jax.train.experiment import Experiment
from ssl_jax.train.state import TrainState
from ssl_jax.train.step import views_of_step

QUERIES, BANK = 2_000, 10_000  # the most rows that are classified, and that vote


def probe(source: Source) -> OnlineProbe | None:
    """The linear probe of a labelled source; None without labels of two classes or more."""
    numbers = labels.classes(source.labels)
    if len(numbers) < 2:
        return None
    plain = source.labels.min() >= 0 and numbers[-1] < source.num_classes
    return OnlineProbe(source.num_classes) if plain else OnlineProbe(len(numbers), numbers=tuple(numbers.tolist()))


def labels_said(source: Source) -> str:
    """What of the labels of a source is worth a line at the start of a run; "" where every row has one."""
    said, numbers = labels.said(source.labels), labels.classes(source.labels)
    if len(numbers) == 1:
        said = f"of one class alone, {numbers[0]}"
    if len(numbers) < 2:
        return f"{said}: the online probe and kNN are off"
    return said and f"{said}, and trained on"


def evaluation(run: Experiment, source: Source, batches: Batches) -> Callable[[TrainState, Termination], dict] | None:
    """`(state, termination) -> metrics` of all that is looked at between steps; None where there is nothing."""
    looks = [look for look in (knn(run, source), between(run, batches)) if look is not None]
    if not looks:
        return None
    return lambda *asked: {name: value for look in looks for name, value in look(*asked).items()}


def between(run: Experiment, batches: Batches) -> Callable[[TrainState, Termination], dict] | None:
    """`(state, termination) -> metrics` from earlier batches, see `Method.between`; None where the method has none.

    A batch and its views are functions of the seed and the step: the past is made again, and needs no memory.
    """
    if run.method.between is None:
        return None

    @jax.jit
    def viewed(run_key, step, batch):
        key, views = views_of_step(run.method, run_key, step, batch)
        return views, key

    def look(state, termination):
        past = lambda step: viewed(state.key, np.int32(step), run.parallel.shard(batches[step]))  # noqa: E731
        found = run.method.between(state.params, state.method, past)
        return {name: float(value) for name, value in found.items()}

    return look


def knn(run: Experiment, source: Source) -> Callable[[TrainState, Termination], dict] | None:
    """`(state, termination) -> {"knn_top1": share}`; a fixed sixth of the rows is classified by the others.

    None where labels do not allow it: fewer than 6 of them, or of one class. Raises `Interrupted` when the termination
    is requested.
    """
    labelled = np.flatnonzero(source.labels >= 0) if source.labels is not None else ()
    if len(labelled) < 6:
        return None
    known = source if len(labelled) == len(source) else Subset(source, labelled)
    bank, queries = hold_out(known, min(len(known) // 6, QUERIES), seed=0)
    if len(bank) > BANK:
        _, bank = hold_out(bank, BANK, seed=0)
    try:
        labels.numbered({"label": bank.labels}, {"label": queries.labels})
    except ValueError:
        return None
    encoder = None

    def evaluate(state, termination):
        nonlocal encoder
        if encoder is None:
            encoder = make_encoder(run.method, run.parallel, state.params, state.method)
        encoder = dataclasses.replace(encoder, params=state.params, state=state.method)
        known, asked = (encoder.rows(rows, termination.until_requested) for rows in (bank, queries))
        if not all(np.isfinite(rows["features"]).all() for rows in (known, asked)):
            return {}  # of a diverged encoder, on which the loss has its own say
        known, asked, count = labels.numbered(known, asked)
        x, y = known["features"], known["label"]
        predicted = knn_predict(x, y, asked["features"], k=sensible_k(len(y), count), num_classes=count)
        return {"knn_top1": float(np.mean(predicted == asked["label"]))}

    return evaluate
