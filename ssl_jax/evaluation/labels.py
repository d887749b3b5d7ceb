"""Labels as they come: the classes are the numbers that occur, and -1 marks a row that has none."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np


def classes(labels) -> np.ndarray:
    """The numbers that occur among labels, rising; none for None, or where no row has a label.

    >>> classes(np.array([5, -1, 3, 5])).tolist()
    [3, 5]
    """
    labels = np.asarray([] if labels is None else labels, np.int64)
    return np.unique(labels[labels >= 0])


def places(labels, numbers) -> np.ndarray:
    """The place of every label among the rising `numbers`, int32; -1 for a label that is not among them.

    >>> places(np.array([5, -1, 3, 4]), np.array([3, 5])).tolist()
    [1, -1, 0, -1]
    """
    found = np.minimum(np.searchsorted(numbers, labels), len(numbers) - 1)
    return np.where(np.asarray(numbers)[found] == labels, found, -1).astype(np.int32)


def said(labels) -> str:
    """How many rows have a label, as a line says it; "" where all have one.

    >>> said(np.array([5, -1, 3, -1]))
    '2 of 4 rows; the others, labelled -1, are in no probe'
    """
    count = len(labels) - np.sum(np.asarray(labels) < 0) if labels is not None else 0
    if not len(classes(labels)):
        return "none" if labels is None else f"none: all {len(labels):,} rows are labelled -1, which is unlabelled"
    if count == len(labels):
        return ""
    return f"{count:,} of {len(labels):,} rows; the others, labelled -1, are in no probe"


def numbered(train: dict, test: dict, key: str = "label") -> tuple[dict, dict, int]:
    """The rows that have a label, as a classifier takes them, and the number of classes that training rows have.

    Labels become places among the classes of the training rows, 0 to C - 1. Test rows of a class that these lack stay,
    with label -1: no prediction is right about them.

    Args:
      train, test: arrays `[N, ...]` by name, `features` and the labels `key` among them.

    Raises:
      ValueError: no labelled rows, a single class, or no class that both parts have.
    """
    parts = []
    for name, rows in (("training", train), ("test", test)):
        labelled = np.asarray(rows[key]) >= 0
        if not labelled.any():
            raise ValueError(f"No {name} row has a {key}: all are -1; give data with a {key} in both splits")
        parts.append({name: array[labelled] if np.ndim(array) else array for name, array in rows.items()})
    train, test = parts
    numbers = classes(train[key])
    if len(numbers) < 2:
        raise ValueError(f"All training rows have one {key}, {numbers[0]}; a classifier needs two or more")
    train, test = (rows | {key: places(rows[key], numbers)} for rows in (train, test))
    if (test[key] < 0).all():
        raise ValueError(f"No {key} of the test rows occurs among the training rows; give splits of the same classes")
    return train, test, len(numbers)


@dataclass(frozen=True, eq=False)
class Labelled:
    """The rows of a source that have a label, and as labels the places among `numbers`, see `places`."""

    source: Any
    numbers: np.ndarray

    @cached_property
    def ids(self) -> np.ndarray:
        """The rows of the source, int64 [N]."""
        return np.flatnonzero(np.asarray(self.source.labels) >= 0)

    @property
    def num_classes(self) -> int:
        return len(self.numbers)

    def __getattr__(self, name):  # `name`, `prepare` and `whole`, where the source has them
        return getattr(self.source, name)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        example = self.source[int(self.ids[i])]
        return example | {"label": places(example["label"], self.numbers)}

    def rows(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        found = self.source.rows(self.ids[ids])
        return found | {"label": places(found["label"], self.numbers)}


def check(train_x, train_y, test_x, test_y=None, *, num_classes: int) -> None:
    """Refuses what no classifier of features can be fitted to or judged by.

    Args:
      train_x: [N, F]; train_y: [N], in 0 to C - 1. test_x: [M, F]; test_y: [M], -1 for a class that is not known.

    Raises:
      ValueError: features of other ranks or widths, without rows or not finite; labels that are not integers, not one
        a row, or no classes.
    """
    shapes = np.shape(train_x), np.shape(test_x)
    if any(len(shape) != 2 for shape in shapes) or shapes[0][1] != shapes[1][1]:
        raise ValueError(
            f"Training features {shapes[0]} and test features {shapes[1]} were given; pass [N, F] and [M, F] of one "
            "width F"
        )
    for name, x, y, least in (("training", train_x, train_y, 0), ("test", test_x, test_y, -1)):
        if not len(x):
            raise ValueError(f"There are no {name} rows; pass one or more")
        # Of each column, and no array of the size of the features is made: nan and infinity survive both.
        low, high = np.min(x, axis=0), np.max(x, axis=0)
        bad = ~(np.isfinite(low) & np.isfinite(high))
        if bad.any():
            raise ValueError(
                f"The {name} features are not finite in {bad.sum()} of {len(bad)} columns; look for the rows with nan "
                "or infinity, such as those of an encoder that has diverged"
            )
        if y is None:
            continue
        y = np.asarray(y)
        if y.ndim != 1 or y.dtype.kind not in "iu" or len(y) != len(x):
            raise ValueError(
                f"{len(x)} {name} rows and labels {y.dtype} {list(y.shape)} were given; pass one integer a row"
            )
        if y.min() < least or y.max() >= num_classes:
            raise ValueError(
                f"The {name} labels go from {y.min()} to {y.max()}; pass {least} to {num_classes - 1}, as "
                f"num_classes={num_classes} says"
            )
