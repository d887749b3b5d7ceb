"""Images of many sizes as images of one."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ssl_jax.data import rows

CHANNELS = 4  # the most that OpenCV resizes at a time


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
        parts = []
        for start in range(0, channels, CHANNELS):
            # A side that shrinks is averaged, which antialiases; one that grows is interpolated.
            image = np.ascontiguousarray(example["image"][..., start : start + CHANNELS])
            image = cv2.resize(image, (min(width, side), min(height, side)), interpolation=cv2.INTER_AREA)
            image = cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR)
            parts.append(image.reshape(side, side, -1))
        image = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
        return example | {"image": image, "size": np.array([height, width], np.int32)}

    def rows(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        return rows.gather(self, ids)
