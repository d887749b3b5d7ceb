"""Linear classification of every pixel on fixed maps, and the intersection over union that it reaches."""

import jax
import numpy as np
from sklearn.linear_model import LogisticRegression

from ssl_jax.evaluation.features import averaging, statistics

MOST_CELLS = 50_000  # of the training maps that the classifier is fitted on; more are drawn from
# Factor of |kernel|^2 / 2 beside the mean cross-entropy. From 1e-4 to 1e-2 what is told of a street that the classifier
# has not seen (a sequence of CamVid) changes by half a point; with 2e-5 the fit had not ended after 300 steps.
WEIGHT_DECAY = 1e-3


def unseen(train: dict, test: dict) -> tuple[dict, int]:
    """The training rows of whose `sequence` the test split has no frame, and how many were left out.

    Frames of one film are nearly the same image: a classifier would know the test by heart.

    Raises:
      ValueError: none is left.

    >>> train = {"sequence": np.array([0, 1]), "mask": np.array([5, 6])}
    >>> unseen(train, {"sequence": np.array([1])})[0]["mask"].tolist()
    [5]
    """
    if "sequence" not in train or "sequence" not in test:
        return train, 0
    kept = ~np.isin(train["sequence"], test["sequence"])
    if not kept.any():
        raise ValueError("Every `sequence` of the training split is one of the test split; split the data by sequence")
    return {name: rows[kept] for name, rows in train.items()}, int(np.sum(~kept))


def colours(source, grid: tuple[int, int], keep) -> dict[str, np.ndarray]:
    """The mean colours of the cells of a grid as maps, `features` float32 `[N, h, w, C]`, and the keys `keep`."""
    rows = source.rows(np.arange(len(source)))
    down, across = (averaging(places, cells) for places, cells in zip(rows["image"].shape[1:3], grid, strict=True))
    features = np.einsum("nyxc,iy,jx->nijc", rows["image"] / np.float32(255), down, across, optimize=True)
    return {"features": np.float32(features)} | {name: rows[name] for name in keep if name in rows}


def cell_shares(masks, grid: tuple[int, int], classes: int, unlabelled: int) -> np.ndarray:
    """The share of every class among the pixels of every cell, `[N, h, w, K]`; unlabelled pixels belong to none."""
    (n, height, width), (h, w) = masks.shape, grid
    cell = (np.arange(height) * h // height)[:, None] * w + (np.arange(width) * w // width)[None]
    place = (np.arange(n)[:, None, None] * h * w + cell[None]) * classes + masks
    found = np.bincount(place[masks != unlabelled], minlength=n * h * w * classes).reshape(n, h, w, classes)
    return found / np.bincount(cell.ravel()).reshape(1, h, w, 1)


def scores(train: dict, test: dict, *, unlabelled: int = 255, seed: int = 0) -> tuple[float, float]:
    """Mean intersection over union, and the share of the pixels that are told, of a linear classifier on maps.

    Softmax regression of the cells of the training maps, standardised by column; a cell counts for each of its classes
    by the share of its pixels. Logits of the test maps are interpolated to the size of the masks.

    Args:
      train, test: `features` float `[N, h, w, C]` and `mask` integers `[N, H, W]`, of the same places.
      unlabelled: value of a mask that does not count.
      seed: of the cells that are drawn where there are more than `MOST_CELLS`.

    Returns: both as fractions; the mean is over the classes that the test masks have.

    Raises:
      ValueError: features that are no maps.
    """
    features, masks = train["features"], np.int64(train["mask"])
    if features.ndim != 4:
        raise ValueError(f"Features {list(features.shape)} were given; expected maps [N, h, w, C] of an inner layer")
    classes = max(_highest(masks, unlabelled), _highest(test["mask"], unlabelled)) + 1
    mean, std = statistics(features.reshape(-1, features.shape[-1]))
    shares = cell_shares(masks, features.shape[1:3], classes, unlabelled).reshape(-1, classes)
    drawn = np.random.default_rng(seed).permutation(len(shares))[:MOST_CELLS]
    x, shares = features.reshape(len(shares), -1)[drawn], shares[drawn]
    model = fit(np.float64((x - mean[None]) / std[None]), shares)
    matrix = np.zeros((classes, classes), np.int64)
    for maps, mask in zip(test["features"], np.int64(test["mask"]), strict=True):
        logits = model.decision_function(np.float64((maps.reshape(-1, maps.shape[-1]) - mean[None]) / std[None]))
        if logits.ndim == 1:  # of two classes scikit-learn gives the second one's
            logits = np.stack([-logits / 2, logits / 2], axis=1)
        logits = logits.reshape(*maps.shape[:2], -1).astype(np.float32)
        fine = np.asarray(jax.image.resize(logits, (*mask.shape, logits.shape[-1]), "bilinear"))
        matrix += confusion(mask, model.classes_[fine.argmax(-1)], classes, unlabelled)
    return mean_iou(matrix), float(np.trace(matrix) / matrix.sum())


def fit(x, shares) -> LogisticRegression:
    """Softmax regression of cells `[n, C]`, each of which counts for every class by its share `[n, K]` of it."""
    row, label = np.nonzero(shares)
    strength = 1 / (WEIGHT_DECAY * shares.sum())  # scikit-learn's weighs the summed cross-entropy
    return LogisticRegression(C=strength, max_iter=1000).fit(x[row], label, sample_weight=shares[row, label])


def most_frequent(train_masks, test_masks, unlabelled: int = 255) -> tuple[float, float]:
    """As `scores`, of the most frequent class of the training pixels everywhere."""
    classes = max(_highest(train_masks, unlabelled), _highest(test_masks, unlabelled)) + 1
    first = np.bincount(train_masks[train_masks != unlabelled]).argmax()
    matrix = confusion(np.int64(test_masks), np.full(test_masks.shape, first), classes, unlabelled)
    return mean_iou(matrix), float(np.trace(matrix) / matrix.sum())


def confusion(true, predicted, classes: int, unlabelled: int) -> np.ndarray:
    """Counts `[K, K]` of labelled pixels, by true and predicted class."""
    counts = true != unlabelled
    return np.bincount(classes * true[counts] + predicted[counts], minlength=classes**2).reshape(classes, classes)


def mean_iou(matrix) -> float:
    """The mean of `n_kk / (n_k. + n_.k - n_kk)` over the classes k that there are.

    >>> mean_iou(np.array([[1, 1], [0, 2]]))
    0.5833333333333333

    Source: Everingham et al. 2010, the PASCAL visual object classes challenge, section 4.
    """
    right, there = np.diag(matrix), matrix.sum(axis=1)
    union = there + matrix.sum(axis=0) - right
    return float(np.mean(right[there > 0] / union[there > 0]))


def _highest(masks, unlabelled: int) -> int:
    return int(masks[masks != unlabelled].max())
