"""What a run looks at while it trains: a linear probe all the time, weighted kNN and recalled batches now and then.

Probe and kNN see labels of the TRAINING split alone: kNN classifies rows held out of the labelled ones, so that
choosing a checkpoint by it never touches test data.
"""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from ssl_jax.data.pipeline import Batches
from ssl_jax.data.sources import Source, hold_out
from ssl_jax.encoder import make_encoder
from ssl_jax.evaluation.knn import knn_predict, sensible_k
from ssl_jax.evaluation.online_probe import OnlineProbe
from ssl_jax.run.termination import Termination
from ssl_jax.train.experiment import Experiment
from ssl_jax.train.state import TrainState
from ssl_jax.train.step import views_of_step

QUERIES, BANK = 2_000, 10_000  # the most rows that are classified, and that vote


def probe(source: Source) -> OnlineProbe | None:
    """The linear probe of a labelled source; None without labels."""
    return None if source.num_classes is None else OnlineProbe(source.num_classes)


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

    None without labels. Raises `Interrupted` when the termination is requested.
    """
    if source.num_classes is None:
        return None
    bank, queries = hold_out(source, min(len(source) // 6, QUERIES), seed=0)
    if len(bank) > BANK:
        _, bank = hold_out(bank, BANK, seed=0)
    encoder = None

    def evaluate(state, termination):
        nonlocal encoder
        if encoder is None:
            encoder = make_encoder(run.method, run.parallel, state.params, state.method)
        encoder = dataclasses.replace(encoder, params=state.params, state=state.method)
        known, asked = (encoder.rows(rows, termination.until_requested) for rows in (bank, queries))
        k = sensible_k(len(bank), source.num_classes)
        predicted = knn_predict(
            known["features"], known["label"], asked["features"], k=k, num_classes=source.num_classes
        )
        return {"knn_top1": float(np.mean(predicted == asked["label"]))}

    return evaluate
