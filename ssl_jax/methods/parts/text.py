"""Text as methods read it: words, their counts, and token ids in rows of equal length. NumPy alone, on the host."""

import itertools
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl_jax.methods.parts.stored import new_file

END = "</s>"  # word 0 of every vocabulary: the end of a sentence
PADDING = -1
LETTERS = re.compile(r"[^\W\d_]+")
SPLIT = {"spaces": str.split, "words": lambda text: LETTERS.findall(text.lower())}


def splitter(name: str) -> Callable[[str], list[str]]:
    """How text becomes words: "spaces", as published; "words", runs of letters in lower case.

    >>> splitter("words")("The cat's 2 hats.")
    ['the', 'cat', 's', 'hats']
    """
    if name not in SPLIT:
        raise ValueError(f"config.method.split is {name!r}; expected one of {', '.join(SPLIT)}")
    return SPLIT[name]


def vocabulary(source, split: Callable, min_count: int) -> dict[str, np.ndarray]:
    """The words of a source that come at least `min_count` times, the commonest first, behind the end of a sentence.

    Returns:
      `words`: uint8, UTF-8 joined by line ends; `counts` int64 [V], of `END` that of the documents; `seen` int64, all
      words of the source, with the rare ones.

    Raises:
      ValueError: the source has no text, or no word that is so common.
    """
    if "text" not in source[0]:
        raise ValueError(
            f"{source.name} has {', '.join(sorted(source[0]))} and no text; set config.data.source to text:PATH"
        )
    counts = Counter()
    for i in range(len(source)):
        counts.update(split(str(source[i]["text"])))
    seen = counts.total()
    counts.pop(END, None)
    kept = [(word, count) for word, count in counts.most_common() if count >= min_count]
    if not kept:
        raise ValueError(
            f"No word of {source.name} comes {min_count} times; give more text, or lower config.method.min_count"
        )
    words = np.frombuffer("\n".join([END, *(word for word, _ in kept)]).encode(), np.uint8)
    return {
        "words": words, "counts": np.array([len(source), *(count for _, count in kept)], np.int64),
        "seen": np.array(seen, np.int64),
    }  # fmt: skip


def words_of(facts) -> list[str]:
    """The words of a vocabulary, in the order of their ids."""
    return facts["words"].tobytes().decode().split("\n")


def encoder(facts, split: Callable) -> Callable[[str], np.ndarray]:
    """`text -> ids int32 [n]` of its words that the vocabulary has."""
    ids = {word: i for i, word in enumerate(words_of(facts))}
    del ids[END]  # it ends a document, and is no word in it

    def encode(text: str) -> np.ndarray:
        found = np.fromiter(map(ids.get, split(text), itertools.repeat(PADDING)), np.int32)
        return found[found != PADDING]

    return encode


@dataclass(frozen=True, eq=False)
class Pieces:
    """All documents one after another, each ended by id 0, cut into rows `tokens` int32 [length], the last padded by 0.

    Documents are encoded once, into a file that goes with the process, so that a text may be larger than memory.
    """

    name: str
    path: Path
    length: int
    total: int

    labels = num_classes = None

    @classmethod
    def of(cls, source, encode: Callable, length: int) -> "Pieces":
        path, total = new_file("tokens"), 0
        with open(path, "wb") as file:
            for i in range(len(source)):
                ids = np.append(encode(str(source[i]["text"])), np.int32(0))
                file.write(ids.tobytes())
                total += len(ids)
            file.write(np.zeros(-total % length, np.int32).tobytes())
        return cls(f"pieces of {source.name}", path, length, total)

    def __len__(self) -> int:
        return -(-self.total // self.length)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        return {"tokens": self.rows(np.array([i]))["tokens"][0]}

    def rows(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        tokens = np.memmap(self.path, np.int32, "r").reshape(-1, self.length)
        return {"tokens": np.array(tokens[ids])}


@dataclass(frozen=True, eq=False)
class Documents:
    """A document a row: the first `length` ids of its words, `tokens` int32 [length], padded by -1, and its label."""

    source: object
    encode: Callable
    length: int

    name = property(lambda self: self.source.name)
    labels = property(lambda self: self.source.labels)
    num_classes = property(lambda self: self.source.num_classes)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        example = self.source[i]
        tokens, ids = np.full(self.length, PADDING, np.int32), self.encode(str(example["text"]))[: self.length]
        tokens[: len(ids)] = ids
        return {"tokens": tokens} | ({"label": example["label"]} if "label" in example else {})

    def rows(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        found = [self[int(i)] for i in ids]
        return {key: np.stack([example[key] for example in found]) for key in found[0]}
