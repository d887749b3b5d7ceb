"""Documents as rows of tokens for BERT: pairs of segments as published, or text without gaps. NumPy alone, on the host.

A row has `tokens`, `segments` and `documents`, int32 [length]; `words`, int32 [length], numbers the words that its
tokens belong to, -1 for what is never masked; `next`, int32, is 1 where the second segment of a pair is a random one.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from ssl_jax.methods.parts.stored import Rows, StoredDocuments

AT_ONCE = 1000  # documents that are encoded together
SENTENCE = re.compile(r"(?<=[.!?])\s+")
KINDS = ("pairs", "full", "separate")


def rows_of(source, encode: Callable, special: dict[str, int], *, kind: str, length: int, copies: int, seed: int):
    """The documents of a source as rows, in files: a text may be larger than memory.

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
        rng, documents = np.random.default_rng(seed), StoredDocuments(documents)
        if len(documents) < 2:
            raise ValueError(f"{source.name} has {len(documents)} document; expected 2 or more, for random pairs")
        made = (
            {key: np.asarray(values)[None] for key, values in pair_row(*pair, special, length).items()}
            for _ in range(copies)
            for number in range(len(documents))
            for pair in pairs(documents, number, length - 3, rng)
        )
    else:
        made = full_rows((document[0] for document in documents), special, length, kind == "separate")
    rows = Rows.of(made, f"{kind} of {source.name}")
    if not len(rows):
        raise ValueError(f"{source.name} gives no row of {length} tokens; give more text or lower config.method.length")
    return rows


def encode_documents(source, encode: Callable, *, sentences: bool) -> Iterator[list]:
    """Each document that has any tokens as a list of segments (ids, words): its sentences, or the whole of it."""
    if "text" not in source[0]:
        raise ValueError(
            f"{source.name} has {', '.join(sorted(source[0]))} and no text; set config.data.source to text:PATH"
        )
    for start in range(0, len(source), AT_ONCE):
        texts = [str(source[i]["text"]) for i in range(start, min(start + AT_ONCE, len(source)))]
        cut = [SENTENCE.split(text) if sentences else [text] for text in texts]
        encoded = iter(encode([part for parts in cut for part in parts]))
        for parts in cut:
            document = [segment for segment in (next(encoded) for _ in parts) if len(segment[0])]
            if document:
                yield document


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


def full_rows(documents: Iterable, special: dict[str, int], length: int, separate: bool) -> Iterator[dict]:
    """All documents (ids, words) one after another, `[SEP]` behind each, cut into rows behind `[CLS]`, in blocks.

    RoBERTa's "full sentences"; what is left at the end fills no row and is left out. Numbers of documents are 1, 2, ...
    within a row where they are separate, else 1.
    """
    numbered, left = enumerate(documents), np.zeros((0, 3), np.int32)
    while block := list(itertools.islice(numbered, AT_ONCE)):
        columns = [
            np.stack([np.append(ids, special["[SEP]"]), np.append(words, -1), np.full(len(ids) + 1, i)], axis=1)
            for i, (ids, words) in block
        ]
        whole = np.concatenate([left, *columns])
        count = len(whole) // (length - 1)
        left, rows = whole[count * (length - 1) :], whole[: count * (length - 1)].reshape(count, length - 1, 3)
        tokens, words, document = np.moveaxis(rows, 2, 0)
        # Words are numbered within their documents: over a row, a number begins where a word or a document changes.
        new = (words[:, 1:] != words[:, :-1]) | (document[:, 1:] != document[:, :-1])
        number = np.cumsum(np.insert(new, 0, False, axis=1), axis=1)
        yield {
            "tokens": np.insert(tokens, 0, special["[CLS]"], axis=1),
            "words": np.insert(np.where(words < 0, -1, number), 0, -1, axis=1),
            "segments": np.zeros((count, length), int),
            "documents": np.insert(document - document[:, :1] + 1 if separate else np.ones_like(tokens), 0, 1, axis=1),
            "next": np.zeros(count, int),
        }


def padded(values, length: int, fill: int) -> np.ndarray:
    """int32 [length], filled up."""
    row = np.full(length, fill, np.int32)
    row[: len(values)] = values
    return row
