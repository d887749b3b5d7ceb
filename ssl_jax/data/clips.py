"""Clips of sound: files, rows of arrays, and synthetic ones, each of a length and a sample rate of its own.

    wav:DIR                         DIR/<split>/<class>/*.wav, or DIR/<split>/*.wav without labels; or .flac
    npz:DIR                         arrays `audio` and, where there are, `length`, `label` and `speaker`
    synthetic_sound[:COUNT]         tones and sweeps of several speakers, COUNT clips in each split

A clip is float32 [n] under `audio`, its rate in Hz under `sample_rate`, and int32 scalars under `label`, where there
are classes, and `speaker`, which of a file is its name up to the first "_", or where there is none the first "-".
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ssl_jax.data.arrays import ArraySource
from ssl_jax.paths import expand

SPLITS = ("train", "validation", "test")
SUFFIXES = (".wav", ".flac")


@dataclass(frozen=True, eq=False)
class Files:
    """Files of sound that soundfile reads, decoded when they are asked for; channels are averaged.

    Args:
      name: spec and split.
      paths: of the files, in row order.
      labels: int32 [N], or None.
      speakers: int32 [N].
      num_classes: of the whole data set, or None.
    """

    name: str
    paths: tuple[Path, ...]
    labels: np.ndarray | None
    speakers: np.ndarray
    num_classes: int | None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> dict:
        import soundfile

        try:
            audio, rate = soundfile.read(self.paths[i], dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise unreadable(self.paths[i], error) from None
        if not len(audio):
            raise ValueError(f"{self.paths[i]} holds no samples; remove it")
        example = {"audio": audio.mean(axis=1), "sample_rate": rate, "speaker": self.speakers[i]}
        return example if self.labels is None else example | {"label": self.labels[i]}

    @cached_property
    def seconds(self) -> float:
        """Of the longest clip, from the files' headers."""
        import soundfile

        def duration(path):
            try:
                return soundfile.info(path).duration
            except soundfile.LibsndfileError as error:
                raise unreadable(path, error) from None

        return max(map(duration, self.paths))


@dataclass(frozen=True, eq=False)
class Arrays:
    """Clips that are rows of arrays in memory, at one sample rate.

    Args:
      source: with `audio` [N, T], float or signed integers, whose range becomes -1 to 1; where it has them, `length`
        [N], the samples of a row that are sound and no padding behind it, `label` and `speaker`.
      sample_rate: Hz.

    Raises:
      ValueError: sound of another form, or lengths that are not of 1 to T samples.
    """

    source: ArraySource
    sample_rate: int

    name = property(lambda self: self.source.name)
    num_classes = property(lambda self: self.source.num_classes)
    labels = property(lambda self: self.source.labels)
    speakers = property(lambda self: self.source.arrays.get("speaker"))
    seconds = property(lambda self: self._audio.shape[1] / self.sample_rate)
    _audio = property(lambda self: self.source.arrays["audio"])

    def __post_init__(self):
        audio, lengths = self._audio, np.asarray(self.source.arrays.get("length", 1))
        if audio.ndim != 2 or audio.dtype.kind not in "fi":
            raise ValueError(f"`audio` of {self.name} is {audio.dtype} {list(audio.shape)}; expected float [N, T]")
        if lengths.min() < 1 or lengths.max() > audio.shape[1]:
            raise ValueError(
                f"`length` of {self.name} goes from {lengths.min()} to {lengths.max()}; expected 1 to "
                f"{audio.shape[1]} samples, as many as `audio` has"
            )

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, i: int) -> dict:
        row = self.source[i]
        audio = row["audio"][: row.get("length", None)]
        scale = 1.0 if audio.dtype.kind == "f" else -1.0 / np.iinfo(audio.dtype).min
        clip = {"audio": audio.astype(np.float32) * np.float32(scale), "sample_rate": self.sample_rate}
        return clip | {key: row[key] for key in ("label", "speaker") if key in row}


