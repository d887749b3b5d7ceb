"""Sources: random-access sequences of dicts of NumPy arrays, each named by one string.

    digits                          scikit-learn's handwritten digits, 8 x 8 x 1; 1,437 train, 360 test
    synthetic, synthetic:32x1000    coloured shapes, SIZExCOUNT for each of train, validation and test
    npz:DIR                         DIR/<split>.npz, arrays of equal length; their names are the batch keys
    folder:DIR                      DIR/<split>/<class>/*.jpg, or DIR/<split>/*.jpg without labels; .png and .webp, too
    tfds:NAME[/CONFIG][:VERSION]    data prepared by TensorFlow Datasets as array_record, in ?data_dir=DIR after the
                                    name, else in TFDS_DATA_DIR, else in ~/tensorflow_datasets; read without TensorFlow
    text:FILE, text:DIR             one document a line; DIR/<split>.txt
    tsv:PREFIX                      PREFIX_<split>.tsv: a label, a tab and a sentence a line behind a header
    synthetic_text[:COUNT]          sentences of four topics
    wav:DIR                         DIR/<split>/<class>/*.wav (or .flac), sound of any length and rate, see clips.py
    synthetic_sound[:COUNT]         tones and sweeps of several speakers
    pairs:DIR                       DIR/<split>/captions.json, {file: [caption, ...]}, beside the images

An image is uint8 [H, W, C] under `image`; a class is an int32 scalar under `label`, -1 where an example has none;
documents and captions are strings under `text`, captions one or [C]; every source may lack them.
"""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from ssl_jax.data import audio, clips, images, pairs, prepared, rows, synthetic, text
from ssl_jax.data.arrays import ArraySource, from_arrays
from ssl_jax.data.canvas import Canvas
from ssl_jax.paths import expand

INPUTS = ("image", "audio", "text")  # of which an example has at least one


class Source(Protocol):
    """A random-access sequence of examples.

    Attributes:
      name: spec and split, as in "digits/train"; messages use it.
      num_classes: number of classes, of arrays those that occur; None without labels.
      labels: int32 [N] in row order, read without decoding images, -1 where a row has none; None without labels.
    """

    @property
    def name(self) -> str: ...

    @property
    def num_classes(self) -> int | None: ...

    @property
    def labels(self) -> np.ndarray | None: ...

    def __len__(self) -> int: ...

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        """Example i: arrays without a batch axis."""

    def rows(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        """Examples `ids` int64 [n], stacked: arrays [n, ...]."""

    # A source may also have `prepare(example, rng) -> example`, the host's part of making an example: tokens, windows,
    # the choice of a caption. Strings reach it and stop there. `rng` is a NumPy generator of (seed, row, epoch). With
    # `whole(example) -> example` evaluation gets examples in another form: all of a clip, where training gets windows.
    # A source with captions has `captions`, strings [N] or [N, C], "" where a row has fewer than others; read without
    # decoding images. `classes`, the names of its labels, where it knows them.


def load(data, split: str, *, canvas: int | None = None, spec: str | None = None) -> Source:
    """The source that a spec or `config.data` names.

    Args:
      data: one of the forms at the head of this module; or `config.data`, whose `source` and `canvas` are read, and of
        sound `sample_rate`, `window` and `short`.
      spec: in place of `config.data.source`, such as `config.eval.source`; None or "" for that.
      split: "train", "test" or "validation", where the source has it.
      canvas: side S in pixels to which every image is resized, squashing its aspect ratio, so that images of many sizes
        form batches; `size` int32 [2], their (height, width) before that, is added, to sample crops in.

    Raises:
      ValueError: unknown source or split, missing or malformed data, images that vary in size without a canvas.

    >>> load("digits", "train")[0]["image"].shape
    (8, 8, 1)
    """
    sound = {}
    if not isinstance(data, str):
        sound = {key: data.get(key) for key in ("sample_rate", "window", "short") if data.get(key)}
        data, canvas = spec or data.source, data.canvas or None
    spec = data
    prefix, _, rest = spec.partition(":")
    if prefix not in _LOADERS:
        near = difflib.get_close_matches(prefix, _LOADERS, n=1)
        forms = ", ".join(form for _, form in _LOADERS.values())
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"Unknown data source {spec!r}; expected one of {forms}{meant}")
    if canvas is not None and canvas < 1:
        raise ValueError(f"config.data.canvas is {canvas}; expected a side in pixels, or None")
    source = _LOADERS[prefix][0](rest, split)
    if isinstance(source, ArraySource) and "audio" in source.arrays and "image" not in source.arrays:
        source = clips.Arrays(source, sound.get("sample_rate", audio.SAMPLE_RATE))
    if isinstance(source, clips.Files | clips.Arrays | clips.Synthetic):
        return audio.Windows(source, **sound)
    if canvas is not None and "image" in source[0]:
        return Canvas(source, canvas)
    if getattr(source, "varies", False):
        raise rows.several_sizes(source)
    return source


