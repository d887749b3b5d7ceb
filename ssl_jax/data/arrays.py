"""Rows of arrays in memory as a source."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Rows of arrays [N, ...] in memory; `from_arrays` makes one."""

    name: str
    arrays: dict[str, np.ndarray]

    @property
    def labels(self) -> np.ndarray | None:
        return self.arrays.get("label")

    @property
    def captions(self) -> np.ndarray | None:
        return self.arrays.get("text")

    @cached_property
    def num_classes(self) -> int | None:
        return None if self.labels is None else int(self.labels.max()) + 1

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        return {key: array[i] for key, array in self.arrays.items()}

    def rows(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        return {key: array[ids] for key, array in self.arrays.items()}


def from_arrays(arrays: dict[str, np.ndarray], name: str = "arrays") -> ArraySource:
    """A checked source of arrays in memory.

    Args:
      arrays: arrays [N, ...] by batch key; `image` uint8 [N, H, W, C]; `label` integers [N], which become int32.
      name: what messages call it.

    Raises:
      ValueError: unequal lengths, no rows, images of another rank or dtype, labels that are not integers [N].

    >>> len(from_arrays({"image": np.zeros((5, 8, 8, 1), np.uint8)}))
    5
    """
    lengths = {key: len(array) if array.ndim else None for key, array in arrays.items()}
    if len(set(lengths.values())) != 1 or None in lengths.values():
        raise ValueError(f"The arrays of {name} have lengths {lengths}; expected one equal number of rows")
    if 0 in lengths.values():
        raise ValueError(f"{name} is empty; expected at least one row")
    image, label = arrays.get("image"), arrays.get("label")
    if image is not None and (image.ndim != 4 or image.dtype != np.uint8):
        raise ValueError(f"`image` of {name} is {image.dtype} {list(image.shape)}; expected uint8 [N, H, W, C]")
    if label is not None:
        if label.ndim != 1 or label.dtype.kind not in "iu":
            raise ValueError(f"`label` of {name} is {label.dtype} {list(label.shape)}; expected integers [N]")
        arrays = arrays | {"label": label.astype(np.int32)}
    return ArraySource(name, arrays)
