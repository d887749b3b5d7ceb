"""Points, words and matrices as SVG: embedding maps with a legend, a map of words, heat maps with names."""

from collections.abc import Sequence
from html import escape

import numpy as np

from ssl_jax.visual import images
from ssl_jax.visual.style import COLOURS

SIDE, MARGIN = 400, 12
SHAPES = (  # classes differ in colour and in shape
    "m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0", "m-2.6-2.6h5.2v5.2h-5.2z", "m0-3.6l3.3 5.8h-6.6z",
    "m0-3.7l3 3.7l-3 3.7l-3-3.7z",
)  # fmt: skip
MOST = 20  # classes with marks of their own; the others are grey
CELL, LETTER = 16, 6.4  # pixels: of a heat map's cell, and of a letter
LONGEST = 44  # letters of a name
LINES = (-5, 15, -18, 28, -31, 41, -44, 54)  # where the base of a word may stand, in pixels below its point


def principal(features: np.ndarray, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """The first principal components of rows `[N, F]`: coordinates `[N, count]`, and the shares of the variance."""
    centred = np.asarray(features, np.float64) - np.mean(features, axis=0, dtype=np.float64)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    places = np.zeros((len(centred), count))
    places[:, : len(s)] = (u * s)[:, :count]
    return places, (s**2 / max(np.sum(s**2), 1e-30))[:count]


def scatter(points: np.ndarray, groups: np.ndarray, title: str, alt: str) -> str:
    """A figure of points `[N, 2]`; `groups` int `[N]` number their marks, -1 for grey dots."""
    places = _fit(points, SIDE, SIDE)
    paths = []
    for group in (-1, *range(groups.max(initial=-1) + 1)):
        d = "".join(f"M{x:.0f} {y:.0f}{SHAPES[group % len(SHAPES)]}" for x, y in places[groups == group])
        if d:
            kind = "others" if group < 0 else f"k{group % COLOURS}"
            paths.append(f'<path class="{kind}" d="{d}"/>')
    return (
        f"<figure><figcaption><b>{escape(title)}</b></figcaption>"
        f'<svg class="dots" viewBox="0 0 {SIDE} {SIDE}" width="{SIDE + 200}" role="img" aria-label="{escape(alt)}">'
        f'<rect class="frame" x=".5" y=".5" width="{SIDE - 1}" height="{SIDE - 1}" rx="8"/>{"".join(paths)}</svg>'
        "</figure>"
    )


def legend(names: Sequence[str], others: bool) -> str:
    """What the marks of `scatter` stand for."""
    marks = [(f"k{i % COLOURS}", SHAPES[i % len(SHAPES)], name) for i, name in enumerate(names)]
    marks += [("others", SHAPES[0], "others")] if others else []
    items = "".join(
        f'<li><svg width="12" height="12" aria-hidden="true"><path class="{kind}" d="M6 6{shape}"/></svg>{escape(name)}'
        "</li>"
        for kind, shape, name in marks
    )
    return f'<ul class="legend">{items}</ul>'


def marks_of(labels: np.ndarray, classes: Sequence[str] = ()) -> tuple[np.ndarray, list[str]]:
    """The number of every row's mark, -1 for those of no commonest class, and the classes' names.

    >>> marks_of(np.array([7, 3, 7]))
    (array([1, 0, 1]), ['3', '7'])
    """
    found, counts = np.unique(labels[labels >= 0], return_counts=True)  # a label of -1 is none
    shown = np.sort(found[np.argsort(-counts, kind="stable")[:MOST]])
    groups = np.where(np.isin(labels, shown), np.searchsorted(shown, labels), -1)
    return groups, [classes[label] if label < len(classes) else str(label) for label in shown.tolist()]


def words(points: np.ndarray, names: Sequence[str], alt: str, width: int = 760, height: int = 460) -> str:
    """Dots at points `[N, 2]` with their words above or below, as near as others leave room, if they leave any."""
    places, taken, parts = _fit(points, width, height, 40), [], []
    for (x, y), name in zip(places, names, strict=True):
        parts.append(f'<circle class="others" cx="{x:.0f}" cy="{y:.0f}" r="2"/>')
        half = LETTER * len(name) / 2 + 2
        for base in (y + shift for shift in LINES if 12 < y + shift < height - 4):
            if not any(abs(x - other) < half + far and abs(base - line) < 12 for other, line, far in taken):
                taken.append((x, base, half))
                parts.append(f'<text class="word" x="{x:.0f}" y="{base:.0f}">{escape(name)}</text>')
                break
    return (
        f'<div class="scroll"><svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(alt)}"><rect class="frame" x=".5" y=".5" width="{width - 1}" height="{height - 1}" '
        f'rx="8"/>{"".join(parts)}</svg></div>'
    )


def heatmap(values, rows: Sequence[str], columns: Sequence[str] = (), *, alt: str, thumbnails=()) -> str:
    """Values `[R, C]` in [0, 1]; names of rows at the left, names or small images of columns above."""
    values = np.asarray(values, np.float64)
    rows, columns = ([cut(name) for name in names] for names in (rows, columns))
    left = 8 + LETTER * max(map(len, rows), default=0)
    top = 8 + (LETTER * max(map(len, columns)) if columns else CELL if len(thumbnails) else 0)
    size = CELL * values.shape[1], CELL * values.shape[0]
    parts = [
        f'<image class="pixels" href="{images.png(images.ink(values))}" x="{left:.0f}" y="{top:.0f}" '
        f'width="{size[0]}" height="{size[1]}" preserveAspectRatio="none"/>'
    ]
    for i, name in enumerate(rows):
        place = f'x="{left - 5:.0f}" y="{top + CELL * (i + 0.72):.0f}"'
        parts.append(f'<text {place} text-anchor="end">{escape(name)}</text>')
    for i, name in enumerate(columns):
        place = f"translate({left + CELL * (i + 0.72):.0f} {top - 5:.0f}) rotate(-90)"
        parts.append(f'<text transform="{place}">{escape(name)}</text>')
    for i, pixels in enumerate(thumbnails):
        place = f'x="{left + CELL * i:.0f}" y="4" width="{CELL - 1}" height="{CELL - 1}"'
        parts.append(f'<image href="{images.png(pixels)}" {place}/>')
    width, height = left + size[0] + 2, top + size[1] + 2
    return (
        f'<div class="scroll"><svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
        f'role="img" aria-label="{escape(alt)}">{"".join(parts)}'
        f'<rect class="frame" x="{left:.0f}" y="{top:.0f}" width="{size[0]}" height="{size[1]}"/></svg></div>'
    )


def cut(text: str, longest: int = LONGEST) -> str:
    """A text of at most so many letters.

    >>> cut("a very long caption", 10)
    'a very lo…'
    """
    text = " ".join(str(text).split())
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _fit(points, width: float, height: float, margin: float = MARGIN) -> np.ndarray:
    """Points in a frame, the second coordinate upwards."""
    low, high = points.min(axis=0), points.max(axis=0)
    share = (points - low) / np.maximum(high - low, 1e-12)
    x, y = margin + share[:, 0] * (width - 2 * margin), margin + (1 - share[:, 1]) * (height - 2 * MARGIN)
    return np.stack([x, y], axis=1)
