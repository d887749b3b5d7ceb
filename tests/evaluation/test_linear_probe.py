"""The linear probe against scikit-learn, a NumPy transcription of its optimizer, and its rule of choice."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from ssl_jax.evaluation import linear_probe as module
from ssl_jax.evaluation.linear_probe import PAPER, linear_probe

DIGITS = load_digits()
SPLIT = train_test_split(
    np.asarray(DIGITS.data / 16, np.float32), DIGITS.target.astype(np.int32), test_size=360, stratify=DIGITS.target,
    random_state=0,
)  # fmt: skip
TRAIN_X, TEST_X, TRAIN_Y, TEST_Y = SPLIT
ROWS = (TRAIN_X, TRAIN_Y, TEST_X, TEST_Y)


def train_heads(x, y, learning_rates, weight_decays, *, epochs, batch_size, seed=0, mean=0.0, std=1.0, **options):
    width = x.shape[1]
    return module._train_heads(
        x, y, np.arange(len(x)), np.full(width, mean, np.float32), np.full(width, std, np.float32),
        np.float32(learning_rates), np.float32(weight_decays), module.jax.random.key(seed),
        num_classes=10, epochs=epochs, batch_size=batch_size, **options,
    )  # fmt: skip


def test_within_a_point_of_scikit_learn():
    mean, std = TRAIN_X.mean(0), TRAIN_X.std(0) + 1e-2
    peers = [
        LogisticRegression(C=c, max_iter=1000).fit((TRAIN_X - mean) / std, TRAIN_Y).score((TEST_X - mean) / std, TEST_Y)
        for c in (0.01, 0.1, 1.0)
    ]
    result = linear_probe(*ROWS, num_classes=10)
    assert abs(result.top1 - max(peers)) <= 0.01
    assert result.learning_rate in {rate for rate, _, _ in result.sweep}
    assert result.validation_top1 == max(top1 for _, _, top1 in result.sweep)


def test_full_batch_steps_equal_numpy():
    # One batch an epoch: the order of its rows does not matter, so that the reference needs no random numbers.
    x, y, rate, decay, epochs = np.float64(TRAIN_X[:64]), TRAIN_Y[:64], 0.5, 1e-2, 7
    kernel, bias = np.zeros((64, 10)), np.zeros(10)
    kernel_trace, bias_trace = np.zeros_like(kernel), np.zeros_like(bias)
    for step in range(epochs):
        logits = x @ kernel + bias
        probability = np.exp(logits - logits.max(1, keepdims=True))
        residual = (probability / probability.sum(1, keepdims=True) - np.eye(10)[y]) / len(x)
        kernel_slope, bias_slope = x.T @ residual + decay * kernel, residual.sum(0)
        kernel_trace, bias_trace = 0.9 * kernel_trace + kernel_slope, 0.9 * bias_trace + bias_slope
        now = rate * (1 + np.cos(np.pi * step / epochs)) / 2
        kernel -= now * (kernel_slope + 0.9 * kernel_trace)  # Nesterov
        bias -= now * (bias_slope + 0.9 * bias_trace)
    head = train_heads(TRAIN_X[:64], TRAIN_Y[:64], [rate], [decay], epochs=epochs, batch_size=64)
    np.testing.assert_allclose(head["kernel"][0], kernel, atol=2e-6)
    np.testing.assert_allclose(head["bias"][0], bias, atol=2e-6)
    assert np.abs(kernel).max() > 0.1


def test_sweep_equals_single_runs():
    settings = {"epochs": 3, "batch_size": 128}
    together = train_heads(TRAIN_X, TRAIN_Y, [0.01, 0.1, 1.0], [0, 1e-3, 1e-2], **settings)
    for i, (rate, decay) in enumerate([(0.01, 0), (0.1, 1e-3), (1.0, 1e-2)]):
        alone = train_heads(TRAIN_X, TRAIN_Y, [rate], [decay], **settings)
        np.testing.assert_allclose(together["kernel"][i], alone["kernel"][0], atol=1e-5)
        np.testing.assert_allclose(together["bias"][i], alone["bias"][0], atol=1e-5)


def test_epochs_drop_the_remainder_each_in_its_own_order():
    # One-hot rows: the kernel's row i moves if and only if example i was in a batch.
    x, y = np.eye(100, dtype=np.float32), np.arange(100, dtype=np.int32) % 10

    def seen(epochs, seed=0):
        head = train_heads(x, y, [0.1], [0], epochs=epochs, batch_size=64, seed=seed)
        return set(np.flatnonzero(np.abs(head["kernel"][0]).sum(axis=1)))

    assert len(seen(1)) == 64 and len(seen(20)) == 100
    assert seen(1) == seen(1) != seen(1, seed=1)


def test_winner_is_chosen_without_the_test_rows():
    settings = {"num_classes": 10, "epochs": 20}
    honest = linear_probe(*ROWS, **settings)
    shuffled = np.random.default_rng(0).permutation(TEST_Y)
    blind = linear_probe(TRAIN_X, TRAIN_Y, TEST_X, shuffled, **settings)
    assert honest[1:] == blind[1:]
    assert honest.top1 > 0.9 > 0.3 > blind.top1


def test_winner_comes_from_the_validation_rows_given():
    # On rows whose labels are wrong the slowest head, which fits the right ones least, does best.
    wrong = (TRAIN_Y + 1) % 10
    settings = {"num_classes": 10, "epochs": 5, "learning_rates": (1e-6, 0.3), "weight_decays": (0.0,)}
    right = linear_probe(*ROWS, validation=(TRAIN_X, TRAIN_Y), **settings)
    misled = linear_probe(*ROWS, validation=(TRAIN_X, wrong), **settings)
    assert (right.learning_rate, misled.learning_rate) == (0.3, 1e-6)


def test_equal_accuracies_are_told_apart_by_the_loss():
    # Separable: every learning rate reaches 1.0, the largest one with the smallest loss.
    x = np.repeat(np.float32([[-1.0], [1.0]]), 50, axis=0)
    y = np.repeat([0, 1], 50)
    result = linear_probe(x, y, x, y, num_classes=2, epochs=5, learning_rates=(0.01, 1.0, 0.1), weight_decays=(0.0,))
    assert result.learning_rate == 1.0 and result.validation_top1 == 1.0


def test_held_out_rows_are_not_trained_on(monkeypatch):
    seen = []
    train = module._train_heads

    def spy(x, y, rows, *args, **kwargs):
        seen.append(np.asarray(rows))
        return train(x, y, rows, *args, **kwargs)

    monkeypatch.setattr(module, "_train_heads", spy)
    linear_probe(*ROWS, num_classes=10, epochs=1, held_out=0.25)
    fitted, final = seen
    np.testing.assert_array_equal(final, np.arange(len(TRAIN_X)))
    held = np.setdiff1d(final, fitted)
    counts, all_counts = np.bincount(TRAIN_Y[held]), np.bincount(TRAIN_Y)
    np.testing.assert_array_equal(counts, np.round(0.25 * all_counts))


def test_paper_protocol_is_one_run_on_raw_features():
    result = linear_probe(*ROWS, num_classes=10, **PAPER)
    assert result.learning_rate == 0.1 and result.validation_top1 is None and result.sweep == ()
    assert result.top1 > 0.93


def test_a_diverged_candidate_never_wins():
    result = linear_probe(*ROWS, num_classes=10, epochs=3, learning_rates=(1e30, 0.1), weight_decays=(1e-3,))
    assert result.learning_rate == 0.1 and result.top1 > 0.5
    assert result.sweep[0][2] < 0.2  # not a number: the class with index 0


def test_too_few_rows_to_hold_out_is_one_sentence():
    x, y = np.ones((2, 3), np.float32), np.array([0, 1])
    with pytest.raises(ValueError, match="pass validation="):
        linear_probe(x, y, x, y, num_classes=2)


def test_batch_norm_in_front_equals_numpy():
    """Full batches, so that training sees their own statistics, and the test the running ones."""
    x, y, epochs = 3 + np.float64(TRAIN_X[:64]), TRAIN_Y[:64], 5
    mean, variance = x.mean(0), x.var(0)
    normed = (x - mean) / np.sqrt(variance + 1e-6)
    kernel, bias, traces = np.zeros((64, 10)), np.zeros(10), [0.0, 0.0]
    running_mean, running_variance = np.zeros(64), np.ones(64)
    for step in range(epochs):
        probability = np.exp(normed @ kernel + bias)
        residual = (probability / probability.sum(1, keepdims=True) - np.eye(10)[y]) / 64
        slopes = normed.T @ residual, residual.sum(0)
        traces = [0.9 * trace + slope for trace, slope in zip(traces, slopes, strict=True)]
        now = 0.1 * (1 + np.cos(np.pi * step / epochs)) / 2
        kernel, bias = (w - now * (g + 0.9 * t) for w, g, t in zip((kernel, bias), slopes, traces, strict=True))
        running_mean = 0.9 * running_mean + 0.1 * mean
        running_variance = 0.9 * running_variance + 0.1 * variance * 64 / 63
    head = train_heads(np.float32(x), y, [0.1], [0.0], epochs=epochs, batch_size=64, batch_norm=True)
    wanted = (x - running_mean) / np.sqrt(running_variance + 1e-6) @ kernel + bias
    found = x @ np.float64(head["kernel"][0]) + np.float64(head["bias"][0])
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_batch_norm_helps_where_columns_differ_in_scale():
    scale = np.logspace(-3, 3, 64, dtype=np.float32)[None]
    rows = (TRAIN_X * scale + 50, TRAIN_Y, TEST_X * scale + 50, TEST_Y)
    found = linear_probe(*rows, num_classes=10, epochs=20, **module.BATCH_NORM)
    assert found.top1 > 0.9 > linear_probe(*rows, num_classes=10, epochs=20, standardised=False).top1


def test_hidden_layers_solve_what_no_linear_classifier_can():
    x = np.random.default_rng(0).uniform(-1, 1, (600, 2)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(np.int32)  # opposite quadrants
    rows = x[:400], y[:400], x[400:], y[400:]
    assert linear_probe(*rows, num_classes=2).top1 < 0.7
    assert linear_probe(*rows, num_classes=2, **module.MLP).top1 > 0.9


def test_hidden_layers_are_matrices_and_rectifiers():
    numbers = np.random.default_rng(0)
    head = {"hidden_0": {"kernel": numbers.normal(size=(4, 3)), "bias": numbers.normal(size=3)}}
    head |= {"kernel": numbers.normal(size=(3, 2)), "bias": numbers.normal(size=2)}
    x = numbers.normal(size=(5, 4))
    wanted = np.maximum(x @ head["hidden_0"]["kernel"] + head["hidden_0"]["bias"], 0) @ head["kernel"] + head["bias"]
    np.testing.assert_allclose(module._logits(module.jax.tree.map(np.float32, head), np.float32(x)), wanted, atol=1e-5)
