"""word2vec.c (tmikolov/word2vec at 20c129a), TrainModelThread, in float64: one pair after another, as the tool does it.

`Lcg` and `sentences` are its random numbers and its reading of text; `update` is what one place of a sentence does to
the tables. With `frozen` tables all products are taken with those, so that updates add up as those of a batch do.
"""

import math

import numpy as np


class Lcg:
    """The tool's random numbers: 64 bits, of which it uses the lower 16, or those above them."""

    def __init__(self, seed):
        self.state = seed

    def __call__(self):
        self.state = (self.state * 25214903917 + 11) % 2**64
        return self.state


def sentences(tokens, counts, sample, random):
    """The sentences of a running text of word ids, 0 at their ends: without the places that sub-sampling drops."""
    total, kept = sum(counts), []
    for word in tokens:
        if word == 0 or len(kept) == 1000:
            if kept:
                yield kept
            kept = []
        if word == 0:
            continue
        if sample > 0:
            share = (math.sqrt(counts[word] / (sample * total)) + 1) * (sample * total) / counts[word]
            if share < (random() & 0xFFFF) / 65536:
                continue
        kept.append(word)
    if kept:
        yield kept


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def update(sentence, place, radius, tables, *, rate, cbow, negatives=None, weight=1.0, paths=None, frozen=None):
    """What the word at `place` and its window do to `tables`: `inputs`, `outputs`, `nodes`, float64, changed in place.

    Args:
      negatives: () -> ids drawn for a pair, of which those equal to the word are skipped; None: no negative sampling.
      weight: of each negative.
      paths: word -> [(node, code)]; None: no hierarchical softmax.
    """
    word, read = sentence[place], frozen or tables
    window = [c for c in range(place - radius, place + radius + 1) if c != place and 0 <= c < len(sentence)]
    if not window:
        return
    inputs = [[sentence[c] for c in window]] if cbow else [[sentence[c]] for c in window]
    for words in inputs:
        hidden = sum(read["inputs"][w] for w in words) / len(words)
        error = np.zeros_like(hidden)
        for node, code in paths[word] if paths else ():
            f = hidden @ read["nodes"][node]
            if abs(f) >= 6:
                continue
            g = (1 - code - sigmoid(f)) * rate
            error += g * read["nodes"][node]
            tables["nodes"][node] += g * hidden
        if negatives is not None:
            for target, label, w in [(word, 1, 1.0), *((n, 0, weight) for n in negatives() if n != word)]:
                f = hidden @ read["outputs"][target]
                g = (label - (1 if f > 6 else 0 if f < -6 else sigmoid(f))) * rate * w
                error += g * read["outputs"][target]
                tables["outputs"][target] += g * hidden
        for w in words:  # in CBOW the whole error for each, not its share
            tables["inputs"][w] += error
