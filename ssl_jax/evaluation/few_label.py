"""Classification from a few labels a class: logistic regression, averaged over many draws of the labels.

One rule, without settings to tune, serves input pixels, untrained and trained features alike. Its constant was chosen
on training rows alone, of digits and of a part of CIFAR-10, where anything from 10 to 100 gave nearly the same.
"""

from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression

from ssl_jax.evaluation.features import shuffled_ranks
from ssl_jax.evaluation.labels import check

# Weight of the labelled rows' summed cross-entropy against |kernel|^2 / 2.
STRENGTH = 20.0


class FewLabelResult(NamedTuple):
    """Test accuracy as a fraction: mean and standard deviation over draws, and the draws themselves."""

    mean: float
    std: float
    values: np.ndarray  # float64 [draws]


def few_label(
    train_x, train_y, test_x, test_y, *, num_classes: int, labels_per_class: int = 10, draws: int = 20, seed: int = 0
) -> FewLabelResult:
    """Test accuracy of logistic regression on `labels_per_class` labelled training rows of each class.

    Every draw minimises `sum_i cross_entropy(x_i W + b, y_i) + |W|^2 / (2 C)`, C = 20, over its labelled rows, to
    convergence. `x` are the features after `normalise`, which sees all training rows but no label.

    Args:
      train_x: float [N, F]; train_y: int [N] in `0..num_classes - 1`. test_x: float [M, F]; test_y: int [M], -1 for
        a class that is not among them.
      labels_per_class: labelled rows of every class in one draw.
      draws: independent draws of the labelled rows.

    Returns:
      mean, standard deviation (of one draw, n - 1 in the denominator; 0 for one draw) and the accuracy of every draw.

    Raises:
      ValueError: a class has fewer than `labels_per_class` training rows; fewer than two classes; features and labels
        that `evaluation.labels.check` refuses.

    >>> x = np.repeat(np.eye(2, dtype=np.float32), 5, axis=0)
    >>> y = np.repeat([0, 1], 5)
    >>> few_label(x, y, x, y, num_classes=2, labels_per_class=2, draws=3).values.tolist()
    [1.0, 1.0, 1.0]

    SimCLR, arXiv 2002.05709, section 6 (1 % and 10 % of the labels) asks the same question by fine-tuning.
    """
    check(train_x, train_y, test_x, test_y, num_classes=num_classes)
    if num_classes < 2:
        raise ValueError(f"num_classes={num_classes} was given; a classifier needs two or more")
    rows = draw_rows(train_y, num_classes=num_classes, labels_per_class=labels_per_class, draws=draws, seed=seed)
    train_x, test_x = normalise(train_x, test_x)
    # Float64: the optimum is then the same on every machine to far less than one test example.
    train_x, test_x, train_y, test_y = np.float64(train_x), np.float64(test_x), np.asarray(train_y), np.asarray(test_y)
    values = np.array([
        LogisticRegression(C=STRENGTH, max_iter=1000).fit(train_x[drawn], train_y[drawn]).score(test_x, test_y)
        for drawn in rows
    ])  # fmt: skip
    return FewLabelResult(float(values.mean()), float(values.std(ddof=1)) if draws > 1 else 0.0, values)


def draw_rows(train_y, *, num_classes: int, labels_per_class: int, draws: int, seed: int) -> np.ndarray:
    """The training rows that every draw labels, int64 [draws, num_classes * labels_per_class]."""
    counts = np.bincount(train_y, minlength=num_classes)
    if counts.min() < labels_per_class:
        raise ValueError(
            f"labels_per_class={labels_per_class} was asked of training data whose rarest class has {counts.min()} "
            "rows; ask for at most that many, or give more training data"
        )
    rng = np.random.default_rng(seed)
    return np.stack([np.flatnonzero(shuffled_ranks(train_y, rng) < labels_per_class) for _ in range(draws)])


def normalise(train_x, test_x) -> tuple[np.ndarray, np.ndarray]:
    """Both float32, centred, columns divided by `sqrt(var + mean var)`, then scaled to a mean squared row norm of 1.

    Half-way between z-scores and raw features: z-scores help encoders, whose columns differ in scale for no reason, and
    hurt pixels, whose rarely used columns they inflate. By the statistics of the training rows.
    """
    mean = train_x.mean(axis=0, dtype=np.float64)
    var = train_x.var(axis=0, dtype=np.float64)
    scale = 1 / np.sqrt(var + var.mean() + 1e-12)
    scale /= np.sqrt(np.sum(var * scale**2) + 1e-12)
    mean, scale = mean.astype(np.float32)[None], scale.astype(np.float32)[None]
    return (train_x - mean) * scale, (test_x - mean) * scale
