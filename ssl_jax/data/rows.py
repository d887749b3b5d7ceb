"""Rows of a source, stacked: what batches are made of."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np


def gather(source, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Rows read one by one in threads: OpenCV decodes and resizes without holding the interpreter's lock."""
    with ThreadPoolExecutor() as threads:
        return stacked(list(threads.map(source.__getitem__, map(int, ids))), source)


def stacked(examples: list[dict], source) -> dict[str, np.ndarray]:
    """The arrays of examples of a source, [n, ...].

    Raises:
      ValueError: images of several sizes.
    """
    if len({example["image"].shape for example in examples if "image" in example}) > 1:
        raise several_sizes(source)
    return {key: np.stack([example[key] for example in examples]) for key in examples[0]}


def strings(texts: list) -> np.ndarray:
    """Texts, or lists of C texts, as an array [N] or [N, C] of Python's strings.

    NumPy's own strings are all as wide as the longest: a long caption would make every other one as large.

    >>> strings([["a cat", ""], ["a dog", "one dog"]]).shape
    (2, 2)
    """
    return np.array(texts, dtype=object)


def several_sizes(source) -> ValueError:
    """What is raised of a source whose images cannot be stacked."""
    return ValueError(
        f"The images of {source.name} vary in size; set config.data.canvas to the side, such as 256, to which they are "
        "resized to form batches"
    )
