"""Sources: what each spec holds, its checks, canvases, and rows held out."""

import hashlib
import shutil
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from ssl_jax.data import sources, synthetic

PREPARED = Path(__file__).parent / "tfds" / "prepared.zip"


@pytest.fixture(scope="module")
def tfds_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    with zipfile.ZipFile(PREPARED) as archive:
        archive.extractall(folder)
    return folder


def everything(source):
    return source.rows(np.arange(len(source)))


def assert_rows_are_items(source):
    ids = np.array([3, 0, 3])
    rows = source.rows(ids)
    for position, i in enumerate(ids):
        item = source[i]
        assert set(item) == set(rows)
        for key, value in item.items():
            np.testing.assert_array_equal(rows[key][position], value)


# digits


def test_digits_are_all_of_scikit_learns_split_once_and_stratified():
    parts = {split: everything(sources.load("digits", split)) for split in ("train", "test")}
    assert [len(part["label"]) for part in parts.values()] == [1437, 360]
    original = load_digits()
    counts = np.bincount(original.target)
    for part in parts.values():
        assert part["image"].shape[1:] == (8, 8, 1) and part["image"].dtype == np.uint8
        assert part["label"].dtype == np.int32
        share = len(part["label"]) / 1797
        np.testing.assert_allclose(np.bincount(part["label"]), share * counts, atol=1)
    # Together the parts are the original, pixel for pixel: 0 ... 16 is spread over 0 ... 255.
    both = np.concatenate([parts["train"]["image"], parts["test"]["image"]])
    expected = np.floor(original.images * 255 / 16 + 0.5).astype(np.uint8)
    np.testing.assert_array_equal(
        np.unique(both.reshape(1797, -1), axis=0), np.unique(expected.reshape(1797, -1), axis=0)
    )
    assert both.max() == 255


def test_no_digit_of_test_is_in_train():
    hashes = [
        {image.tobytes() for image in everything(sources.load("digits", split))["image"]} for split in ("train", "test")
    ]
    assert not hashes[0] & hashes[1]


def test_digits_items_and_classes():
    source = sources.load("digits", "train")
    assert source.num_classes == 10 and source.name == "digits/train"
    assert source[0]["label"].shape == () and source[0]["label"].dtype == np.int32
    assert_rows_are_items(source)


# synthetic


def test_synthetic_is_the_same_on_every_machine():
    rows = everything(sources.load("synthetic:32x60", "train"))
    digest = hashlib.sha256(rows["image"].tobytes() + rows["box"].tobytes() + "\n".join(rows["text"]).encode())
    assert digest.hexdigest() == "072878b212963e3e7a9261af43e58e657a579045989788942f4636f6f45b53f9"


def test_synthetic_row_does_not_depend_on_its_company():
    few, many = sources.load("synthetic:40x70", "test"), sources.load("synthetic:40x5000", "test")
    assert_rows_are_items(few)
    np.testing.assert_array_equal(everything(few)["image"], many.rows(np.arange(70))["image"])
    with pytest.raises(IndexError):
        few[70]


def test_synthetic_labels_boxes_and_captions_describe_the_image():
    source = sources.load("synthetic:48x120", "train")
    rows = everything(source)
    np.testing.assert_array_equal(np.bincount(rows["label"]), 20)
    np.testing.assert_array_equal(source.labels, rows["label"])
    assert source.num_classes == 6
    for image, (top, left, bottom, right), text, label in zip(
        *(rows[k] for k in ("image", "box", "text", "label")), strict=True
    ):
        assert list(synthetic.SHAPES)[label] in text
        # The backgrounds are darker than 0.45 * 255 and every shape's colour has a channel above 0.67 * 255.
        y, x = np.nonzero(image.max(axis=-1) > 165)
        assert (top, left) == (y.min(), x.min()) or abs(top - y.min()) + abs(left - x.min()) <= 2
        assert abs(bottom - 1 - y.max()) <= 1 and abs(right - 1 - x.max()) <= 1
        # The caption names the colour that is nearest to the brightest pixel's.
        paint = image.reshape(-1, 3)[image.max(axis=-1).argmax()] / image.max()
        colours = np.array(list(synthetic.COLOURS.values()))
        colours = colours / colours.max(axis=1, keepdims=True)
        assert list(synthetic.COLOURS)[np.abs(colours - paint).sum(axis=1).argmin()] in text


def test_synthetic_splits_differ():
    images = [sources.load("synthetic:16x6", split)[0]["image"] for split in ("train", "validation", "test")]
    assert len({image.tobytes() for image in images}) == 3


# tfds


def test_tfds_is_read_without_tensorflow(tfds_folder):
    program = f"""
        import sys
        from importlib.machinery import PathFinder
        import numpy as np

        class WithoutTensorFlow(PathFinder):
            @classmethod
            def find_spec(cls, name, path=None, target=None):
                return None if name.split(".")[0] == "tensorflow" else super().find_spec(name, path, target)

        sys.meta_path = [WithoutTensorFlow if finder is PathFinder else finder for finder in sys.meta_path]
        from ssl_jax.data import sources

        source = sources.load("tfds:ramps?data_dir={tfds_folder}", "train")
        rows = source.rows(np.arange(len(source)))
        assert rows["image"].shape == (12, 16, 16, 3) and rows["image"].dtype == np.uint8
        assert rows["label"].tolist() == [0, 1] * 6 and rows["label"].dtype == np.int32
        assert source.labels.tolist() == [0, 1] * 6 and source.num_classes == 2
        assert "tensorflow" not in sys.modules
    """
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=root, check=True, timeout=60)


