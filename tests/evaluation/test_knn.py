"""Weighted kNN against a loop in float64 and scikit-learn's neighbours, on handwritten digits."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from ssl_jax.evaluation.knn import knn_predict, sensible_k

DIGITS = load_digits()
X, Y = np.asarray(DIGITS.data, np.float32), np.asarray(DIGITS.target, np.int32)
TRAIN, TEST = slice(0, 1400), slice(1400, None)


def loop(train, labels, test, k, temperature, num_classes):
    """The vote of Wu et al. 2018, one test row and one neighbour at a time."""
    train = np.float64(train) / np.linalg.norm(np.float64(train), axis=1, keepdims=True)
    predicted = []
    for row in np.float64(test):
        cosine = train @ (row / np.linalg.norm(row))
        votes = np.zeros(num_classes)
        for neighbour in np.argsort(-cosine, kind="stable")[:k]:
            votes[labels[neighbour]] += np.exp(cosine[neighbour] / temperature)
        predicted.append(votes.argmax())
    return np.array(predicted)


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.1), (25, 0.02), (200, 0.1), (200, 10.0)])
def test_votes_equal_the_loop(k, temperature):
    predicted = knn_predict(X[TRAIN], Y[TRAIN], X[TEST], k=k, temperature=temperature, num_classes=10)
    expected = loop(X[TRAIN], Y[TRAIN], X[TEST], k, temperature, 10)
    # Float32 may swap votes that agree to seven digits: one row in 397 at most.
    assert np.sum(predicted != expected) <= 1


def test_equals_scikit_learn():
    def weights(distance):  # of unit vectors, |x - y|^2 = 2 - 2 cosine
        return np.exp((1 - distance**2 / 2) / 0.1)

    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    peer = KNeighborsClassifier(n_neighbors=20, weights=weights).fit(unit[TRAIN], Y[TRAIN]).predict(unit[TEST])
    predicted = knn_predict(X[TRAIN], Y[TRAIN], X[TEST], k=20, num_classes=10)
    assert np.sum(predicted != peer) <= 1
    assert np.mean(predicted == Y[TEST]) > 0.95


def test_weights_decide_against_the_majority():
    train = np.array([[1.0, 0.0], [0.6, 0.8], [0.6, 0.8]], np.float32)
    query = np.array([[1.0, 0.0]], np.float32)
    assert knn_predict(train, np.array([0, 1, 1]), query, k=3, temperature=0.1, num_classes=2) == 0
    assert knn_predict(train, np.array([0, 1, 1]), query, k=3, temperature=10.0, num_classes=2) == 1


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_block_changes_nothing(block):
    few = X[1400:1450]
    predicted = knn_predict(X[TRAIN], Y[TRAIN], few, k=20, num_classes=10, block=block)
    np.testing.assert_array_equal(predicted, knn_predict(X[TRAIN], Y[TRAIN], few, k=20, num_classes=10))


def test_small_temperatures_stay_finite():
    tiny = knn_predict(X[TRAIN], Y[TRAIN], X[TEST], k=20, temperature=1e-4, num_classes=10)
    np.testing.assert_array_equal(tiny, knn_predict(X[TRAIN], Y[TRAIN], X[TEST], k=1, num_classes=10))


def test_ties_take_the_smaller_index():
    same = np.ones((4, 3), np.float32)
    assert knn_predict(same, np.array([2, 1, 1, 0]), same[:1], k=1, num_classes=3) == 2
    assert knn_predict(same, np.array([2, 1, 2, 1]), same[:1], k=4, num_classes=3) == 1


def test_sensible_k():
    assert [sensible_k(*sizes) for sizes in ((1_281_167, 1000), (50_000, 10), (1437, 10), (100, 10), (8, 10))] == [
        200, 200, 71, 5, 1
    ]  # fmt: skip


def test_wrong_use_is_one_sentence():
    rows = np.ones((4, 2), np.float32)
    labels = np.zeros(4, int)
    with pytest.raises(ValueError, match=r"k=5 for 4 training rows"):
        knn_predict(rows, labels, rows, k=5, num_classes=2)
    with pytest.raises(ValueError, match=r"temperature=0"):
        knn_predict(rows, labels, rows, k=1, temperature=0, num_classes=2)
    with pytest.raises(ValueError, match=r"\(4, 2\) and test features \(4, 3\)"):
        knn_predict(rows, labels, np.ones((4, 3)), k=1, num_classes=2)
    with pytest.raises(ValueError, match=r"4 training rows and labels int64 \[3\] were given"):
        knn_predict(rows, labels[:3], rows, k=1, num_classes=2)
