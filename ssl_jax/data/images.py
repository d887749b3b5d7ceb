"""Images in folders, and how an image file is read.

    folder:DIR                      DIR/<split>/<class>/*.jpg, or DIR/<split>/*.jpg without labels; .png and .webp, too
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ssl_jax.data import rows
from ssl_jax.paths import expand

SPLITS = ("train", "validation", "val", "test")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
COMPARED = 256  # images whose sizes are compared


@dataclass(frozen=True, eq=False)
class FolderSource:
    """A row is `image` uint8 [H, W, 3], decoded when it is asked for, and `label`, where there are classes.

    Args:
      name: spec and split.
      folder: of the split.
      files: paths below `folder`, in row order.
      classes: names of the classes, whose order numbers the labels; None without labels.
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
        return sizes_vary(lambda i: read(self.folder / self.files[i]), len(self))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        example = {"image": read(self.folder / self.files[i])}
        return example if self.labels is None else example | {"label": self.labels[i]}

    def rows(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        return rows.gather(self, ids)


def load(rest: str, split: str) -> FolderSource:
    """The source of a spec `folder:DIR`; `rest` is DIR.

    Classes are numbered in order of their names, over the split asked for and those of `SPLITS` that are there, so that
    a number means the same class in each. Files of other kinds, empty folders and what begins with a dot are left out.

    Raises:
      ValueError: no such split, no image in it, images beside folders of classes, folders inside of a class.
    """
    root = expand(rest)
    folder = root / split
    if not rest or not folder.is_dir():
        splits = _folders(root) if rest and root.is_dir() else []
        found = f"its splits are {', '.join(splits)}" if splits else f"expected a directory {folder}"
        raise ValueError(f"folder:{rest} has no split {split!r}; {found}")
    unlabelled, names = _images(folder), _folders(folder)
    of_class = {name: _images(folder / name) for name in names}
    for name in (name for name, files in of_class.items() if not files and not unlabelled):
        if _folders(folder / name):
            raise ValueError(f"{folder / name} has folders and no images; expected the images of a class right in it")
    files = unlabelled or [os.path.join(name, file) for name in names for file in of_class[name]]
    if not files or (unlabelled and any(of_class.values())):
        has = "images both in it and in folders below it" if files else "no images"
        raise ValueError(
            f"{folder} has {has}; expected files {' '.join('*' + suffix for suffix in SUFFIXES)}, in a folder for each "
            "class, or all of them without one"
        )
    if unlabelled:
        return FolderSource(f"folder:{rest}/{split}", folder, tuple(files), None)
    class_names = {name for name in names if of_class[name]}
    for other in (root / name for name in SPLITS if name != split and (root / name).is_dir()):
        class_names |= {name for name in _folders(other) if _images(other / name)}
    return FolderSource(f"folder:{rest}/{split}", folder, tuple(files), tuple(sorted(class_names)))


def read(path: Path) -> np.ndarray:
    """An image file as uint8 [H, W, 3], red first; grey ones in three equal channels, without transparency.

    Raises:
      ValueError: it cannot be read.
    """
    import cv2

    try:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    except cv2.error:  # such as more pixels than OpenCV takes
        image = None
    if image is None:
        raise ValueError(f"{path} cannot be read; expected an image file, such as .png, .jpg or .webp")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def sizes_vary(image: Callable[[int], np.ndarray], count: int) -> bool:
    """Whether images are of many sizes, as far as a look at `COMPARED` of `count` tells.

    >>> sizes_vary(lambda i: np.zeros((4, 4 + i // 300, 3)), 600)
    True
    """
    with ThreadPoolExecutor() as threads:
        return len(set(threads.map(lambda i: image(i).shape, range(0, count, -(-count // COMPARED))))) > 1


def _images(folder: Path) -> list[str]:
    named = [entry for entry in _entries(folder) if entry.name.lower().endswith(SUFFIXES)]
    return sorted(entry.name for entry in named if not entry.is_dir())


def _folders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in _entries(folder) if entry.is_dir())


def _entries(folder: Path) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise ValueError(f"{folder} cannot be listed ({error.strerror}); expected a folder of images") from error
