"""Data prepared by TensorFlow Datasets as array_record, read without TensorFlow."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ssl_jax.data import rows
from ssl_jax.paths import expand

CAPTIONS = ("text", "caption", "captions")  # names of features that describe an image in words


@dataclass(frozen=True, eq=False)
class TfdsSource:
    """A split of a prepared data set; features without a fixed shape are left out, except images and their captions.

    Captions are a text, several, or several with what else is known of each, as in `coco_captions`; they become `text`,
    strings [C], "" where an image has fewer than others.
    """

    name: str
    builder: Any
    split: str

    @property
    def varies(self) -> bool:
        """Whether its images are of many sizes."""
        return "image" in self._keys and None in self.builder.info.features["image"].shape

    @property
    def num_classes(self) -> int | None:
        return self.builder.info.features["label"].num_classes if "label" in self._keys else None

    @property
    def classes(self) -> tuple[str, ...] | None:
        return tuple(self.builder.info.features["label"].names) if "label" in self._keys else None

    @cached_property
    def labels(self) -> np.ndarray | None:
        import tensorflow_datasets as tfds

        if "label" not in self._keys:
            return None
        decoders = {"image": tfds.decode.SkipDecoding()} if "image" in self._keys else None
        return np.array([x["label"] for x in self.builder.as_data_source(self.split, decoders=decoders)], np.int32)

    @cached_property
    def captions(self) -> np.ndarray | None:
        """Strings [N, C] in row order, read without decoding images; None without captions.

        Raises:
          ValueError: an image has no caption.
        """
        import tensorflow_datasets as tfds

        if self._caption is None:
            return None
        read = self.builder.as_data_source(self.split, decoders={"image": tfds.decode.SkipDecoding()})
        texts = [[text for text in map(_words, _several(row[self._caption])) if text] for row in read]
        empty = [number for number, held in enumerate(texts) if not held]
        if empty:
            raise ValueError(
                f"Image {empty[0]} of {self.name} has no caption in `{self._caption}`; expected one or more for each"
            )
        most = max(map(len, texts))
        return rows.strings([held + [""] * (most - len(held)) for held in texts])

    @cached_property
    def _caption(self) -> str | None:
        """The feature that holds captions."""
        import tensorflow_datasets as tfds

        def is_text(feature):
            if isinstance(feature, tfds.features.Sequence):
                return is_text(feature.feature)
            if isinstance(feature, tfds.features.FeaturesDict):
                return "text" in feature and is_text(feature["text"])
            return isinstance(feature, tfds.features.Text)

        features = self.builder.info.features
        found = [name for name in CAPTIONS if name in features and is_text(features[name])]
        return found[0] if found and "image" in features else None

    @cached_property
    def _examples(self) -> Sequence:
        return self.builder.as_data_source(self.split)

    @cached_property
    def _keys(self) -> list[str]:
        shapes = {key: feature.shape for key, feature in self.builder.info.features.items()}
        fixed = [k for k, shape in shapes.items() if k == "image" or isinstance(shape, tuple) and None not in shape]
        return [key for key in fixed if key != self._caption]

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        try:
            example = self._examples[i]
        except Exception as error:  # whatever readers and decoders make of damaged records
            reason = f"{type(error).__name__}: {str(error).strip()[:200]}"
            raise ValueError(
                f"Row {i} of {self.name} cannot be read ({reason}); prepare the data anew, or copy them again"
            ) from error
        held = {key: np.asarray(example[key], np.int32 if key == "label" else None) for key in self._keys}
        return held if self._caption is None else held | {"text": self.captions[i]}

    def rows(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        return rows.gather(self, ids)


def load(rest: str, split: str) -> TfdsSource:
    """The source of a spec `tfds:NAME[/CONFIG][:VERSION][?data_dir=DIR]`; `rest` is what follows the first colon.

    Args:
      rest: without a version, the newest that is there is read; without a directory, TFDS_DATA_DIR, else
        ~/tensorflow_datasets is searched.
      split: a split of the data set, or a slice of one, such as "train[:10%]".

    Raises:
      ValueError: the data are not prepared, have no such split, or hold images that are not uint8 [H, W, C] or labels
        that are no classes.
    """
    dataset, _, folder = rest.partition("?data_dir=")
    root = expand(folder or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    name, _, version = dataset.partition(":")
    versions = [file.parent for file in (root / name).glob(f"{version or '*.*.*'}/dataset_info.json")]
    try:
        import tensorflow_datasets as tfds

        newest = max(versions, key=lambda path: [int(number) for number in re.findall(r"\d+", path.name)])
        builder = tfds.builder_from_directory(newest, file_format="array_record")
    except ImportError as error:
        raise ValueError(f"tfds:{rest} needs tensorflow-datasets; pip install tensorflow-datasets") from error
    except ValueError as error:  # no version there, or one prepared in another file format
        raise ValueError(
            f"tfds:{rest} is not prepared as array_record in {root}; where TensorFlow is installed, run "
            f"`tfds build {name} --file_format=array_record --data_dir={root}` once, or say where the data are with "
            f"tfds:{dataset}?data_dir=DIR or the environment variable TFDS_DATA_DIR"
        ) from error
    if re.sub(r"\[.*", "", split) not in builder.info.splits:
        raise ValueError(f"tfds:{rest} has no split {split!r}; expected one of {', '.join(builder.info.splits)}")
    features = dict(builder.info.features.items())
    image, label = features.get("image"), features.get("label")
    if image is not None and (len(image.shape) != 3 or image.np_dtype != np.uint8):
        dtype = np.dtype(image.np_dtype)
        raise ValueError(f"`image` of tfds:{rest} is {dtype} {list(image.shape)}; expected uint8 [H, W, C]")
    if label is not None and not isinstance(label, tfds.features.ClassLabel):
        raise ValueError(f"`label` of tfds:{rest} is {label}; expected a class label, that is one integer an example")
    return TfdsSource(f"tfds:{rest}/{split}", builder, split)


def _several(texts):
    """The texts of a feature: one, several, or those of `{"text": several}`."""
    texts = texts["text"] if isinstance(texts, dict) else texts
    return [texts] if isinstance(texts, bytes | str) else list(texts)


def _words(text: bytes | str) -> str:
    return (text.decode() if isinstance(text, bytes) else str(text)).strip()
