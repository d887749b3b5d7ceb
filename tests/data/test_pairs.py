"""Pairs of images and captions: what is read, how captions are drawn, and what is refused."""

import itertools
import json

import cv2
import numpy as np
import pytest

from ssl_jax import methods
from ssl_jax.data import pipeline, sources
from ssl_jax.run import facts


@pytest.fixture
def folder(tmp_path):
    """Two images with two captions and one."""
    (tmp_path / "train").mkdir()
    for number, size in (("a.png", 8), ("b.png", 8)):
        image = np.full((size, size, 3), (0, 0, 255), np.uint8)  # red, in the order of OpenCV
        cv2.imwrite(str(tmp_path / "train" / number), image)
    write(tmp_path, {"a.png": ["a cat ", "one cat"], "b.png": ["a dog"]})
    return tmp_path


def write(folder, captions):
    (folder / "train" / "captions.json").write_text(json.dumps(captions))


def test_images_and_captions_are_read(folder):
    source = sources.load(f"pairs:{folder}", "train")
    rows = source.rows(np.array([1, 0]))
    assert rows["image"].shape == (2, 8, 8, 3) and rows["image"][0, 0, 0].tolist() == [255, 0, 0]
    assert rows["text"].tolist() == [["a dog", ""], ["a cat", "one cat"]]
    assert source.captions.tolist() == [["a cat", "one cat"], ["a dog", ""]]
    assert len(source) == 2 and source.num_classes is None and source.labels is None


def test_a_long_caption_does_not_make_the_others_as_large(folder):
    write(folder, {"a.png": ["a cat", 20_000 * "long "], "b.png": ["a dog"]})
    source = sources.load(f"pairs:{folder}", "train")
    assert source.captions.nbytes == 4 * 8 and source.captions[0, 1] == (20_000 * "long ").strip()
    assert all(type(text) is str for text in source.captions.ravel())
    assert pipeline.Batches(source, batch_size=2, seed=0)[0].keys() == {"image", "index", "row"}
    assert next(pipeline.sequential(source, 2)).keys() == {"image", "valid"}


def test_captions_of_pairs_become_tokens_in_processes_that_read_ahead(folder, tiny):
    config, source = tiny("clip"), sources.load(f"pairs:{folder}", "train")
    rows = methods.read(source, config, facts.gather(None, config, source), train=True)
    alone, ahead = (pipeline.Batches(rows, batch_size=2, seed=0, workers=workers).iterate() for workers in (0, 1))
    for batch, other in zip(itertools.islice(alone, 2), ahead, strict=False):
        assert batch.keys() == {"image", "tokens", "index", "row"}
        assert all(np.array_equal(batch[name], other[name]) for name in batch)
    ahead.close()


def test_captions_pass_through_subsets_and_canvases(folder):
    cv2.imwrite(str(folder / "train" / "b.png"), np.zeros((6, 10, 3), np.uint8))
    with pytest.raises(ValueError, match="vary in size; set config.data.canvas"):
        sources.load(f"pairs:{folder}", "train")
    source = sources.load(f"pairs:{folder}", "train", canvas=4)
    assert source.captions.shape == (2, 2) and source.rows(np.arange(2))["image"].shape == (2, 4, 4, 3)
    assert sources.Subset(source, np.array([1])).captions.tolist() == [["a dog", ""]]
    assert sources.Subset(sources.load("digits", "train"), np.array([1])).captions is None


def test_captions_of_arrays_are_their_text(tmp_path):
    np.savez(tmp_path / "train.npz", image=np.zeros((2, 4, 4, 3), np.uint8), text=np.array(["a", "b"]))
    assert sources.load(f"npz:{tmp_path}", "train").captions.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    "captions, message",
    [
        ({"a.png": ["a cat"], "c.png": ["a bird"]}, "names 'c.png', which is not beside it; add the image"),
        ({"a.png": ["a cat"], "b.png": []}, "has no caption for 'b.png'"),
        ({"a.png": [" "]}, "has no caption for 'a.png'"),
        ({"a.png": "a cat"}, "is of another form; expected {file"),
        ([["a.png", "a cat"]], "is of another form"),
        ({}, "is of another form"),
    ],
)
def test_wrong_captions_are_refused(folder, captions, message):
    write(folder, captions)
    with pytest.raises(ValueError, match=message):
        sources.load(f"pairs:{folder}", "train")


def test_what_is_not_there_is_named(folder):
    with pytest.raises(ValueError, match="has no split 'test'; expected pairs:DIR with"):
        sources.load(f"pairs:{folder}", "test")
    (folder / "train" / "captions.json").write_text("{")
    with pytest.raises(ValueError, match="is no JSON"):
        sources.load(f"pairs:{folder}", "train")
    write(folder, {"a.png": ["a cat"], "captions.json": ["no image"]})
    with pytest.raises(ValueError, match="captions.json cannot be read; expected an image"):
        sources.load(f"pairs:{folder}", "train")
