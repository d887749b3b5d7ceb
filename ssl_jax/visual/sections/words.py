"""Vectors of words: a map of the frequent ones, and the nearest of some."""

import numpy as np

from ssl_jax.evaluation.word_tests import nearest
from ssl_jax.visual import maps
from ssl_jax.visual.page import percent, table

FREQUENT, SHOWN, LETTERS = 400, 110, 4  # the words that the axes are of; those on the map, of so many letters or more
ASKED, NEAREST = 10, 5


def show(run) -> str:
    listed, vectors = run.method.words(run.model["params"])
    vectors = np.asarray(vectors, np.float32)
    words = [i for i, word in enumerate(listed[1 : FREQUENT + 1], 1) if len(word) >= LETTERS and word.isalpha()]
    words = words or list(range(1, min(len(listed), FREQUENT)))
    unit = vectors[words] / np.maximum(np.linalg.norm(vectors[words], axis=1, keepdims=True), 1e-12)
    places, shares = maps.principal(unit)
    names = [listed[i] for i in words][:SHOWN]
    drawn = maps.words(places[:SHOWN], names, f"A map of {len(names)} frequent words")
    step = max(1, len(names) // ASKED)
    rows = [
        (word, ", ".join(f"{near} {cosine:.2f}" for near, cosine in nearest(listed, vectors, word, NEAREST)))
        for word in names[::step][:ASKED]
    ]
    return (
        f"<h3>Word map</h3><p class=\"soft\">Two principal components of {len(words)} frequent words' vectors, "
        f"{percent(shares.sum())} of their variance; words stand where more frequent ones leave room.</p>{drawn}"
        f"<h3>Nearest words</h3>{table(('word', 'nearest, and their cosines'), rows)}"
    )
