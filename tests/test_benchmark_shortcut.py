"""`benchmarks/shortcut.py`: how it bends the colours of images, and what it reads and prints of finished runs."""

import json

import numpy as np
import pytest

from benchmarks import shortcut


def test_colours_are_bent_away_from_the_middle():
    image = np.zeros((1, 33, 33, 3), np.uint8)
    image[0, 26, 16] = 200  # ten below the middle
    found = np.asarray(shortcut.aberrated(image, (0.2, 0, -0.2)))[0].astype(float)
    places = (found * np.arange(33)[:, None, None]).sum((0, 1)) / found.sum((0, 1))
    np.testing.assert_allclose(places - 16, [12, 10, 8], atol=0.3)
    np.testing.assert_array_equal(shortcut.aberrated(image, (0, 0, 0)), image)


def test_finished_runs_are_a_table(tmp_path):
    rows = [("pretext", "random", "context_top1", 0.12), ("pretext", "encoder", "context_top1", 0.9)]
    rows += [("knn", "random", "top1", 0.2), ("knn", "random_initial", "top1", 0.25), ("knn", "encoder", "top1", 0.4)]
    rows += [("linear", "random", "top1", 0.3), ("linear", "encoder", "top1", 0.51), ("knn", "input", "top1", 0.99)]
    keys = "protocol", "features", "metric", "value"
    (tmp_path / "shortcut.json").write_text(json.dumps([dict(zip(keys, row, strict=True)) for row in rows]))
    row = shortcut.read(tmp_path)
    assert row == pytest.approx({"pretext": 0.9, "knn": 0.4, "linear": 0.51, "random_knn": 0.25, "random_linear": 0.3})
    table = shortcut.table({"aberration": row})
    assert "| aberration | 90.0 | 40.0 | 51.0 |" in table
    assert table.endswith("Better random encoder: 25.0 (kNN) and 30.0 (linear).")
