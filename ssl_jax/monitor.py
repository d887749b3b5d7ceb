"""What a run looks at while it trains: a linear probe beside the encoder, and weighted kNN now and then.

Both see labels of the TRAINING split alone: kNN classifies rows held out of the labelled ones, so that choosing a
checkpoint by it never touches test data.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from ssl_jax.data.sources import Source, hold_out
from ssl_jax.encoder import make_encoder
from ssl_jax.evaluation.knn import knn_predict, sensible_k
from ssl_jax.evaluation.online_probe import OnlineProbe
from ssl_jax.train.experiment import Experiment
from ssl_jax.train.state import TrainState
from ssl_jax.train.termination import Termination

QUERIES, BANK = 2_000, 10_000  # the most rows that are classified, and that vote


def probe(source: Source) -> OnlineProbe | None:
    """The linear probe of a labelled source; None without labels."""
    return None if source.num_classes is None else OnlineProbe(source.num_classes)


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
