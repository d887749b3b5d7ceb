"""Procedural coloured shapes with labels, captions and boxes, of any size and number: smoke tests and benchmarks.

Every row is a pure function of (split, row number) through an integer hash, so that it is the same on every machine,
and whole batches are drawn at once with NumPy.
"""

import re
from dataclasses import dataclass

import numpy as np

SPLITS = ("train", "validation", "test")

# The gauge of each shape: 1 on its border, smaller inside. u, v are coordinates in radii, v pointing down.
SHAPES = {
    "circle": lambda u, v: np.sqrt(u * u + v * v),
    "square": lambda u, v: np.maximum(abs(u), abs(v)) / 0.85,
    "triangle": lambda u, v: np.maximum(2 * v, 1.732 * abs(u) - v),
    "diamond": lambda u, v: abs(u) + abs(v),
    "cross": lambda u, v: np.minimum(np.maximum(abs(u), 3 * abs(v)), np.maximum(3 * abs(u), abs(v))),
    "ring": lambda u, v: 4 * abs(np.sqrt(u * u + v * v) - 0.75),
}
COLOURS = {
    "red": (1.0, 0.1, 0.1),
    "green": (0.1, 0.9, 0.2),
    "blue": (0.2, 0.3, 1.0),
    "yellow": (1.0, 0.9, 0.1),
    "magenta": (1.0, 0.1, 0.9),
    "cyan": (0.1, 0.9, 1.0),
}
_CHUNK = 1 << 16  # pixels rendered at once, so that the arrays stay in cache


@dataclass(frozen=True, eq=False)
class SyntheticSource:
    """One coloured shape an image, on a dark gradient; the label is the kind of shape.

    A row is `image` uint8 [S, S, 3], `label` int32 (index into `SHAPES`; row i has class i mod 6, so classes are
    balanced), `box` int32 [4] = (top, left, bottom, right) in pixels, half open, tight around the shape, and `text`,
    its caption.

    Args:
      size: side S of the images in pixels, at least 16.
      count: rows in the split.
      split: "train", "validation" or "test"; no row is in two of them.
    """

    size: int
    count: int
    split: str

    num_classes = len(SHAPES)
    classes = tuple(SHAPES)

    @property
    def name(self) -> str:
        return f"synthetic:{self.size}x{self.count}/{self.split}"

    @property
    def labels(self) -> np.ndarray:
        return np.arange(self.count, dtype=np.int32) % len(SHAPES)

    @property
    def captions(self) -> np.ndarray:
        return self.rows(np.arange(self.count))["text"]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        return {key: value[0] for key, value in self.rows(np.array([i])).items()}

    def rows(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        ids = np.arange(self.count)[ids]  # refuses what is out of range, counts negative numbers from the end
        step = max(1, _CHUNK // self.size**2)
        chunks = [self._render(ids[start : start + step]) for start in range(0, len(ids), step)]
        return {key: np.concatenate([chunk[key] for chunk in chunks]) for key in chunks[0]}

    def _render(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        size, label = self.size, (ids % len(SHAPES)).astype(np.int32)
        draw = _uniform(ids, SPLITS.index(self.split), 12)

        radius = size * (0.16 + 0.2 * draw[:, 0])
        centre = radius[:, None] + (size - 2 * radius[:, None]) * draw[:, 1:3]  # (y, x): the shape lies inside
        grid = np.arange(size, dtype=np.float32) + np.float32(0.5)
        v = ((grid - centre[:, :1]) / radius[:, None])[:, :, None]
        u = ((grid - centre[:, 1:]) / radius[:, None])[:, None, :]
        gauge = np.empty((len(ids), size, size), np.float32)
        for kind, function in enumerate(SHAPES.values()):
            gauge[label == kind] = function(u[label == kind], v[label == kind])
        coverage = np.clip((1 - gauge) * radius[:, None, None] + np.float32(0.5), 0, 1)  # a border one pixel wide

        slope = draw[:, 3, None, None]
        ramp = ((slope * grid[:, None] + (1 - slope) * grid) / size)[..., None]
        dark = 0.45 * draw[:, None, None, 4:10]
        colour = (draw[:, 10] * len(COLOURS)).astype(np.int32)
        paint = np.array(list(COLOURS.values()), np.float32)[colour] * (0.75 + 0.25 * draw[:, 11, None])
        image = dark[..., :3] + ramp * (dark[..., 3:] - dark[..., :3])
        image += coverage[..., None] * (paint[:, None, None, :] - image)
        return {
            "image": (image * 255 + 0.5).astype(np.uint8),
            "label": label,
            "box": _boxes(coverage >= 0.5),
            "text": np.array(
                [
                    f"a {'large' if r > 0.26 * size else 'small'} {list(COLOURS)[c]} {list(SHAPES)[k]} at the "
                    f"{('top', 'middle', 'bottom')[int(3 * y / size)]} {('left', 'centre', 'right')[int(3 * x / size)]}"
                    for r, c, k, (y, x) in zip(radius, colour, label, centre, strict=True)
                ]
            ),
        }


def load(rest: str, split: str) -> SyntheticSource:
    """The source of a spec `synthetic` or `synthetic:SIZExCOUNT`; `rest` is what follows the colon."""
    if split not in SPLITS:
        raise ValueError(f"synthetic data has no split {split!r}; expected one of {', '.join(SPLITS)}")
    form = re.fullmatch(r"(\d+)x(\d+)", rest or "32x1000")
    if form is None or int(form[1]) < 16 or int(form[2]) < 1:
        raise ValueError(
            f"synthetic:{rest} was given; expected synthetic:SIZExCOUNT with at least 16 pixels and 1 image, such as "
            f"synthetic:32x1000 for 1,000 images of 32 x 32 pixels in each split"
        )
    return SyntheticSource(int(form[1]), int(form[2]), split)


def _uniform(ids: np.ndarray, stream: int, draws: int) -> np.ndarray:
    """Numbers in [0, 1), float32 [n, draws]: SplitMix64 (Steele et al. 2014) of (stream, id, draw)."""
    x = ids.astype(np.uint64)[:, None] * np.uint64(draws) + np.arange(1, draws + 1, dtype=np.uint64)
    x = (x + np.uint64(stream << 48)) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(40)).astype(np.float32) / np.float32(2**24)


def _boxes(inside: np.ndarray) -> np.ndarray:
    """Tight boxes (top, left, bottom, right), half open, int32 [n, 4], of masks [n, S, S]."""
    rows, columns, size = inside.any(2), inside.any(1), inside.shape[1]
    first = [rows.argmax(1), columns.argmax(1)]
    last = [size - rows[:, ::-1].argmax(1), size - columns[:, ::-1].argmax(1)]
    return np.stack(first + last, axis=1).astype(np.int32)
