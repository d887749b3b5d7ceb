"""Classification without training: the class whose name, in the prompts of `config.eval.prompts`, is nearest.

Names are those of `config.eval.classes`, else of the data. Beside the encoder stand chance and, as input, words as mean
pixels (where the training data have captions).
"""

import numpy as np

from ssl_jax.evaluation.towers import prompted

TITLE, NEEDS = "zero-shot", frozenset({"label", "text tower"})


def run(context) -> list[dict]:
    """Top-1 of every kind of encoder.

    Raises:
      ValueError: the names of the classes are not known, or are not as many as the classes.
    """
    names, labels = context.classes, np.asarray(context.test.labels)
    if len(names) != context.num_classes:
        raise ValueError(
            f"zero_shot knows {len(names)} names of {context.num_classes} classes; set config.eval.classes to a name "
            "for every label, in their order"
        )
    rows = [context.row("zero_shot", "chance", 1 / len(names), len(labels))]
    for kind, towers in context.towers().items():
        predicted = np.argmax(towers.cosines(prompted(towers.texts, names, context.prompts)), axis=1)
        rows.append(context.row("zero_shot", kind, float(np.mean(predicted == labels)), len(labels)))
    return rows
