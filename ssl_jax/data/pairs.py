"""Images with captions: `DIR/<split>/captions.json`, which is {file: [caption, ...]}, beside the image files."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ssl_jax.data import images, rows
from ssl_jax.paths import expand


@dataclass(frozen=True, eq=False)
class PairsSource:
    """A row is `image` uint8 [H, W, 3] and `text`, its captions, str [C]; "" stands where an image has fewer."""

    name: str
    folder: Path
    files: list[str]
    captions: np.ndarray  # str [N, C]

    num_classes = None
    labels = None

    @cached_property
    def varies(self) -> bool:
        """Whether its images are of many sizes, as far as a look at some of them tells."""
        return images.sizes_vary(lambda i: images.read(self.folder / self.files[i]), len(self))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        return {"image": images.read(self.folder / self.files[i]), "text": self.captions[i]}

    def rows(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        return rows.gather(self, ids)


def load(rest: str, split: str) -> PairsSource:
    """The source of a spec `pairs:DIR`; `rest` is DIR.

    Raises:
      ValueError: no such directory or split, a file of captions of another form, captions of an image that is not
        there, an image without a caption.
    """
    folder = expand(rest) / split
    path = folder / "captions.json"
    if not rest or not path.is_file():
        raise ValueError(f"pairs:{rest} has no split {split!r}; expected pairs:DIR with DIR/{split}/captions.json")
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}); expected {{file: [caption, ...]}}") from error
    if not isinstance(held, dict) or not held or not all(_are_captions(texts) for texts in held.values()):
        raise ValueError(f"{path} is of another form; expected {{file: [caption, ...]}}, text alone, one image or more")
    there = {file.name for file in folder.iterdir()}
    for file, texts in held.items():
        if file not in there and not (folder / file).is_file():
            raise ValueError(f"{path} names {file!r}, which is not beside it; add the image, or take out its captions")
        if not any(text.strip() for text in texts):
            raise ValueError(f"{path} has no caption for {file!r}; expected one or more; write one, or take it out")
    most = max(map(len, held.values()))
    captions = rows.strings([[text.strip() for text in texts] + [""] * (most - len(texts)) for texts in held.values()])
    return PairsSource(f"pairs:{rest}/{split}", folder, list(held), captions)


def _are_captions(texts) -> bool:
    return isinstance(texts, list) and all(isinstance(text, str) for text in texts)
