"""Retrieval and zero-shot classification against by-hand values, and words as mean pixels."""

import math

import numpy as np
import pytest

from ssl_jax.data import sources
from ssl_jax.evaluation import protocols
from ssl_jax.evaluation.towers import Towers, distinct, prompted, recall, recall_of_chance, word_centroids


def test_recall_against_sorting():
    rng = np.random.default_rng(0)
    scores, own = rng.normal(size=(30, 12)), rng.random((30, 12)) < 0.2
    own[np.arange(30), rng.integers(0, 12, 30)] = True
    for k in (1, 5, 12):
        best = np.argsort(-scores, axis=1)[:, :k]
        assert recall(scores, own, k) == pytest.approx(np.take_along_axis(own, best, axis=1).any(1).mean())
    assert recall(np.zeros((3, 3)), np.eye(3, dtype=bool), 1) == 0  # ties count against


def test_chance_against_counting():
    own = np.zeros((2, 6), bool)
    own[0, :1], own[1, :3] = True, True
    expected = [1 - math.comb(6 - r, 2) / math.comb(6, 2) for r in (1, 3)]
    assert recall_of_chance(own, 2) == pytest.approx(np.mean(expected))
    assert recall_of_chance(own, 10) == 1


def test_the_same_words_are_one_caption():
    texts, own = distinct(np.array(["a", "b", "a"]))
    assert texts == ["a", "b"] and own.tolist() == [[True, False], [False, True], [True, False]]


def test_blank_captions_are_none_and_spaces_at_the_ends_do_not_count():
    for dtype in (str, object):
        texts, own = distinct(np.array([["b ", " "], [" b", "a"], ["", "  "]], dtype))
        assert texts == ["a", "b"] and own.tolist() == [[False, True], [True, True], [False, False]]


def test_prompts_are_averaged_at_unit_length():
    asked = []

    def texts(given):
        asked.append(given)
        return np.array([[3.0, 0.0], [0.0, 5.0]])

    (row,) = prompted(texts, ["cat"], ["a {}.", "the {}, {}."])
    assert asked == [["a cat.", "the cat, cat."]]
    np.testing.assert_allclose(row, np.full(2, 0.5**0.5), rtol=1e-6)


def test_words_are_mean_pixels():
    image = np.zeros((4, 2, 1, 1), np.uint8)
    image[:2, 0], image[2:, 1] = 255, 255
    train = sources.from_arrays({"image": image, "text": np.array(["Red cat", "red", "blue", "blue cat"])})
    test = sources.from_arrays({"image": image[[0, 3]], "text": np.array(["red", "blue"])})
    towers = word_centroids(train, test)
    scores = towers.cosines(towers.texts(["red", "blue cat", "unheard"]))
    assert scores.argmax(1).tolist() == [0, 1] and scores[0, 0] == pytest.approx(1) and not scores[:, 2].any()


def test_large_images_are_averaged_to_32_pixels_before_they_are_compared():
    rng, text = np.random.default_rng(0), np.array(["red cat", "red", "blue", "blue cat"])
    small = rng.integers(0, 256, (4, 32, 16, 5), dtype=np.uint8)
    large = small.repeat(3, axis=1).repeat(2, axis=2)
    asked, found = ["red", "blue cat", "cat"], []
    for image in (small, large):
        source = sources.from_arrays({"image": image, "text": text})
        towers = word_centroids(source, source)
        vectors = towers.texts(asked)
        assert vectors.shape == (3, 32 * (16 if image is small else 32) * 5)
        found.append(towers.cosines(vectors))
    np.testing.assert_allclose(*found, atol=1e-6)


def test_images_of_32_pixels_are_compared_as_they_are():
    image = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    source = sources.from_arrays({"image": image, "text": np.array(["red", "blue"])})
    pixels = image.reshape(2, -1) / 255
    np.testing.assert_allclose(word_centroids(source, source).images(), pixels - pixels.mean(axis=0), atol=1e-6)


def context(**changes):
    """Four images of two classes whose encoder is right but for the last."""
    image = np.array([[1.0, 0], [1, 0], [0, 1], [1, 0.1]])
    test = sources.from_arrays({
        "image": np.zeros((4, 2, 2, 1), np.uint8), "label": np.array([0, 0, 1, 1]),
        "text": np.array(["a cat", "a cat", "a dog", "a dog"]),
    })  # fmt: skip
    texts = lambda given: np.array([[1.0, 0] if "cat" in text else [0, 1] for text in given])  # noqa: E731
    values = {"split": "test", "num_classes": 2, "test": test, "classes": ("cat", "dog"), "prompts": ("{}",)}
    return protocols.Context(towers=lambda: {"encoder": Towers(lambda: image, texts)}, **values | changes)


def test_zero_shot_and_retrieval_by_hand():
    rows = protocols.evaluate(context(), ["zero_shot", "retrieval"])
    value = {(row["features"], row["metric"]): row["value"] for row in rows}
    assert value["encoder", "top1"] == 0.75 and value["chance", "top1"] == 0.5
    assert value["encoder", "image_to_text_recall_at_1"] == 0.75
    assert value["encoder", "text_to_image_recall_at_1"] == 1 and value["chance", "image_to_text_recall_at_1"] == 0.5
    said = protocols.tower_lines(rows)
    assert "zero-shot  top1" in said and "chance 50.0   trained encoder 75.0" in said


def test_a_test_image_without_a_caption_is_refused_by_retrieval():
    image, text = np.zeros((4, 2, 2, 1), np.uint8), np.array(["a cat", "a dog", " ", ""])
    test = sources.from_arrays({"image": image, "text": text})
    with pytest.raises(ValueError, match="Row 2 of arrays has no caption; retrieval needs one or more for every image"):
        protocols.load("retrieval").run(context(test=test))


def test_unknown_names_of_classes_are_refused():
    for classes in ((), ("cat",), ("cat", "dog", "bird")):
        with pytest.raises(ValueError, match="names of 2 classes; set config.eval.classes"):
            protocols.load("zero_shot").run(context(classes=classes))


@pytest.mark.parametrize(
    ("labels", "top1", "n"), [([3, 3, 5, 5], 0.75, 4), ([1, 1, 2, -1], 1.0, 3), ([0, 0, 1, -1], 1.0, 3)]
)
def test_names_are_of_the_labels_that_occur(labels, top1, n):
    test = sources.from_arrays({"label": np.array(labels), "image": np.zeros((4, 2, 2, 1), np.uint8)})
    chance, encoder = protocols.evaluate(context(test=test), ["zero_shot"])
    assert (chance["value"], encoder["value"], encoder["n"]) == (0.5, top1, n)