@dataclass(frozen=True, eq=False)
class Subset:
    """The rows `ids` int64 [n] of a source."""

    source: Source
    ids: np.ndarray

    name = property(lambda self: f"{len(self)} rows of {self.source.name}")
    num_classes = property(lambda self: self.source.num_classes)
    labels = property(lambda self: None if self.source.labels is None else self.source.labels[self.ids])
    classes = property(lambda self: getattr(self.source, "classes", None))

    @property
    def captions(self) -> np.ndarray | None:
        held = getattr(self.source, "captions", None)
        return None if held is None else held[self.ids]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def prepare(self):
        return getattr(self.source, "prepare", None)

    @property
    def whole(self):
        return getattr(self.source, "whole", None)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        return self.source[self.ids[i]]

    def rows(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        return self.source.rows(self.ids[ids])


def hold_out(source: Source, amount: float | int, *, seed: int) -> tuple[Subset, Subset]:
    """Holds rows out of a source, to tune choices on: returns (kept, held), disjoint, each in source order.

    With labels, every class gives its share of the held rows, up to one row.

    Args:
      source: the source to split.
      amount: rows to hold out: a count (int), or a fraction of all rows (float in (0, 1)).
      seed: of the choice.

    Raises:
      ValueError: either part would be empty.

    >>> kept, held = hold_out(load("digits", "train"), 0.1, seed=0)
    >>> len(kept), len(held)
    (1293, 144)
    """
    total = len(source)
    count = round(amount * total) if isinstance(amount, float) else amount
    if not 0 < count < total:
        raise ValueError(
            f"Holding out {amount} of {source.name} leaves a part empty; expected a count below its {total} rows, or a "
            f"fraction in (0, 1)"
        )
    order = np.random.default_rng(seed).permutation(total)
    if source.labels is not None:
        # A row's quantile within its class: the first rows by quantile hold every class in its proportion.
        labels, quantile = source.labels[order], np.empty(total)
        for label in np.unique(labels):
            size = np.sum(labels == label)
            quantile[labels == label] = (np.arange(size) + 0.5) / size
        order = order[np.argsort(quantile, kind="stable")]
    return Subset(source, np.sort(order[count:])), Subset(source, np.sort(order[:count]))


def _digits(rest: str, split: str) -> ArraySource:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    if rest:
        raise ValueError(f"digits:{rest} was given; expected `digits`, which takes no argument")
    if split not in ("train", "test"):
        raise ValueError(f"digits has no split {split!r}; expected one of train, test")
    digits = load_digits()
    train, test = train_test_split(np.arange(1797), test_size=360, stratify=digits.target, random_state=0)
    ids = train if split == "train" else test
    image = np.round(digits.images[ids, :, :, None] * 255 / 16).astype(np.uint8)  # stored as 0 ... 16
    return from_arrays({"image": image, "label": digits.target[ids]}, f"digits/{split}")


def _npz(rest: str, split: str) -> ArraySource:
    folder = expand(rest)
    if not rest or not folder.is_dir():
        raise ValueError(f"npz:{rest} is no directory; expected npz:DIR where DIR/{split}.npz is")
    path = folder / f"{split}.npz"
    if not path.is_file():
        present = ", ".join(sorted(file.stem for file in folder.glob("*.npz")))
        found = f"one of {present}" if present else f"a file {path}, but the directory holds no .npz"
        raise ValueError(f"npz:{rest} has no split {split!r}; expected {found}")
    arrays, key = {}, None
    try:
        with np.load(path, allow_pickle=False) as file:
            for key in file.files:
                arrays[key] = file[key]
    except Exception as error:  # a damaged archive raises errors of many kinds
        place = f"Array {key!r} of {path}" if key else path
        raise ValueError(
            f"{place} cannot be read ({type(error).__name__}: {error}); expected a file by numpy.savez with arrays of "
            "numbers or strings, not of Python objects; copy it again, or write it anew"
        ) from error
    _check_names(arrays, path)
    return from_arrays(arrays, f"npz:{rest}/{split}")


def _check_names(arrays, path: Path) -> None:
    """Refuses arrays among which nothing is to learn from, or which are named in the plural."""
    plural = {name: name[:-1] for name in arrays if name[:-1] in (*INPUTS, "label", "speaker")}
    wrong = {name: meant for name, meant in plural.items() if meant not in arrays}
    if wrong or not set(INPUTS) & arrays.keys():
        hint = ", ".join(f"{name} to {meant}" for name, meant in wrong.items()) or "the arrays"
        raise ValueError(
            f"{path} holds arrays named {', '.join(arrays) or '(none)'}; expected image (uint8 [N, H, W, C]), text or "
            f"audio, and label (integers [N]) where there are classes; rename {hint}"
        )


_LOADERS = {
    "digits": (_digits, "digits"),
    "synthetic": (synthetic.load, "synthetic[:SIZExCOUNT]"),
    "npz": (_npz, "npz:DIR"),
    "folder": (images.load, "folder:DIR"),
    "tfds": (prepared.load, "tfds:NAME"),
    "text": (text.load, "text:PATH"),
    "tsv": (text.load_tsv, "tsv:PREFIX"),
    "synthetic_text": (text.synthetic, "synthetic_text[:COUNT]"),
    "wav": (clips.load_wav, "wav:DIR"),
    "synthetic_sound": (clips.load_synthetic, "synthetic_sound[:COUNT]"),
    "pairs": (pairs.load, "pairs:DIR"),
}
