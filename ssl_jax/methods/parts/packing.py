"""Documents as rows of tokens for BERT: pairs of segments as published, or text without gaps. NumPy alone, on the host.

A row has `tokens`, `segments` and `documents`, int32 [length]; `words`, int32 [length], numbers the words that its
tokens belong to, -1 for what is never masked; `next`, int32, is 1 where the second segment of a pair is a random one.
"""

import re
from collections.abc import Callable

import numpy as np

from ssl_jax.data.arrays import from_arrays

SENTENCE = re.compile(r"(?<=[.!?])\s+")
KINDS = ("pairs", "full", "separate")


def rows_of(source, encode: Callable, special: dict[str, int], *, kind: str, length: int, copies: int, seed: int):
    """The documents of a source as rows.

    Args:
      source: documents under `text`.
      encode: `list of texts -> list of (ids, words)`, the number of the word that each id belongs to.
      special: ids of "[CLS]" and "[SEP]".
      kind: "pairs" of segments, half of them random, as published; "full" rows of text that may cross documents;
        "separate" rows likewise, in which no token attends to another document.
      length: of a row.
      copies: how often pairs are drawn anew of all documents.
      seed: of the pairs.

    Raises:
      ValueError: no text, or too few documents for random pairs.
    """
    documents = encode_documents(source, encode, sentences=kind == "pairs")
    if kind == "pairs":
        rng = np.random.default_rng(seed)
        if len(documents) < 2:
            raise ValueError(f"{source.name} has {len(documents)} document; expected 2 or more, for random pairs")
        made = [
            pair_row(*pair, special, length)
            for _ in range(copies)
            for number in range(len(documents))
            for pair in pairs(documents, number, length - 3, rng)
        ]
    else:
        made = list(full_rows([document[0] for document in documents], special, length, kind == "separate"))
    if not made:
        raise ValueError(f"{source.name} gives no row of {length} tokens; give more text or lower config.method.length")
    return from_arrays({key: np.stack([row[key] for row in made]) for key in made[0]}, f"{kind} of {source.name}")


def encode_documents(source, encode: Callable, *, sentences: bool) -> list:
    """Each document as a list of segments (ids, words): its sentences, or the whole of it."""
    if "text" not in source[0]:
        raise ValueError(
            f"{source.name} has {', '.join(sorted(source[0]))} and no text; set config.data.source to text:PATH"
        )
    texts = [str(source[i]["text"]) for i in range(len(source))]
    cut = [SENTENCE.split(text) if sentences else [text] for text in texts]
    encoded = iter(encode([part for parts in cut for part in parts]))
    documents = [[next(encoded) for _ in parts] for parts in cut]
    documents = [[part for part in parts if len(part[0])] for parts in documents]
    return [parts for parts in documents if parts]


def pairs(documents: list, number: int, longest: int, rng: np.random.Generator):
    """Pairs of segments of a document, `(first, second, is_random)`, as `create_pretraining_data.py` draws them.

    Sentences are added up to a target length, one time in ten a shorter one; the sum is split at a random sentence.
    Half of the time, and always where there is but one sentence, the second half is replaced by the beginning of a
    random place of another document, and the sentences that it takes the place of are used again. So more than half of
    the pairs are random.
    """
    document, at = documents[number], 0

    def target():
        return int(rng.integers(2, longest + 1)) if rng.random() < 0.1 else longest

    wanted, chunk, size = target(), [], 0
    while at < len(document):
        chunk.append(document[at])
        size += len(document[at][0])
        if at == len(document) - 1 or size >= wanted:
            end = int(rng.integers(1, len(chunk))) if len(chunk) >= 2 else 1
            first, second = chunk[:end], chunk[end:]
            is_random = len(chunk) == 1 or rng.random() < 0.5
            if is_random:
                other = int(rng.integers(len(documents) - 1))
                other = documents[other + (other >= number)]
                second, place = [], int(rng.integers(len(other)))
                room = wanted - sum(len(ids) for ids, _ in first)
                for segment in other[place:]:
                    second.append(segment)
                    if sum(len(ids) for ids, _ in second) >= room:
                        break
                at -= len(chunk) - end
            yield *truncate(joined(first), joined(second), longest, rng), is_random
            wanted, chunk, size = target(), [], 0
        at += 1


def joined(segments) -> tuple[np.ndarray, np.ndarray]:
    """Segments as one; the words of all are numbered on."""
    ids, words, count = [], [], 0
    for own_ids, own_words in segments:
        ids.append(np.asarray(own_ids))
        words.append(np.asarray(own_words) + count)
        count = int(words[-1][-1]) + 1
    return np.concatenate(ids), np.concatenate(words)


def truncate(first, second, longest: int, rng: np.random.Generator):
    """Tokens are taken off the longer of the two until they fit, half of the time at its front."""
    sides = [list(first), list(second)]
    while (total := sum(len(ids) for ids, _ in sides)) > longest:
        side = sides[0] if len(sides[0][0]) > len(sides[1][0]) else sides[1]
        keep = slice(1, None) if rng.random() < 0.5 else slice(None, -1)
        side[:] = [part[keep] for part in side]
        assert total > 0
    return tuple(sides[0]), tuple(sides[1])


def pair_row(first, second, is_random: bool, special: dict[str, int], length: int) -> dict[str, np.ndarray]:
    """`[CLS] first [SEP] second [SEP]`, segments 0 and 1, then padding."""
    start, end = [special["[CLS]"]], [special["[SEP]"]]
    tokens = np.concatenate([start, first[0], end, second[0], end])
    offset = int(first[1][-1]) + 1 if len(first[1]) else 0
    words = np.concatenate([[-1], first[1], [-1], second[1] + offset, [-1]])
    segments = np.repeat([0, 1], [len(first[0]) + 2, len(second[0]) + 1])
    documents = np.ones(len(tokens), np.int32)
    row = {"tokens": tokens, "words": words, "segments": segments, "documents": documents}
    row = {key: padded(values, length, -1 if key == "words" else 0) for key, values in row.items()}
    return row | {"next": np.int32(is_random)}


def full_rows(documents, special: dict[str, int], length: int, separate: bool):
    """All documents one after another, `[SEP]` behind each, cut into rows behind `[CLS]`; the rest is left out.

    RoBERTa's "full sentences". Numbers of documents are 1, 2, ... within a row where they are separate, else 1.
    """
    ids = np.concatenate([np.append(ids, special["[SEP]"]) for ids, _ in documents])
    words = np.concatenate([np.append(words, -1) for _, words in documents])
    # Words are numbered within their documents: over a row, a new number begins where a number or a document changes.
    document = np.repeat(np.arange(len(documents)), [len(own) + 1 for own, _ in documents])
    new = np.append(True, (words[1:] != words[:-1]) | (document[1:] != document[:-1]))
    words = np.where(words < 0, -1, np.cumsum(new))
    for start in range(0, len(ids) - (length - 1) + 1, length - 1):
        part = slice(start, start + length - 1)
        own = document[part] - document[start] + 1 if separate else np.ones(length - 1, int)
        shifted = np.where(words[part] < 0, -1, words[part] - words[part].min(initial=10**9, where=words[part] >= 0))
        row = {
            "tokens": np.append(special["[CLS]"], ids[part]), "words": np.append(-1, shifted),
            "segments": np.zeros(length, int), "documents": np.append(1, own), "next": 0,
        }  # fmt: skip
        yield {key: np.asarray(values, np.int32) for key, values in row.items()}


def padded(values, length: int, fill: int) -> np.ndarray:
    """int32 [length], filled up."""
    row = np.full(length, fill, np.int32)
    row[: len(values)] = values
    return row
