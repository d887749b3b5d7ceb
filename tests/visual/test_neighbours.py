"""The report's nearest neighbours and maps where some examples have no label."""

from types import SimpleNamespace

import numpy as np

from ssl_jax.visual import maps
from ssl_jax.visual.sections import neighbours


def show(labels):
    """Four examples in two pairs of nearly equal features."""
    features = np.array([[1, 0], [0.99, 0.1], [0, 1], [0.1, 0.99]], np.float32)
    examples = [{"image": np.full((4, 4, 3), 60 * i, np.uint8)} for i in range(4)]
    labels = None if labels is None else np.array(labels)
    source = SimpleNamespace(name="some/test")
    run = SimpleNamespace(features=features, labels=labels, examples=examples, classes=("cat", "dog"), source=source)
    return neighbours.show(run)


def test_examples_without_a_label_neither_agree_nor_have_a_name():
    page = show([0, 0, -1, -1])
    assert page.count("of the same class") == 2 and page.count("of another class") == 0
    assert "cat" in page and "dog" not in page
    assert "in 100.0 %; by chance 100.0 %" in page
    assert not any("has the label" in show(labels) for labels in ([-1, -1, -1, -1], None))


def test_marks_are_of_labels_that_are_known():
    groups, names = maps.marks_of(np.array([1, -1, 1, 0]), ("cat", "dog"))
    assert groups.tolist() == [1, -1, 1, 0] and names == ["cat", "dog"]


def test_queries_are_of_different_classes_before_any_without_a_label():
    assert neighbours._spread(np.array([-1, -1, 2, 1]), 4) == [3, 2, 0, 1]
