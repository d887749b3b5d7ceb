"""Phrases: words that come together much more often than by chance become one word, `new york` as `new_york`.

Mikolov et al. 2013, arXiv 1310.4546, section 4; official code: tmikolov/word2vec, word2phrase.c. Running it on its own
result makes phrases of up to four words.
"""

from collections import Counter
from collections.abc import Iterable, Iterator


def count(documents: Iterable[list[str]], min_count: int) -> tuple[dict, int]:
    """How often words, and pairs of neighbours, come, those that come `min_count` times; and the number of words.

    As in the code, the last word of a document and the first of the next count as neighbours, though they never become
    a phrase.
    """
    counts, total, last = Counter(), 0, ""
    for words in documents:
        counts.update(words)
        counts.update(f"{a}_{b}" for a, b in zip([last, *words[:-1]], words, strict=True))
        total, last = total + len(words), words[-1] if words else last
    return {word: n for word, n in counts.items() if n >= min_count}, total


def join(
    documents: Iterable[list[str]], counts: dict, total: int, *, min_count: int, threshold: float
) -> Iterator[list[str]]:
    """Documents in which neighbours a, b with `(n_ab - min_count) total / (n_a n_b) > threshold` are one word `a_b`.

    From left to right; a word is in one phrase only.

    >>> documents = [["in", "new", "york"], ["new", "york", "in"], ["york", "in", "in", "new"]]
    >>> counts, total = count(documents, 1)
    >>> list(join(documents[:1], counts, total, min_count=1, threshold=1.0))
    [['in', 'new_york']]
    """
    for words in documents:
        joined, free = [], False  # whether the last word may still begin a phrase
        for last, word in zip(["", *words[:-1]], words, strict=True):
            both = counts.get(f"{last}_{word}") if free and last in counts and word in counts else None
            score = (both - min_count) / counts[last] / counts[word] * total if both else 0.0
            if score > threshold:
                joined[-1] += f"_{word}"
                free = False
            else:
                joined.append(word)
                free = True
        yield joined
