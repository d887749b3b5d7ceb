"""Folders of images."""

import cv2
import numpy as np
import pytest

from ssl_jax.data import images, pipeline, sources

SIZES = {"train/cat/b.png": (4, 4), "train/cat/a.webp": (4, 4), "train/dog/c.JPEG": (4, 4), "test/eel/d.jpg": (4, 4)}


def write(folder, sizes):
    """Image files of a grey level that is their place in `sizes`, times 20, but for red, which is 200."""
    for level, (name, size) in enumerate(sizes.items()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((*size, 3), 20 * level, np.uint8)
        pixels[..., 2] = 200  # OpenCV writes blue first
        assert cv2.imwrite(str(folder / name), pixels)
    return folder


def test_classes_are_numbered_over_all_splits_and_files_are_in_order(tmp_path):
    write(tmp_path, SIZES)
    (tmp_path / "train/cat/notes.txt").write_text("no image")
    (tmp_path / "train/.cache").mkdir()
    source = sources.load(f"folder:{tmp_path}", "train")
    assert source.files == ("cat/a.webp", "cat/b.png", "dog/c.JPEG")
    assert source.classes == ("cat", "dog", "eel") and source.num_classes == 3
    assert source.labels.tolist() == [0, 0, 1]
    assert sources.load(f"folder:{tmp_path}", "test").labels.tolist() == [2]
    assert source[2]["label"] == 1 and source.rows(np.array([2, 0]))["label"].tolist() == [1, 0]


def test_red_comes_first(tmp_path):
    image = sources.load(f"folder:{write(tmp_path, SIZES)}", "train")[1]["image"]
    assert image.dtype == np.uint8 and image.shape == (4, 4, 3)
    assert image[0, 0].tolist() == [200, 0, 0]  # a PNG, which loses nothing


def test_images_without_folders_of_classes_have_no_labels(tmp_path):
    source = sources.load(f"folder:{write(tmp_path, {'train/b.png': (4, 4), 'train/a.png': (4, 4)})}", "train")
    assert source.files == ("a.png", "b.png")
    assert source.labels is None and source.num_classes is None and list(source[0]) == ["image"]


def test_images_of_many_sizes_need_a_canvas(tmp_path):
    write(tmp_path, {"train/a.png": (4, 6), "train/b.png": (8, 4)})
    with pytest.raises(ValueError, match="vary in size; set config.data.canvas"):
        sources.load(f"folder:{tmp_path}", "train")
    rows = sources.load(f"folder:{tmp_path}", "train", canvas=8).rows(np.arange(2))
    assert rows["image"].shape == (2, 8, 8, 3) and rows["size"].tolist() == [[4, 6], [8, 4]]


def test_files_are_eight_bits_in_three_channels_whatever_they_hold(tmp_path):
    (tmp_path / "train").mkdir()
    held = {"a.png": np.full((4, 4), 7, np.uint8), "b.png": np.full((4, 4, 4), 9, np.uint8)}  # grey; transparent
    for name, pixels in (held | {"c.png": np.full((4, 4, 3), 2000, np.uint16)}).items():
        assert cv2.imwrite(str(tmp_path / "train" / name), pixels)
    rows = sources.load(f"folder:{tmp_path}", "train").rows(np.arange(3))["image"]
    assert rows.dtype == np.uint8 and rows.shape == (3, 4, 4, 3)
    assert rows[:, 0, 0].tolist() == [[7] * 3, [9] * 3, [2000 // 256] * 3]


def test_what_is_no_class_is_not_numbered(tmp_path):
    write(tmp_path, SIZES | {"masks/train/m.png": (4, 4), "validation/fox/e.png": (4, 4)})
    for empty in ("train/ant", "annotations/xmls", "loop"):
        (tmp_path / empty).mkdir(parents=True)
    (tmp_path / "loop" / "loop").symlink_to(tmp_path / "loop")
    source = sources.load(f"folder:{tmp_path}", "train")
    assert source.classes == ("cat", "dog", "eel", "fox")
    assert sources.load(f"folder:{tmp_path}", "masks").classes == ("cat", "dog", "eel", "fox", "train")


def test_one_split_may_have_classes_and_another_none(tmp_path):
    write(tmp_path, {"train/a.png": (4, 4), "test/cat/b.png": (4, 4)})
    assert sources.load(f"folder:{tmp_path}", "train").labels is None
    assert sources.load(f"folder:{tmp_path}", "test").classes == ("cat",)


def test_a_linked_split_is_read_and_a_dangling_link_is_named(tmp_path):
    write(tmp_path / "elsewhere", SIZES)
    (tmp_path / "train").symlink_to(tmp_path / "elsewhere" / "train")
    source = sources.load(f"folder:{tmp_path}", "train")
    assert len(source) == 3
    (tmp_path / "elsewhere/train/cat/z.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(ValueError, match="z.png cannot be read"):
        sources.load(f"folder:{tmp_path}", "train")


def test_sizes_that_vary_beyond_those_compared_are_named_in_a_batch(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "COMPARED", 2)
    sizes = {f"train/{i}.png": (4, 4) for i in range(4)} | {"train/1.png": (5, 4)}
    source = sources.load(f"folder:{write(tmp_path, sizes)}", "train")  # looks at rows 0 and 2
    with pytest.raises(ValueError, match="vary in size; set config.data.canvas"):
        source.rows(np.arange(4))


def test_batches_are_the_same_with_a_thread_that_reads_ahead(tmp_path):
    source = sources.load(f"folder:{write(tmp_path, SIZES | {'train/dog/f.png': (4, 4)})}", "train")
    alone, ahead = (next(pipeline.Batches(source, batch_size=4, seed=0, workers=n).iterate()) for n in (0, 1))
    assert alone.keys() == ahead.keys() >= {"image", "label"}
    for key in alone:
        np.testing.assert_array_equal(alone[key], ahead[key])


def test_what_is_not_there_is_named(tmp_path):
    write(tmp_path, SIZES)
    with pytest.raises(ValueError, match="has no split 'val'; its splits are test, train"):
        sources.load(f"folder:{tmp_path}", "val")
    with pytest.raises(ValueError, match="has no split 'train'; expected a directory"):
        sources.load(f"folder:{tmp_path / 'none'}", "train")
    with pytest.raises(ValueError, match="has no split"):
        sources.load("folder:", "train")
    (tmp_path / "val/cat").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"val has no images; expected files \*.jpg"):
        sources.load(f"folder:{tmp_path}", "val")
    write(tmp_path, {"train/e.png": (4, 4)})
    with pytest.raises(ValueError, match="has images both in it and in folders below it"):
        sources.load(f"folder:{tmp_path}", "train")
    (tmp_path / "train/cat/b.png").write_text("no image")
    with pytest.raises(ValueError, match="b.png cannot be read; expected an image file"):
        images.read(tmp_path / "train/cat/b.png")
    write(tmp_path, {"nested/cat/photos/a.png": (4, 4), "nested/dog/b.png": (4, 4)})
    with pytest.raises(ValueError, match="nested/cat has folders and no images"):
        sources.load(f"folder:{tmp_path}", "nested")
    (tmp_path / "file").write_text("no split")
    with pytest.raises(ValueError, match="has no split 'file'"):
        sources.load(f"folder:{tmp_path}", "file")
