"""Images and texts in one space: retrieval, zero-shot classification, and words as mean pixels, their baseline."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

ROWS = 1024  # at a time
SIDE = 32  # pixels, the most that an image has in `word_centroids`


@dataclass(frozen=True)
class Towers:
    """Two encoders into one space.

    Attributes:
      images: `() -> float32 [N, D]`, the test images.
      texts: `several texts -> float32 [B, D]`.
    """

    images: Callable[[], np.ndarray]
    texts: Callable[[Sequence[str]], np.ndarray]

    def cosines(self, texts) -> np.ndarray:
        """Float32 `[N, B]` of every test image and the rows `[B, D]` of some texts."""
        return unit(self.images()) @ unit(texts).T


def unit(z) -> np.ndarray:
    """Rows of unit length; rows of zeros stay."""
    z = np.asarray(z, np.float32)
    return z / np.maximum(np.linalg.norm(z, axis=-1, keepdims=True), 1e-12)


def distinct(captions) -> tuple[list[str], np.ndarray]:
    """The distinct captions of images, and which image has which: bool `[N, M]`.

    Args:
      captions: strings `[N]` or `[N, C]`; spaces at their ends do not count, and blank ones are none.

    >>> texts, own = distinct(np.array([["a cat", ""], ["a dog", " a cat"]]))
    >>> texts, own.tolist()
    (['a cat', 'a dog'], [[True, False], [True, True]])
    """
    rows = [[str(text).strip() for text in np.ravel(held)] for held in captions]
    texts = sorted({text for row in rows for text in row} - {""})
    number = {text: place for place, text in enumerate(texts)}
    own = np.zeros((len(rows), len(texts)), bool)
    for place, row in enumerate(rows):
        own[place, [number[text] for text in row if text]] = True
    return texts, own


def recall(scores, own, k: int) -> float:
    """The share of rows with one of their own columns among the k best; a tie counts against them.

    Args:
      scores: float `[N, M]`.
      own: bool `[N, M]`, one or more in every row.
      k: how many are looked at.

    >>> recall(np.array([[0.9, 0.1], [0.9, 0.1]]), np.eye(2, dtype=bool), 1)
    0.5
    """
    best = np.max(np.where(own, scores, -np.inf), axis=1, keepdims=True)
    return float(np.mean(np.sum(~own & (scores >= best), axis=1) < k))


def recall_of_chance(own, k: int) -> float:
    """The expected recall of scores in a random order: `1 - C(M - r, k) / C(M, k)` for rows with r own columns.

    >>> recall_of_chance(np.eye(10, dtype=bool), 5)
    0.5
    """
    columns, found = own.shape[1], []
    for right in own.sum(axis=1):
        places = np.arange(min(k, columns))
        found.append(1 - np.prod(np.maximum(columns - right - places, 0) / (columns - places)))
    return round(float(np.mean(found)), 12)


def prompted(texts: Callable, names: Sequence[str], prompts: Sequence[str]) -> np.ndarray:
    """A row a class: the mean of its prompts' unit embeddings, at unit length; {} in a prompt is the class's name.

    Source: Radford et al. 2021, arXiv 2103.00020, section 3.1.4, and openai/CLIP, the notebook on prompts.
    """
    rows = [unit(texts([prompt.replace("{}", name) for prompt in prompts])).mean(axis=0) for name in names]
    return unit(np.stack(rows))


def word_centroids(train, test) -> Towers:
    """Without learning: a word is the mean of the pixels of training images named by it, a text the mean of its words.

    Pixels are those of the input, averaged over areas to 32 a side where there are more, less the mean image; words
    that no caption has, and texts of such words, are 0.

    Args:
      train: a source with `captions`, and images of one size.
      test: the source whose images are compared with texts.
    """
    captions = np.asarray(train.captions).reshape(len(train), -1)
    words = [[word for text in texts for word in _words(text)] for texts in captions]
    number = {word: place for place, word in enumerate(sorted({word for held in words for word in held}))}
    sums, counts, total = None, np.zeros(len(number)), 0.0
    for start in range(0, len(train), ROWS):
        pixels = _pixels(train, np.arange(start, min(start + ROWS, len(train))))
        sums = np.zeros((len(number), pixels.shape[1])) if sums is None else sums
        total = total + pixels.sum(axis=0, dtype=np.float64)
        for row, held in zip(pixels, words[start : start + ROWS], strict=True):
            places = [number[word] for word in set(held)]
            sums[places] += row
            counts[places] += 1
    mean = total / len(train)
    table = np.concatenate([unit(sums / np.maximum(counts, 1)[:, None] - mean), np.zeros((1, len(mean)), np.float32)])

    def images():
        parts = [np.arange(start, min(start + ROWS, len(test))) for start in range(0, len(test), ROWS)]
        return np.concatenate([_pixels(test, ids) - mean.astype(np.float32) for ids in parts])

    def texts(given):
        return np.stack([table[[number.get(word, -1) for word in _words(text)] or [-1]].mean(axis=0) for text in given])

    return Towers(images, texts)


def _words(text: str) -> list[str]:
    return str(text).lower().split()


def _pixels(source, ids) -> np.ndarray:
    images = source.rows(ids)["image"]
    if max(images.shape[1:3]) > SIDE:
        images = np.stack([_small(image) for image in images])
    return images.reshape(len(ids), -1).astype(np.float32) / np.float32(255)


def _small(image) -> np.ndarray:
    """An image as float32 with at most `SIDE` pixels a side; a channel at a time, since OpenCV takes few at once."""
    import cv2

    height, width = (min(side, SIDE) for side in image.shape[:2])
    channels = np.moveaxis(image, -1, 0).astype(np.float32)
    return np.stack([cv2.resize(x, (width, height), interpolation=cv2.INTER_AREA) for x in channels], axis=-1)
