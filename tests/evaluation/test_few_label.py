"""The few-label probe against its formula minimised by SciPy in float64, on the same draws."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from ssl_jax.evaluation.few_label import draw_rows, few_label, normalise

DIGITS = load_digits()
TRAIN_X, TEST_X, TRAIN_Y, TEST_Y = train_test_split(
    np.asarray(DIGITS.data / 16, np.float32), DIGITS.target.astype(np.int32), test_size=360, stratify=DIGITS.target,
    random_state=0,
)  # fmt: skip


def reference(x, y, test_x, classes=10, strength=20.0):
    """argmin over (W, b) of sum cross-entropy + |W|^2 / (2 C), then the predicted classes."""
    x, test_x = np.float64(x), np.float64(test_x)
    targets = np.eye(classes)[y]

    def objective(flat):
        kernel, bias = flat[:-classes].reshape(-1, classes), flat[-classes:]
        logits = log_softmax(x @ kernel + bias, axis=1)
        residual = np.exp(logits) - targets
        slope = np.concatenate([(x.T @ residual + kernel / strength).ravel(), residual.sum(0)])
        return -(targets * logits).sum() + (kernel**2).sum() / (2 * strength), slope

    start = np.zeros(x.shape[1] * classes + classes)
    flat = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 5000, "ftol": 1e-14}).x
    return (test_x @ flat[:-classes].reshape(-1, classes) + flat[-classes:]).argmax(1)


@pytest.mark.parametrize("labels_per_class", [1, 10])
def test_every_draw_equals_the_formula(labels_per_class):
    settings = {"num_classes": 10, "labels_per_class": labels_per_class, "draws": 3, "seed": 5}
    result = few_label(TRAIN_X, TRAIN_Y, TEST_X, TEST_Y, **settings)
    rows = draw_rows(TRAIN_Y, **settings)
    x, test_x = normalise(TRAIN_X, TEST_X)
    expected = [np.mean(reference(x[drawn], TRAIN_Y[drawn], test_x) == TEST_Y) for drawn in rows]
    # A test example on the border of two classes may fall either way.
    np.testing.assert_allclose(result.values, expected, atol=1.01 / len(TEST_Y))
    assert result.mean == pytest.approx(result.values.mean()) and result.std == pytest.approx(result.values.std(ddof=1))


def test_pixels_of_digits_at_ten_labels_a_class():
    result = few_label(TRAIN_X, TRAIN_Y, TEST_X, TEST_Y, num_classes=10)
    assert len(result.values) == 20
    assert 0.88 < result.mean < 0.915 and 0.005 < result.std < 0.03


def test_draws_have_their_labels_and_differ():
    rows = draw_rows(TRAIN_Y, num_classes=10, labels_per_class=4, draws=6, seed=0)
    assert rows.shape == (6, 40)
    for drawn in rows:
        assert len(set(drawn)) == 40
        np.testing.assert_array_equal(np.bincount(TRAIN_Y[drawn]), np.full(10, 4))
    assert len({tuple(drawn) for drawn in rows}) == 6
    np.testing.assert_array_equal(rows, draw_rows(TRAIN_Y, num_classes=10, labels_per_class=4, draws=6, seed=0))
    assert (rows != draw_rows(TRAIN_Y, num_classes=10, labels_per_class=4, draws=6, seed=1)).any()


def test_draws_do_not_depend_on_the_features():
    first = few_label(TRAIN_X, TRAIN_Y, TEST_X, TEST_Y, num_classes=10, draws=2)
    scaled = few_label(7 * TRAIN_X + 3, TRAIN_Y, 7 * TEST_X + 3, TEST_Y, num_classes=10, draws=2)
    np.testing.assert_allclose(first.values, scaled.values, atol=1.01 / len(TEST_Y))  # scale and offset do not matter


def test_test_labels_reach_nothing_but_the_score():
    shuffled = np.random.default_rng(0).permutation(TEST_Y)
    assert few_label(TRAIN_X, TRAIN_Y, TEST_X, shuffled, num_classes=10, draws=2).mean < 0.2


def test_normalise():
    x, test_x = normalise(TRAIN_X, TEST_X)
    assert x.dtype == test_x.dtype == np.float32
    np.testing.assert_allclose(x.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(np.sum(x**2, axis=1).mean(), 1, rtol=1e-5)
    mean, var = np.float64(TRAIN_X).mean(0), np.float64(TRAIN_X).var(0)
    shape = (np.float64(TEST_X) - mean) / np.sqrt(var + var.mean())
    ratio = np.sqrt(np.sum(var / (var + var.mean())))
    np.testing.assert_allclose(test_x, shape / ratio, atol=1e-5)
    constant, _ = normalise(np.ones((4, 3), np.float32), np.ones((2, 3), np.float32))
    assert np.isfinite(constant).all()


def test_too_few_examples_is_one_sentence():
    with pytest.raises(ValueError, match=r"labels_per_class=200 was asked .* rarest class has 1[0-9]+ rows"):
        few_label(TRAIN_X, TRAIN_Y, TEST_X, TEST_Y, num_classes=10, labels_per_class=200)
