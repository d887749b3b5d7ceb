"""Text: files with one document a line, and small generated sentences for tests.

    text:FILE                              the file is the split "train"
    text:DIR                               DIR/<split>.txt
    tsv:PREFIX                             PREFIX_<split>.tsv with a header, then a label, a tab and a sentence a line;
                                           label -1: none
    synthetic_text, synthetic_text:COUNT   COUNT sentences of four topics for each of train, validation and test

A document is a string under `text`. Strings stay on the host: a method that learns from text says how it reads them
with `read`, see `methods/api.py`. Files are read through memory maps, with 16 bytes of memory a line.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ssl_jax.data.arrays import ArraySource, from_arrays
from ssl_jax.paths import expand

CHUNK = 1 << 24  # bytes that are searched for line ends at a time
SPLITS = ("train", "validation", "test")
TOPICS = {
    "animals": "cat dog horse cow sheep goat mouse bird fish lion tiger bear".split(),
    "food": "bread cheese milk apple soup rice salt butter meat cake tea egg".split(),
    "weather": "rain snow wind sun cloud storm fog ice thunder summer winter sky".split(),
    "music": "piano guitar drum song singer violin melody choir dance flute band concert".split(),
}
COMMON = "the a of and in with near was is to".split()


@dataclass(frozen=True, eq=False)
class Lines:
    """The lines of a text file that are not empty, each a document; a file may be larger than memory."""

    name: str
    path: Path

    labels = num_classes = None

    @cached_property
    def bounds(self) -> np.ndarray:
        """Where each line begins and ends, int64 [N, 2], in bytes."""
        size, found = self.path.stat().st_size, []
        if size:
            text = np.memmap(self.path, np.uint8, "r")
            ends = (np.flatnonzero(text[at : at + CHUNK] == ord("\n")) + at for at in range(0, size, CHUNK))
            found = np.concatenate([*ends, [size]])
        starts = np.concatenate([[0], np.asarray(found, np.int64) + 1])[:-1] if len(found) else []
        bounds = np.stack([np.asarray(starts, np.int64), np.asarray(found, np.int64)], axis=1)
        return bounds[bounds[:, 1] > bounds[:, 0]]

    def __len__(self) -> int:
        return len(self.bounds)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        begin, end = self.bounds[i]
        try:
            return {"text": np.array(self._bytes(begin, end).decode("utf-8").strip())}
        except UnicodeDecodeError as error:
            raise ValueError(
                f"Line {i + 1} of {self.path}, empty ones not counted, is not UTF-8 ({error.reason}); "
                f"convert the file, for example by `iconv -f latin1 -t utf-8`"
            ) from error

    def rows(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        return {"text": np.array([self[int(i)]["text"] for i in ids])}

    def _bytes(self, begin, end) -> bytes:
        return self._text[begin:end].tobytes()

    @cached_property
    def _text(self) -> np.memmap:
        return np.memmap(self.path, np.uint8, "r")

    def __getstate__(self):  # reading processes map the file themselves
        return {name: value for name, value in vars(self).items() if name != "_text"}


@dataclass(frozen=True, eq=False)
class Sentences:
    """Sentence i of a split is a function of the two: words of one of `TOPICS`, its label, among common ones."""

    count: int
    split: str

    num_classes = len(TOPICS)
    name = property(lambda self: f"synthetic_text:{self.count}/{self.split}")

    @cached_property
    def labels(self) -> np.ndarray:
        return (np.arange(self.count) % len(TOPICS)).astype(np.int32)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([SPLITS.index(self.split), int(i)])
        topic = list(TOPICS.values())[self.labels[i]]
        words = [str(rng.choice(COMMON if rng.random() < 0.5 else topic)) for _ in range(rng.integers(6, 15))]
        return {"text": np.array(" ".join(words)), "label": self.labels[i]}

    def rows(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        return {"text": np.array([self[int(i)]["text"] for i in ids]), "label": self.labels[ids]}


def load(rest: str, split: str) -> Lines:
    """The source of a spec `text:PATH`; `rest` is the path.

    Raises:
      ValueError: no such file or split, or one without text.
    """
    path = expand(rest)
    if not rest or not path.exists():
        raise ValueError(f"text:{rest} does not exist; expected text:FILE, or text:DIR where DIR/{split}.txt is")
    if path.is_dir() and not (path / f"{split}.txt").is_file():
        present = ", ".join(sorted(file.stem for file in path.glob("*.txt"))) or "no .txt file"
        raise ValueError(f"text:{rest} has no split {split!r}, which would be {path / split}.txt; it has {present}")
    if path.is_file() and split != "train":
        raise ValueError(
            f"text:{rest} is a file, whose one split is 'train', and {split!r} was asked for; expected text:DIR where "
            f"DIR/{split}.txt is"
        )
    source = Lines(f"text:{rest}/{split}", path / f"{split}.txt" if path.is_dir() else path)
    if not len(source):
        raise ValueError(f"{source.path} holds no text; expected one document a line")
    return source


def load_tsv(rest: str, split: str) -> ArraySource:
    """The source of a spec `tsv:PREFIX`; `rest` is the prefix.

    Raises:
      ValueError: no such file, or a line that is no label and sentence.
    """
    path = expand(f"{rest}_{split}.tsv")
    if not rest or not path.is_file():
        raise ValueError(f"tsv:{rest} has no split {split!r}, which would be {path}; expected PREFIX_{split}.tsv")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()[1:]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error.reason}); convert the file") from error
    found = [line.partition("\t") for line in lines if line.strip()]
    wrong = [n for n, (label, _, text) in enumerate(found) if not re.fullmatch("-1|[0-9]+", label) or not text.strip()]
    if wrong or not found:
        shown = f"line {wrong[0] + 2} is {lines[wrong[0]][:60]!r}" if wrong else "it has none"
        raise ValueError(f"{path}: {shown}; expected lines of a class number, a tab and a sentence behind a header")
    labels = np.array([int(label) for label, _, _ in found])
    return from_arrays({"text": np.array([text for _, _, text in found]), "label": labels}, f"tsv:{rest}/{split}")


def synthetic(rest: str, split: str) -> Sentences:
    """The source of a spec `synthetic_text` or `synthetic_text:COUNT`; `rest` is what follows the colon."""
    if split not in SPLITS:
        raise ValueError(f"synthetic_text has no split {split!r}; expected one of {', '.join(SPLITS)}")
    if not re.fullmatch(r"0*[1-9]\d*", rest or "400"):
        raise ValueError(f"synthetic_text:{rest} was given; expected synthetic_text:COUNT, such as synthetic_text:400")
    return Sentences(int(rest or "400"), split)
