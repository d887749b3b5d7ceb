"""Captions of prepared data sets: a text, several, or several in a dict; written here without TensorFlow."""

import json

import cv2
import numpy as np
import pytest

from ssl_jax.data import sources
from ssl_jax.data.pipeline import Batches
from ssl_jax.methods.parts import towers
from ssl_jax.run import facts

TEXTS = [["a red square", "red"], ["a dog"], ["two cats ", "cats", "animals"]]


@pytest.fixture
def write(tmp_path):
    """`write(name, feature, values)`: a data set of three images with this feature beside them; returns its spec."""
    tfds = pytest.importorskip("tensorflow_datasets")
    from array_record.python.array_record_module import ArrayRecordWriter

    def write(name, feature, values):
        folder = tmp_path / "pictures" / "1.0.0"
        folder.mkdir(parents=True)
        image = tfds.features.Image(shape=(4, 4, 3), encoding_format="png")
        features = tfds.features.FeaturesDict({"image": image, name: feature(tfds.features)})
        features.save_config(folder)
        png = cv2.imencode(".png", np.full((4, 4, 3), 7, np.uint8))[1].tobytes()
        records = [features.serialize_example({"image": png, name: value}) for value in values]
        writer = ArrayRecordWriter(str(folder / "pictures-train.array_record-00000-of-00001"), "group_size:1")
        for record in records:
            writer.write(record)
        writer.close()
        split = {
            "name": "train", "shardLengths": [str(len(records))], "numBytes": str(sum(map(len, records))),
            "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        }  # fmt: skip
        info = {"name": "pictures", "version": "1.0.0", "fileFormat": "array_record", "splits": [split]}
        (folder / "dataset_info.json").write_text(json.dumps(info))
        return f"tfds:pictures?data_dir={tmp_path}"

    return write


def in_dicts(features):
    """As `coco_captions` has them."""
    return features.Sequence({"text": features.Text(), "id": features.Scalar(np.int64)})


@pytest.mark.parametrize(
    "name, feature, values",
    [
        ("captions", in_dicts, [{"text": held, "id": list(range(len(held)))} for held in TEXTS]),
        ("captions", lambda features: features.Sequence(features.Text()), TEXTS),
    ],
)
def test_several_captions_an_image(write, name, feature, values):
    source = sources.load(write(name, feature, values), "train")
    expected = [["a red square", "red", ""], ["a dog", "", ""], ["two cats", "cats", "animals"]]
    assert source.captions.tolist() == expected and source.captions.nbytes == 9 * 8
    rows = source.rows(np.array([2, 0]))
    assert rows["text"].tolist() == [expected[2], expected[0]] and rows.keys() == {"image", "text"}
    assert rows["image"].shape == (2, 4, 4, 3) and rows["image"].dtype == np.uint8
    assert sources.Subset(source, np.array([1])).captions.tolist() == [expected[1]]


def test_they_become_tokens(write, tiny):
    config = tiny("clip")
    config.data.source = write("caption", lambda features: features.Text(), ["a dog", "a cat", "a dog"])
    source = sources.load(config.data, "train")
    known = facts.gather(None, config, source)
    batch = Batches(towers.read(source, config, known, train=True), batch_size=3, seed=0, shuffle=False)[0]
    assert batch.keys() == {"image", "tokens", "index", "row"}
    assert (batch["tokens"][0] == batch["tokens"][2]).all() and (batch["tokens"][0] != batch["tokens"][1]).any()


def test_an_image_without_a_caption_is_refused(write):
    source = sources.load(write("caption", lambda features: features.Text(), ["a dog", " ", "a cat"]), "train")
    with pytest.raises(ValueError, match="Image 1 of tfds:pictures.* has no caption in `caption`; expected one"):
        source.captions  # noqa: B018


def test_other_data_have_none(write):
    source = sources.load(write("caption", lambda features: features.Scalar(np.int64), [1, 2, 3]), "train")
    assert source.captions is None and source[1]["caption"] == 2
