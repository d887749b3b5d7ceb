"""The pictures of several runs of one method in one sheet: what is the same in all of them once, then what differs.

    python -m benchmarks.side_by_side runs/colour_regression runs/colour --output=colours.png
    python -m benchmarks.side_by_side runs/inpainting runs/inpainting_adversarial --output=inpainting.png

A row is a test image, the same in all runs where their seeds are. Columns are those of the first run, in which the
columns of the others that it does not have stand before the last one, the truth: grey, L2, falling temperatures, truth
of colorization; context, mask, harmonic filling, L2, L2 with an adversary, truth of inpainting.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from ssl_jax.report import Run

GAP = 2  # pixels of white to the right of a column


def columns(sheet: np.ndarray, width: int) -> list[np.ndarray]:
    """The columns of a sheet `[H, n (width + GAP), 3]`."""
    return np.split(sheet, range(width + GAP, sheet.shape[1], width + GAP), axis=1)


def joined(sheets: list[list[np.ndarray]]) -> np.ndarray:
    """The columns of the first run, those of the others that are new before its last.

    >>> a, b, c = (np.full((1, 1, 3), value) for value in (1, 2, 3))
    >>> joined([[a, c], [a, b, c]])[0, :, 0].tolist()
    [1, 2, 3]
    """
    *found, truth = sheets[0]
    for column in (column for sheet in sheets[1:] for column in sheet):
        if not any(np.array_equal(column, other) for other in (*found, truth)):
            found.append(column)
    return np.concatenate([*found, truth], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="run directories, of one method and one size of images")
    parser.add_argument("--output", type=Path, required=True, help="a file .png")
    parser.add_argument("--enlarge", type=int, default=3, help="pixels of the file for a pixel of the images")
    given = parser.parse_args()
    runs = [Run(directory) for directory in given.runs]
    sheet = joined([columns(next(iter(run.pictures.values())), run.keys["augment.size"]) for run in runs])
    size = tuple(given.enlarge * side for side in sheet.shape[1::-1])
    cv2.imwrite(str(given.output), cv2.resize(sheet[..., ::-1], size, interpolation=cv2.INTER_NEAREST))


if __name__ == "__main__":
    main()
