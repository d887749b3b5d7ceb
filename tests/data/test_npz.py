"""Arrays in files: their names, damaged bytes, labels and channels as users have them."""

import numpy as np
import pytest

from ssl_jax.data import sources


def test_npz_keys_become_example_keys(npz):
    image = np.arange(5 * 4 * 4 * 3, dtype=np.uint8).reshape(5, 4, 4, 3)
    spec = npz(image=image, label=np.arange(5, dtype=np.int64), text=np.array(list("abcde")))
    source = sources.load(spec, "train")
    assert len(source) == 5 and source.num_classes == 5 and source.name == f"{spec}/train"
    assert source[2]["text"] == "c" and source[2]["label"].dtype == np.int32
    np.testing.assert_array_equal(source.rows(np.array([4, 1]))["image"], image[[4, 1]])


def test_captions_may_be_bytes(npz):
    spec = npz(image=np.zeros((2, 4, 4, 1), np.uint8), text=np.array([b"a dog", "caf\u00e9".encode()]))
    assert sources.load(spec, "train").captions.tolist() == ["a dog", "caf\u00e9"]


def test_unlabelled_data_has_no_classes(npz):
    source = sources.load(npz(image=np.zeros((4, 2, 2, 1), np.uint8)), "train")
    assert source.num_classes is None and source.labels is None
    source = sources.load(npz(image=np.zeros((4, 2, 2, 1), np.uint8), label=-np.ones(4, int)), "train")
    assert source.num_classes is None and source.labels.tolist() == [-1] * 4


def test_classes_are_those_that_occur(npz):
    label = np.array([3, 999, -1, 3])
    source = sources.load(npz(image=np.zeros((4, 2, 2, 1), np.uint8), label=label), "train")
    assert source.num_classes == 2 and source.labels.tolist() == label.tolist()


IMAGE = np.zeros((4, 2, 2, 1), np.uint8)


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"image": IMAGE, "label": np.arange(3)}, r"lengths \{'image': 4, 'label': 3\}; expected one equal number"),
        ({"image": IMAGE, "scale": np.float32(1)}, "expected one equal number of rows"),
        ({"image": IMAGE[..., 0]}, r"uint8 \[4, 2, 2\]; expected uint8 \[N, H, W, C\]"),
        ({"image": IMAGE.astype(np.float32)}, r"float32 \[4, 2, 2, 1\]; expected uint8"),
        ({"image": IMAGE[:0]}, "is empty; expected at least one row"),
        ({"image": IMAGE, "label": np.zeros(4)}, r"float64 \[4\]; expected integers \[N\]"),
        ({"image": IMAGE, "label": np.zeros((4, 1), int)}, r"int64 \[4, 1\]; expected integers \[N\]"),
        ({"image": IMAGE, "label": np.array([0, 1, 2, 2**32 + 5])}, "goes from 0 to 4294967301; expected numbers"),
        ({"image": IMAGE, "label": np.array([0, 1, 2, -100])}, "goes from -100 to 2; expected .* from 0"),
        ({"image": IMAGE, "speaker": np.array([0, 1, 2, 2**63], np.uint64)}, "`speaker` .* to 9223372036854775808"),
        ({"image": np.array([None] * 4)}, "Array 'image' of .*train.npz .* not of Python objects"),
        ({"images": IMAGE, "labels": np.arange(4)}, ".* rename images to image, labels to label$"),
        ({"image": IMAGE, "labels": np.arange(4)}, "named image, labels; expected .* rename labels to label$"),
        ({"x_train": IMAGE}, r"named x_train; expected image \(uint8 \[N, H, W, C\]\), text or audio"),
        ({}, r"named \(none\)"),
    ],
)
def test_malformed_npz_is_refused(npz, arrays, message):
    spec = npz(**arrays)
    with pytest.raises(ValueError, match=message):
        sources.load(spec, "train")


def test_missing_npz_is_refused(npz, tmp_path):
    with pytest.raises(ValueError, match="nowhere is no directory; expected npz:DIR"):
        sources.load(f"npz:{tmp_path}/nowhere", "train")
    with pytest.raises(ValueError, match="holds no .npz"):
        sources.load(f"npz:{tmp_path}", "train")
    spec = npz(image=IMAGE)
    with pytest.raises(ValueError, match="no split 'test'; expected one of train"):
        sources.load(spec, "test")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(ValueError, match="broken.npz cannot be read"):
        sources.load(spec, "broken")


@pytest.mark.parametrize("place", [0.3, 0.5, 0.7])
def test_damaged_bytes_name_the_file_and_the_array(tmp_path, place):
    image = np.random.default_rng(0).integers(0, 9, (20, 8, 8, 3), np.uint8)
    np.savez_compressed(tmp_path / "train.npz", label=np.zeros(20, int), image=image)
    held = bytearray((tmp_path / "train.npz").read_bytes())
    held[round(place * len(held))] ^= 0xFF
    (tmp_path / "train.npz").write_bytes(held)
    with pytest.raises(ValueError, match=r"Array 'image' of .*train.npz cannot be read \(.*copy it again"):
        sources.load(f"npz:{tmp_path}", "train")


def test_channels_first_get_a_warning(npz, recwarn):
    with pytest.warns(UserWarning, match=r"\[4, 3, 8, 8\], and channels come last: \[N, H, W, C\]"):
        assert len(sources.load(npz(image=np.zeros((4, 3, 8, 8), np.uint8)), "train")) == 4
    for shape in ((4, 8, 8, 3), (4, 8, 8, 13), (4, 3, 3, 3), (4, 1, 1, 1), (4, 1, 8, 1)):
        sources.load(npz(image=np.zeros(shape, np.uint8)), "train")
    assert not [warning for warning in recwarn if "channels" in str(warning.message)]


@pytest.mark.parametrize("channels", [2, 4, 5, 13])
def test_a_canvas_resizes_every_channel_by_itself(npz, channels):
    image = np.random.default_rng(0).integers(0, 256, (2, 30, 20, channels), np.uint8)
    source = sources.load(npz(image=image), "train", canvas=16)
    alone = [sources.load(npz(image=image[..., c : c + 1]), "train", canvas=16)[1]["image"] for c in range(channels)]
    np.testing.assert_array_equal(source[1]["image"], np.concatenate(alone, axis=-1))
    assert source[1]["image"].shape == (16, 16, channels) and source[1]["size"].tolist() == [30, 20]
