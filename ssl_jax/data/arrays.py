"""Rows of arrays in memory as a source."""

import warnings
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
        return None if self.labels is None else len(np.unique(self.labels[self.labels >= 0])) or None

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        return {key: array[i] for key, array in self.arrays.items()}

    def rows(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        return {key: array[ids] for key, array in self.arrays.items()}


def from_arrays(arrays: dict[str, np.ndarray], name: str = "arrays") -> ArraySource:
    """A checked source of arrays in memory.

    Args:
      arrays: arrays [N, ...] by batch key; `image` uint8 [N, H, W, C]; `label` and `speaker` integers [N], which become
        int32; -1 is a row without one; `text` strings, or bytes in UTF-8.
      name: what messages call it.

    Images that look like [N, C, H, W] get a warning.

    Raises:
      ValueError: unequal lengths, no rows, images of another rank or dtype, labels that are not integers [N] from -1 to
        2^31 - 1.

    >>> len(from_arrays({"image": np.zeros((5, 8, 8, 1), np.uint8)}))
    5
    """
    lengths = {key: len(array) if array.ndim else None for key, array in arrays.items()}
    if len(set(lengths.values())) != 1 or None in lengths.values():
        raise ValueError(f"The arrays of {name} have lengths {lengths}; expected one equal number of rows")
    if 0 in lengths.values():
        raise ValueError(f"{name} is empty; expected at least one row")
    image = arrays.get("image")
    if image is not None and (image.ndim != 4 or image.dtype != np.uint8):
        raise ValueError(f"`image` of {name} is {image.dtype} {list(image.shape)}; expected uint8 [N, H, W, C]")
    if image is not None and image.shape[1] in (1, 3) and image.shape[3] > image.shape[1]:
        warnings.warn(
            f"`image` of {name} is {list(image.shape)}, and channels come last: [N, H, W, C]. If these are "
            "[N, C, H, W], store image.transpose(0, 2, 3, 1)",
            stacklevel=2,
        )
    texts = {"text": arrays["text"]} if "text" in arrays else {}
    if texts and texts["text"].dtype.kind == "S":
        texts["text"] = np.char.decode(texts["text"], "utf-8")
    numbers = {key: _numbers(arrays[key], f"`{key}` of {name}") for key in ("label", "speaker") if key in arrays}
    return ArraySource(name, arrays | numbers | texts)


def _numbers(given: np.ndarray, what: str) -> np.ndarray:
    """Numbers of classes as int32."""
    if given.ndim != 1 or given.dtype.kind not in "iu":
        raise ValueError(f"{what} is {given.dtype} {list(given.shape)}; expected integers [N]")
    low, high = int(given.min()), int(given.max())
    if low < -1 or high > np.iinfo(np.int32).max:
        raise ValueError(
            f"{what} goes from {low} to {high}; expected numbers of classes from 0 to 2147483647, and -1 where a row "
            "has none; number the classes anew"
        )
    return given.astype(np.int32)
