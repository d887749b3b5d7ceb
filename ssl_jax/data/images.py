"""Images in folders, and how an image file is read.

    folder:DIR                      DIR/<split>/<class>/*.jpg, or DIR/<split>/*.jpg without labels; .png and .webp, too
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ssl_jax.data import prepared
from ssl_jax.paths import expand

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
LOOKED_AT = 256  # images whose sizes are compared


@dataclass(frozen=True, eq=False)
class FolderSource:
    """A row is `image` uint8 [H, W, 3], decoded when it is asked for, and `label`, where there are classes.

    Args:
      name: spec and split.
      folder: of the split.
      files: paths below `folder`, in row order.
      classes: names of the classes, whose places are the labels; None without labels.
    """

    name: str
    folder: Path
    files: tuple[str, ...]
    classes: tuple[str, ...] | None

    num_classes = property(lambda self: None if self.classes is None else len(self.classes))

    @cached_property
    def labels(self) -> np.ndarray | None:
        if self.classes is None:
            return None
        number = {name: i for i, name in enumerate(self.classes)}
        return np.array([number[file.partition(os.sep)[0]] for file in self.files], np.int32)

    @cached_property
    def varies(self) -> bool:
        """Whether its images are of many sizes, as far as a look at some of them tells."""
        return vary(lambda i: read(self.folder / self.files[i]), len(self))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        example = {"image": read(self.folder / self.files[i])}
        return example if self.labels is None else example | {"label": self.labels[i]}

    def rows(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        return prepared.gather(self, ids)


def load(rest: str, split: str) -> FolderSource:
    """The source of a spec `folder:DIR`; `rest` is DIR. Classes are numbered over all splits, in order of their names.

    Files of other kinds, and what begins with a dot, are left out.

    Raises:
      ValueError: no such split, no image in it, or images beside folders of classes.
    """
    root = expand(rest)
    folder = root / split
    if not rest or not folder.is_dir():
        splits = _folders(root) if rest and root.is_dir() else []
        found = f"its splits are {', '.join(splits)}" if splits else f"expected a directory {folder}"
        raise ValueError(f"folder:{rest} has no split {split!r}; {found}")
    unlabelled, names = _images(folder), _folders(folder)
    files = unlabelled or [os.path.join(name, file) for name in names for file in _images(folder / name)]
    if not files or (unlabelled and any(_images(folder / name) for name in names)):
        has = "images both in it and in folders below it" if files else "no images"
        raise ValueError(
            f"{folder} has {has}; expected files {' '.join('*' + suffix for suffix in SUFFIXES)}, in a folder for each "
            f"class, or all of them without one"
        )
    every = {name for other in _folders(root) for name in _folders(root / other)}
    classes = None if unlabelled else tuple(sorted(every))
    return FolderSource(f"folder:{rest}/{split}", folder, tuple(files), classes)


def read(path: Path) -> np.ndarray:
    """An image file as uint8 [H, W, 3], red first.

    Raises:
      ValueError: it cannot be read.
    """
    import cv2

    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{path} cannot be read; expected an image file, such as .png, .jpg or .webp")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def vary(image: Callable[[int], np.ndarray], count: int) -> bool:
    """Whether images are of many sizes, as far as a look at `LOOKED_AT` of `count` tells.

    >>> vary(lambda i: np.zeros((4, 4 + i // 300, 3)), 600)
    True
    """
    return len({image(i).shape for i in range(0, count, -(-count // LOOKED_AT))}) > 1


def _images(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(
            entry.name
            for entry in entries
            if entry.name.lower().endswith(SUFFIXES) and not entry.name.startswith(".") and entry.is_file()
        )


def _folders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
