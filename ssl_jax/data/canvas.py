"""Images of many sizes as images of one."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ssl_jax.data import prepared


@dataclass(frozen=True, eq=False)
class Canvas:
    """A source with its images resized to [side, side, C], and their (height, width) before that under `size`."""

    source: Any
    side: int

    name = property(lambda self: self.source.name)
    num_classes = property(lambda self: self.source.num_classes)
    labels = property(lambda self: self.source.labels)
    captions = property(lambda self: getattr(self.source, "captions", None))
    classes = property(lambda self: getattr(self.source, "classes", None))

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        import cv2

        example, side = self.source[i], self.side
        height, width, channels = example["image"].shape
        # A side that shrinks is averaged, which antialiases; one that grows is interpolated.
        image = cv2.resize(example["image"], (min(width, side), min(height, side)), interpolation=cv2.INTER_AREA)
        image = cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR).reshape(side, side, channels)
        return example | {"image": image, "size": np.array([height, width], np.int32)}

    def rows(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        return prepared.gather(self, ids)