@dataclass(frozen=True, eq=False)
class Synthetic:
    """Tones and sweeps; label and speaker can be heard, and every clip is a function of (split, row) alone.

    The label is one of `CLASSES`: how the pitch moves. The speaker sets its height and the strength of its overtones.
    """

    name: str
    split: str
    count: int

    CLASSES = ("tone", "rise", "fall", "rise and fall", "trill", "beats")
    SPEAKERS = 4
    RATE = 8_000
    seconds = 0.5
    num_classes = len(CLASSES)

    @property
    def labels(self) -> np.ndarray:
        return np.arange(self.count, dtype=np.int32) % len(self.CLASSES)

    @property
    def speakers(self) -> np.ndarray:
        return np.arange(self.count, dtype=np.int32) // len(self.CLASSES) % self.SPEAKERS

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> dict:
        label, speaker = self.labels[i], self.speakers[i]
        rng = np.random.default_rng([SPLITS.index(self.split), int(i)])
        seconds = rng.uniform(0.25, self.seconds)
        t = np.arange(int(seconds * self.RATE)) / self.RATE
        place = t / seconds
        octaves = {
            "rise": place, "fall": 1 - place, "rise and fall": 1 - abs(2 * place - 1), "trill": (t * 16) % 1 > 0.5,
        }.get(self.CLASSES[label], np.full_like(t, 0.5))  # fmt: skip
        pitch = 150 * 1.3**speaker * rng.uniform(0.95, 1.05) * 2.0**octaves
        phase = 2 * np.pi * np.cumsum(pitch) / self.RATE + rng.uniform(0, 2 * np.pi)
        strength = np.array([1, 0.2 + 0.2 * speaker, 0.6 - 0.15 * speaker])
        sound = strength @ np.stack([np.sin((i + 1) * phase) for i in range(3)])
        if self.CLASSES[label] == "beats":
            sound *= np.sin(2 * np.pi * 12 * t) ** 2
        sound = 0.2 * sound + rng.normal(0, 0.005, len(t))
        return {"audio": sound.astype(np.float32), "sample_rate": self.RATE, "speaker": speaker, "label": label}


def load_wav(rest: str, split: str) -> Files:
    """`wav:DIR`; classes and speakers are numbered over all splits."""
    folder = expand(rest)
    if not rest or not (folder / split).is_dir():
        present = sorted(path.name for path in folder.glob("*/")) if rest and folder.is_dir() else []
        found = f"its splits are {', '.join(present)}" if present else f"expected a directory {folder / split}"
        raise ValueError(f"wav:{rest} has no split {split!r}; {found}")
    everything = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.name[0] != ".")
    paths = [path for path in everything if path.relative_to(folder).parts[0] == split]
    depths = {len(path.relative_to(folder).parts) for path in paths}
    if len(depths) != 1:
        raise ValueError(
            f"wav:{rest} has {len(paths)} files of sound in {split!r}, some of them in other folders than "
            "<split>/<class>; expected *.wav or *.flac in folders of classes, or all of them without one"
        )

    def of_class(path):
        return path.relative_to(folder).parts[1]

    classes = None if depths == {2} else sorted({of_class(path) for path in everything})
    labels = None if classes is None else _numbers([of_class(path) for path in paths], classes)
    speakers = _numbers([_speaker(path) for path in paths], sorted({_speaker(path) for path in everything}))
    return Files(f"wav:{rest}/{split}", tuple(paths), labels, speakers, classes and len(classes))


def load_synthetic(rest: str, split: str) -> Synthetic:
    """`synthetic_sound[:COUNT]`."""
    if rest and not (rest.isdecimal() and int(rest) > 0) or split not in SPLITS:
        raise ValueError(
            f"synthetic_sound:{rest}, split {split!r}, was given; expected synthetic_sound[:COUNT], COUNT above 0, and "
            f"a split of {', '.join(SPLITS)}"
        )
    return Synthetic(f"synthetic_sound/{split}", split, int(rest or 240))


def unreadable(path: Path, error: Exception) -> ValueError:
    """What is raised of a file that soundfile cannot read."""
    return ValueError(f"{path} cannot be read ({error}); expected a file of sound, such as WAV; replace or remove it")


def _speaker(path: Path) -> str:
    return path.stem.partition("_" if "_" in path.stem else "-")[0]


def _numbers(names: list[str], known: list[str]) -> np.ndarray:
    number = {name: i for i, name in enumerate(known)}
    return np.array([number[name] for name in names], np.int32)
