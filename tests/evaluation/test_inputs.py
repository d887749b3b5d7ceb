"""The input itself as features: pixels, and log-mel statistics of sound."""

import numpy as np

from ssl_jax.data import sources
from ssl_jax.evaluation import inputs


def test_input_rows_are_scaled_pixels():
    class Source:
        images = np.random.default_rng(0).integers(0, 256, (5, 3, 2, 1)).astype(np.uint8)

        def __len__(self):
            return 5

        def rows(self, ids):
            return {"image": self.images[ids], "label": np.asarray(ids, np.int64)}

    found = inputs.pixel_rows(Source())
    np.testing.assert_allclose(found["features"], Source.images.reshape(5, 6) / 255, rtol=1e-6)
    assert found["features"].dtype == np.float32
    np.testing.assert_array_equal(found["label"], np.arange(5))


def test_pixels_that_are_too_many_are_left_out(monkeypatch):
    source = sources.load("synthetic:16x4", "train")
    assert inputs.naive(source) == ("input pixels", inputs.pixel_rows)
    monkeypatch.setattr(inputs, "MOST_PIXELS", 4 * 4 * 16 * 16 * 3 - 1)
    assert inputs.naive(source) == ("input pixels", None)


def test_log_mel_statistics_tell_of_sound_and_not_of_its_length():
    t = np.arange(16_000) / 16_000
    low, high = (inputs.log_mel(0.1 * np.sin(2 * np.pi * pitch * t), 16_000) for pitch in (300, 3000))
    assert low.shape == (98, 40) and low.mean(0).argmax() < high.mean(0).argmax()
    short = inputs.log_mel(0.1 * np.sin(2 * np.pi * 300 * t[:4000]), 16_000)
    np.testing.assert_allclose(short.mean(0), low.mean(0), atol=0.5)
    assert inputs.log_mel(np.ones(3), 16_000).shape == (1, 40)
    source = sources.load("synthetic_sound:12", "test")
    found = inputs.sound_rows(source)
    assert inputs.naive(source) == ("log-mel statistics", inputs.sound_rows)
    assert found["features"].shape == (12, 80) and found["features"].dtype == np.float32
    np.testing.assert_array_equal(found["label"], source.labels)
    np.testing.assert_array_equal(found["speaker"], source.source.speakers)
    frames = inputs.frame_rows(source, 3)
    bands = inputs.log_mel(source[5]["audio"], source.sample_rate)
    assert frames["features"].shape == (12, 3, 40) and frames["features"].dtype == np.float32
    np.testing.assert_allclose(frames["features"][5, 1], bands[len(bands) // 2], rtol=1e-5)
    np.testing.assert_array_equal(frames["speaker"], source.source.speakers)


def test_tf_idf_is_that_of_scikit_learn():
    from sklearn.feature_extraction.text import TfidfTransformer

    from ssl_jax.data.sources import from_arrays

    rng = np.random.default_rng(0)
    train, test = (rng.integers(-1, 9, (n, 6)).astype(np.int32) for n in (20, 7))
    title, naive = inputs.naive(from_arrays({"tokens": train, "label": np.arange(20)}))
    counts = [np.stack([np.bincount(row[row >= 0], minlength=9) for row in rows]) for rows in (train, test)]
    reference = TfidfTransformer().fit(counts[0])
    found = naive(from_arrays({"tokens": test}))["features"]
    assert title == "TF-IDF"
    np.testing.assert_allclose(found, reference.transform(counts[1]).toarray(), atol=1e-6)
