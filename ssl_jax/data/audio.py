"""Windows of sound, which training sees, and whole clips, which evaluation sees, at one sample rate."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ssl_jax.data import clips

SAMPLE_RATE, WINDOW = 16_000, 20_480  # what CPC was published with


@dataclass(frozen=True, eq=False)
class Windows:
    """A source of clips at one sample rate: windows of one length to train on, whole clips to evaluate.

    Args:
      source: of clips, with `seconds`, and `speakers` or None.
      sample_rate: Hz; clips of another rate are resampled by soxr.
      window: samples.
      short: what is done with a clip below a window: "join" puts it among other clips of its speaker, in random order,
        where there are any; "pad" puts zeros behind it, as "join" does where the speakers are not known.

    >>> from ssl_jax.data.sources import load
    >>> windows = load("synthetic_sound", "train")
    >>> example = windows.prepare(windows[0], np.random.default_rng(0))
    >>> example["audio"].shape, int(example["length"])
    ((20480,), 20480)
    """

    source: clips.Files | clips.Arrays | clips.Synthetic
    sample_rate: int = SAMPLE_RATE
    window: int = WINDOW
    short: str = "join"

    name = property(lambda self: self.source.name)
    num_classes = property(lambda self: self.source.num_classes)
    labels = property(lambda self: self.source.labels)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, i: int) -> dict:
        """A clip: `audio` float32 [n] at the sample rate, and `label` and `speaker` where there are any."""
        example = self.source[int(i)]
        rate = example.pop("sample_rate")
        if rate != self.sample_rate:
            import soxr

            example["audio"] = soxr.resample(example["audio"], rate, self.sample_rate)
        return example

    def rows(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        """Whole clips, padded with zeros to the longest of the split."""
        examples = [self.whole(self[i]) for i in ids]
        return {key: np.stack([example[key] for example in examples]) for key in examples[0]}

    def prepare(self, example: dict, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """A window of a clip at a random place: `audio` float32 [window], of which `length` samples are sound."""
        audio = example["audio"]
        if len(audio) < self.window and self.short == "join" and "speaker" in example:
            audio = self._joined(audio, example["speaker"], rng)
        start = int(rng.integers(max(len(audio) - self.window, 0) + 1))
        return _padded(example, audio[start : start + self.window], self.window)

    def whole(self, example: dict) -> dict[str, np.ndarray]:
        """A clip as evaluation sees it: nothing is drawn, zeros up to the longest of the split, and its `length`."""
        return _padded(example, example["audio"], self._longest)

    @cached_property
    def _longest(self) -> int:
        return max(int(np.ceil(self.source.seconds * self.sample_rate)) + 1, self.window)

    @cached_property
    def _of_speaker(self) -> dict[int, np.ndarray]:
        speakers = self.source.speakers
        return {int(speaker): np.flatnonzero(speakers == speaker) for speaker in np.unique(speakers)}

    def _joined(self, audio, speaker, rng):
        """The clip among as many others of its speaker as fill a window; as it is where the speaker has no other."""
        joined, others = [audio], self._of_speaker[int(speaker)]
        while len(others) > 1 and sum(map(len, joined)) < self.window:
            joined.append(self[rng.choice(others)]["audio"])
        return np.concatenate([joined[i] for i in rng.permutation(len(joined))])


def _padded(example: dict, audio: np.ndarray, size: int) -> dict[str, np.ndarray]:
    """An example with another sound, padded by zeros to so many samples, and its `length`."""
    padded = np.zeros(size, np.float32)
    padded[: len(audio)] = audio
    others = {key: np.int32(value) for key, value in example.items() if key != "audio"}
    return {"audio": padded, "length": np.int32(len(audio)), **others}
