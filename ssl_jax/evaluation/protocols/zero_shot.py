"""Classification without training: the class whose name, in the prompts of `config.eval.prompts`, is nearest.

Names are those of `config.eval.classes`, else of the data: of the labels 0, 1, ..., or, where the largest label is
beyond the last name, of the labels that occur. Test images that are labelled -1 are left out. Beside the encoder stand
chance and, as input, words as mean pixels (where the training data have captions).
"""

import numpy as np

from ssl_jax.evaluation.labels import classes, places
from ssl_jax.evaluation.towers import prompted

TITLE, NEEDS = "zero-shot", frozenset({"label", "text tower"})


def run(context) -> list[dict]:
    """Top-1 of every kind of encoder.

    Raises:
      ValueError: the names of the classes are not known, or are not as many as the classes.
    """
    names, labels = context.classes, np.asarray(context.test.labels)
    labelled, numbers = labels >= 0, classes(labels)
    wanted = {context.num_classes, *(numbers[-1:] + 1)}
    if len(numbers) and numbers[-1] < len(names):
        numbers = np.arange(len(names))
    if len(names) not in wanted or len(names) != len(numbers):
        raise ValueError(
            f"zero_shot knows {len(names)} names of {context.num_classes} classes; set config.eval.classes to a name "
            "for every label, in their order"
        )
    labels = places(labels[labelled], numbers)
    rows = [context.row("zero_shot", "chance", 1 / len(names), len(labels))]
    for kind, towers in context.towers().items():
        cosines = towers.cosines(prompted(towers.texts, names, context.prompts))
        predicted = np.argmax(cosines[labelled], axis=1)
        rows.append(context.row("zero_shot", kind, float(np.mean(predicted == labels)), len(labels)))
    return rows
