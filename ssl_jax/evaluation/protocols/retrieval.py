"""Finding the captions of an image and the images of a caption, among those of the test split; needs no training.

Captions with the same words are one caption. Beside the encoder stand chance and, as input, words as mean pixels.
"""

import numpy as np

from ssl_jax.evaluation.towers import distinct, recall, recall_of_chance

TITLE, NEEDS = "retrieval", frozenset({"text", "text tower"})
K = (1, 5, 10)


def run(context) -> list[dict]:
    """Recall at 1, 5 and 10 in both directions, of every kind of encoder.

    Raises:
      ValueError: a test image has no caption.
    """
    texts, own = distinct(context.test.captions)
    bare = np.flatnonzero(~own.any(axis=1))
    if len(bare):
        raise ValueError(
            f"Row {bare[0]} of {context.test.name} has no caption; retrieval needs one or more for every image; write "
            "one, or take the row out"
        )
    directions = {"image_to_text": (own, lambda scores: scores), "text_to_image": (own.T, lambda scores: scores.T)}

    def rows(kind, score):
        return [
            context.row("retrieval", kind, score(side, turned, k), len(side), metric=f"{name}_recall_at_{k}")
            for name, (side, turned) in directions.items()
            for k in K
        ]

    found = rows("chance", lambda side, turned, k: recall_of_chance(side, k))
    for kind, towers in context.towers().items():
        scores = towers.cosines(towers.texts(texts))
        found += rows(kind, lambda side, turned, k, scores=scores: recall(turned(scores), side, k))
    return found