def test_tfds_images_are_those_that_were_written(tfds_folder, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tfds_folder))
    source = sources.load("tfds:ramps:1.0.0", "test")
    assert len(source) == 6 and source[1]["file_name"] == b"13.png"
    ramp = np.arange(16) * 127 // 16
    red, green = np.broadcast_to(128 + ramp, (16, 16)), np.broadcast_to(128 + ramp[:, None], (16, 16))
    np.testing.assert_array_equal(source[1]["image"], np.stack([red, green, np.full((16, 16), 128 + 13)], axis=-1))
    assert_rows_are_items(source)
    assert len(sources.load("tfds:ramps", "train[:25%]")) == 3


def test_tfds_refusals(tfds_folder):
    with pytest.raises(ValueError, match="tfds build imagenet2012 --file_format=array_record --data_dir="):
        sources.load(f"tfds:imagenet2012?data_dir={tfds_folder}", "train")
    with pytest.raises(ValueError, match="is not prepared as array_record"):
        sources.load(f"tfds:ramps:2.0.0?data_dir={tfds_folder}", "train")
    with pytest.raises(ValueError, match="no split 'validation'; expected one of train, test"):
        sources.load(f"tfds:ramps?data_dir={tfds_folder}", "validation")
    with pytest.raises(ValueError, match="vary in size; set config.data.canvas"):
        sources.load(f"tfds:ramps_of_many_sizes?data_dir={tfds_folder}", "train")


@pytest.mark.parametrize(
    "file, old, new, message",
    [
        ("features.json", "uint8", "uint16", r"is uint16 \[16, 16, 3\]; expected uint8 \[H, W, C\]"),
        ("dataset_info.json", "array_record", "tfrecord", "is not prepared as array_record"),
    ],
)
def test_tfds_data_of_another_kind_are_refused(tfds_folder, tmp_path, file, old, new, message):
    shutil.copytree(tfds_folder / "ramps", tmp_path / "ramps")
    path = tmp_path / "ramps" / "1.0.0" / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        sources.load(f"tfds:ramps?data_dir={tmp_path}", "train")


# canvas, hold_out, load


def test_canvas_makes_one_size_and_keeps_the_original(tfds_folder):
    source = sources.load(f"tfds:ramps_of_many_sizes?data_dir={tfds_folder}", "train", canvas=32)
    rows = everything(source)
    assert rows["image"].shape == (8, 32, 32, 3) and source.num_classes == 2
    np.testing.assert_array_equal(rows["size"], [[24 + 4 * i, 60 - 6 * i] for i in range(8)])
    assert rows["size"].dtype == np.int32
    # A squashed ramp is a ramp: red from left to right, green from top to bottom. Pixel x of n holds 127 x // n.
    centre, inner = (np.arange(32) + 0.5) / 32, slice(2, -2)
    for image, light, size in zip(rows["image"], 128 * (np.arange(8) % 2), rows["size"], strict=True):
        green, red = (light + 127 * centre - 63.5 / n - 0.5 for n in size)
        np.testing.assert_allclose(image[inner, inner, 0], np.tile(red, (32, 1))[inner, inner], atol=1.5)
        np.testing.assert_allclose(image[inner, inner, 1], np.tile(green, (32, 1)).T[inner, inner], atol=1.5)


def test_canvas_averages_the_side_that_shrinks(npz):
    stripes = np.zeros((1, 8, 64, 1), np.uint8)
    stripes[:, :, ::4] = 200  # every output pixel covers one bright column of four, and repeats half a row
    source = sources.load(npz(image=stripes), "train", canvas=16)
    np.testing.assert_array_equal(source[0]["image"], np.full((16, 16, 1), 50, np.uint8))
    with pytest.raises(ValueError, match="canvas is -1; expected a side in pixels"):
        sources.load("digits", "train", canvas=-1)


@pytest.mark.parametrize("amount, count", [(0.2, 287), (137, 137)])
def test_held_out_rows_are_stratified_and_disjoint(amount, count):
    source = sources.load("digits", "train")
    kept, held = sources.hold_out(source, amount, seed=1)
    assert len(held) == count and len(kept) == 1437 - count
    np.testing.assert_array_equal(np.sort(np.concatenate([kept.ids, held.ids])), np.arange(1437))
    np.testing.assert_allclose(np.bincount(held.labels), np.bincount(source.labels) * count / 1437, atol=1)
    assert held.num_classes == 10
    np.testing.assert_array_equal(held.rows(np.array([5]))["image"][0], source[held.ids[5]]["image"])
    np.testing.assert_array_equal(held[5]["image"], source[held.ids[5]]["image"])
    assert not np.array_equal(held.ids, sources.hold_out(source, amount, seed=2)[1].ids)
    np.testing.assert_array_equal(held.ids, sources.hold_out(source, amount, seed=1)[1].ids)


def test_hold_out_without_labels_and_refusals():
    source = sources.from_arrays({"image": np.zeros((10, 2, 2, 1), np.uint8)})
    assert [len(part) for part in sources.hold_out(source, 0.3, seed=0)] == [7, 3]
    for amount in (0, 10, 1.0, 0.01):
        with pytest.raises(ValueError, match="leaves a part empty"):
            sources.hold_out(source, amount, seed=0)


@pytest.mark.parametrize(
    "spec, split, message",
    [
        ("digit", "train", "expected one of digits, synthetic.*, npz:DIR, folder:DIR.*; did you mean 'digits'?"),
        ("digits", "validation", "expected one of train, test"),
        ("digits:9", "train", "takes no argument"),
        ("synthetic", "dev", "expected one of train, validation, test"),
        ("synthetic:32", "train", "expected synthetic:SIZExCOUNT"),
        ("synthetic:8x10", "train", "at least 16 pixels"),
    ],
)
def test_wrong_specs_are_refused(spec, split, message):
    with pytest.raises(ValueError, match=message):
        sources.load(spec, split)
