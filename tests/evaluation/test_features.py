"""Extraction over padded batches, baselines, and the settling of an untrained network's statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.evaluation import features


def batches(images, labels=None, size=4):
    for start in range(0, len(images), size):
        ids = np.arange(start, start + size)
        rows = np.minimum(ids, len(images) - 1)
        batch = {"image": images[rows], "valid": ids < len(images)}
        yield batch if labels is None else batch | {"label": labels[rows]}


@pytest.mark.parametrize("n", [1, 4, 10])
def test_extract_keeps_order_and_drops_padding(n):
    images = np.random.default_rng(0).normal(size=(n, 2, 3)).astype(np.float32)
    labels = np.arange(n) % 3
    found = features.extract(jax.jit(lambda batch: 2 * batch["image"].reshape(4, 6)), batches(images, labels))
    np.testing.assert_array_equal(found["features"], 2 * images.reshape(n, 6))
    np.testing.assert_array_equal(found["label"], labels)
    assert (found["features"].dtype, found["label"].dtype) == (np.float32, np.int32)


def test_extract_without_labels_and_from_half_precision():
    found = features.extract(lambda batch: jnp.bfloat16(batch["image"]), batches(np.ones((5, 2))))
    assert set(found) == {"features"} and found["features"].dtype == np.float32 and len(found["features"]) == 5


def test_extract_hides_the_padding_mark_from_the_encoder():
    keys = []
    features.extract(lambda batch: keys.append(set(batch)) or batch["image"], batches(np.ones((5, 2)), np.zeros(5)))
    assert keys == [{"image", "label"}] * 2


def test_what_is_to_be_kept_is_kept():
    rows = [batch | {"speaker": np.arange(4)} for batch in batches(np.ones((5, 2)), np.zeros(5))]
    found = features.extract(lambda batch: batch["image"], rows, ("speaker",))
    assert found.keys() == {"features", "speaker"} and found["speaker"].tolist() == [0, 1, 2, 3, 0]


def test_the_mean_of_a_sequence_leaves_padding_out():
    x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)
    found = features.pooled(jnp.asarray(x), share=jnp.array([1.0, 1 / 3]))
    np.testing.assert_allclose(found, [x[0].mean(0), x[1, :2].mean(0)], rtol=1e-5)


def test_statistics_leave_constant_columns_at_zero():
    x = np.random.default_rng(0).normal(3, 5, (100, 4)).astype(np.float32)
    x[:, 1] = 0.1
    mean, std = features.statistics(x)
    z = (x - mean[None]) / std[None]
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(z.std(0)[[0, 2, 3]], 1, rtol=1e-5)
    np.testing.assert_allclose(z[:, 1], 0, atol=1e-6)


def test_shuffled_ranks_count_within_classes():
    labels = np.random.default_rng(0).integers(0, 5, 200)
    ranks = features.shuffled_ranks(labels, np.random.default_rng(1))
    for c in range(5):
        np.testing.assert_array_equal(np.sort(ranks[labels == c]), np.arange(np.sum(labels == c)))
    # Row 0 is not always the first of its class.
    assert len({features.shuffled_ranks(labels, np.random.default_rng(seed))[0] for seed in range(10)}) > 3


def test_calibration_settles_running_statistics(key):
    def embed(params, state, batch, key, progress, axis_name):
        assert axis_name is None
        return {}, {"mean": 0.9 * state["mean"] + 0.1 * (batch["view_0"] @ params).mean()}

    rows = np.random.default_rng(0).normal(7, 1, (50, 64, 3)).astype(np.float32)
    expected = sum(0.1 * 0.9 ** (49 - k) * batch.sum(1).mean() for k, batch in enumerate(rows))
    state = features.calibrate(embed, jnp.ones(3), {"mean": 0.0}, ({"view_0": batch} for batch in rows), key)
    assert float(state["mean"]) == pytest.approx(expected, rel=1e-5) == pytest.approx(21, rel=0.01)


def test_calibration_gives_every_batch_its_own_key(key):
    def embed(params, state, batch, key, progress, axis_name):
        return {}, jnp.roll(state, 1).at[0].set(jax.random.uniform(key))

    seen = features.calibrate(embed, {}, jnp.zeros(4), [{"x": np.ones(1)}] * 4, key)
    assert len(set(np.asarray(seen).tolist())) == 4


def test_maps_are_averaged_over_a_grid_of_about_9000_values():
    maps = np.random.default_rng(0).normal(size=(2, 7, 5, 3)).astype(np.float32)
    found = np.asarray(features.grid_pooled(maps, values=27)).reshape(2, 3, 3, 3)
    for i in range(3):
        for j in range(3):
            rows, columns = slice(i * 7 // 3, -(-(i + 1) * 7 // 3)), slice(j * 5 // 3, -(-(j + 1) * 5 // 3))
            np.testing.assert_allclose(found[:, i, j], maps[:, rows, columns].mean((1, 2)), atol=1e-6)
    for channels, values in ((96, 9600), (256, 9216), (384, 9600)):
        assert features.grid_pooled(np.ones((1, 13, 13, channels), np.float32)).shape == (1, values)
    assert features.grid_pooled(np.ones((1, 2, 2, 8), np.float32)).shape == (1, 32)  # no more cells than places
    assert features.grid_pooled(np.ones((3, 4, 8), np.float32)).shape == (3, 8)
    share = np.array([1.0, 0.5, 0.25])  # of a sequence
    sequences = np.arange(12.0, dtype=np.float32).reshape(3, 4, 1)
    np.testing.assert_allclose(features.grid_pooled(sequences, share).ravel(), [1.5, 4.5, 8.0])


def test_frames_are_spread_over_what_is_no_padding():
    sequences = np.arange(20.0, dtype=np.float32).reshape(2, 10, 1)
    found = features.spread(sequences, np.array([1.0, 0.4]), count=5)
    assert found[..., 0].tolist() == [[1, 3, 5, 7, 9], [10, 11, 12, 12, 13]]
    assert features.spread(sequences, count=2)[..., 0].tolist() == [[2, 7], [12, 17]]
