"""word2vec.c (tmikolov/word2vec at 20c129a) in float64: one pair after another, as the tool does it.

`update` is what one place of a sentence does to the tables, and `train` the whole tool with one thread and one epoch.
With `frozen` tables all products are taken with those, so that updates add up as those of a batch do.
"""

import math

import numpy as np

TABLE_SIZE = 10**8  # of the table that negatives are drawn from


class Lcg:
    """The tool's random numbers: 64 bits, of which it uses the lower 16, or those above them."""

    def __init__(self, seed):
        self.state = seed

    def __call__(self):
        self.state = (self.state * 25214903917 + 11) % 2**64
        return self.state


def sentences(tokens, counts, sample, random):
    """The sentences of a running text of word ids, each ended by 0, without the places that sub-sampling drops."""
    total, kept = sum(counts), []
    for word in tokens:
        if word == 0:
            yield kept
            kept = []
            continue
        if sample > 0:
            share = (math.sqrt(counts[word] / (sample * total)) + 1) * (sample * total) / counts[word]
            if share < (random() & 0xFFFF) / 65536:
                continue
        kept.append(word)
        if len(kept) == 1000:
            yield kept
            kept = []


def train(tokens, counts, dim, *, cbow, window, negative, sample, rate, paths=None):
    """The input vectors after one epoch; the rate falls after 10,000 words, so that here it is constant.

    Args:
      tokens: ids of the running text, fewer than 10,000; every sentence ends by 0.
      counts: of the words; the first is the end of a sentence.
      negative: drawn words a pair, 0 for none.
      paths: word -> [(node, code)] of the tree, None without hierarchical softmax.
    """
    random, size = Lcg(1), len(counts)
    begin = [((random() & 0xFFFF) / 65536 - 0.5) / dim for _ in range(size * dim)]
    tables = {"inputs": np.array(begin).reshape(size, dim)}
    tables |= {"outputs": np.zeros((size, dim)), "nodes": np.zeros((size, dim))}
    ends = np.cumsum(np.asarray(counts) ** 0.75 / np.sum(np.asarray(counts) ** 0.75))
    random = Lcg(0)

    def draw():
        found = []
        for _ in range(negative):
            word = min(np.searchsorted(ends, ((random() >> 16) % TABLE_SIZE) / TABLE_SIZE), size - 1)
            found.append(int(word) or random.state % (size - 1) + 1)
        return found

    for sentence in sentences(tokens, counts, sample, random):
        for place in range(max(1, len(sentence))):  # for an empty sentence a number is drawn, too
            radius = window - random() % window
            if sentence:
                update(
                    sentence, place, radius, tables, rate=rate, cbow=cbow, negatives=draw if negative else None,
                    paths=paths, sigmoid=tabulated,
                )  # fmt: skip
    return tables["inputs"]


def tabulated(x):
    """The tool's sigmoid: of 1,000 values from -6 to 6, found with 83 in place of 1000 / 12 a unit."""
    place = int((x + 6) * (1000 // 6 // 2))
    return sigmoid((place / 1000 * 2 - 1) * 6)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def update(
    sentence, place, radius, tables, *, rate, cbow, negatives=None, weight=1.0, paths=None, frozen=None, sigmoid=sigmoid
):
    """What the word at `place` and its window do to `tables`: `inputs`, `outputs`, `nodes`, float64, changed in place.

    Args:
      negatives: () -> ids drawn for a pair, of which those equal to the word are skipped; None: no negative sampling.
      weight: of each negative.
      paths: word -> [(node, code)]; None: no hierarchical softmax.
      sigmoid: exact, or `tabulated` as in the tool.
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
