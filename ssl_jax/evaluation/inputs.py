"""The input itself as features, the baseline of every probe: pixels, log-mel statistics of sound, TF-IDF of text."""

from collections.abc import Callable
from functools import partial

import numpy as np

MOST_PIXELS = 2**32  # bytes of the training set's pixels as float32; beyond it the baseline of raw pixels is left out
MEL_BANDS = 40


def naive(source) -> tuple[str, Callable | None]:
    """What the baseline is called, and `source -> features [N, F] float32, and label, speaker`; None where too large.

    Args:
      source: the training rows that the encoder is probed on; the first says what kind of data it holds.
    """
    example = source[0]
    if "tokens" in example:
        tokens = source.rows(np.arange(len(source)))["tokens"]
        size = int(tokens.max()) + 1
        if 4 * len(source) * size > MOST_PIXELS:
            return "TF-IDF", None
        documents = np.bincount(np.concatenate([np.unique(row[row >= 0]) for row in tokens]), minlength=size)
        return "TF-IDF", partial(word_rows, rarity=np.log((1 + len(tokens)) / (1 + documents)) + 1)
    if "audio" in example:
        return "log-mel statistics", sound_rows
    return "input pixels", pixel_rows if 4 * len(source) * example["image"].size <= MOST_PIXELS else None


def pixel_rows(source) -> dict[str, np.ndarray]:
    """Flattened pixels, divided by 255.

    Args:
      source: has `__len__` and `rows(ids) -> dict of arrays [n, ...]`, with `image` of one size.

    Returns:
      `features` float32 [N, H * W * C], and `label` int32 [N] where the source has it.
    """
    rows = source.rows(np.arange(len(source)))
    found = {"features": rows["image"].reshape(len(source), -1).astype(np.float32) / np.float32(255)}
    return found | ({"label": np.asarray(rows["label"], np.int32)} if "label" in rows else {})


def word_rows(source, rarity: np.ndarray) -> dict[str, np.ndarray]:
    """Counts of tokens times their rarity in the training rows, `log((1 + N) / (1 + n)) + 1`, of unit length.

    Args:
      source: has `rows(ids)` with `tokens` int32 [n, T], -1 for padding.
      rarity: [V]; tokens beyond V are left out.

    Returns:
      `features` float32 [N, V], `sparse` True, for which a probe leaves the columns as they are, and `label` int32 [N]
      where the source has it.
    """
    rows, size = source.rows(np.arange(len(source))), len(rarity)
    known = [row[(row >= 0) & (row < size)] for row in rows["tokens"]]
    features = np.stack([np.bincount(row, minlength=size) * rarity for row in known]).astype(np.float32)
    features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    found = {"features": features, "sparse": True}
    return found | ({"label": np.asarray(rows["label"], np.int32)} if "label" in rows else {})


def sound_rows(source) -> dict[str, np.ndarray]:
    """Mean and deviation over time of the log-mel spectrum of every clip, float32 [N, 2 * MEL_BANDS].

    Args:
      source: its examples have `audio` float32 [n], all at one sample rate `source.sample_rate`.

    Returns:
      `features`, and `label` and `speaker` int32 [N] where the source has them.
    """
    return _of_clips(source, lambda bands: np.concatenate([bands.mean(axis=0), bands.std(axis=0)]))


def frame_rows(source, count: int) -> dict[str, np.ndarray]:
    """`count` frames of the log-mel spectrum of every clip, evenly spaced: `features` float32 [N, count, MEL_BANDS].

    Args:
      source: as in `sound_rows`.

    Returns:
      `features`, and `label` and `speaker` int32 [N] where the source has them.
    """
    return _of_clips(source, lambda bands: bands[((np.arange(count) + 0.5) * len(bands) / count).astype(int)])


def _of_clips(source, features: Callable) -> dict[str, np.ndarray]:
    """`features(log_mel of a clip)` of all clips, float32, and what else the source has, int32."""
    parts: dict[str, list] = {}
    for i in range(len(source)):
        example = source[i]
        example["features"] = features(log_mel(example.pop("audio"), source.sample_rate)).astype(np.float32)
        for key, value in example.items():
            parts.setdefault(key, []).append(value)
    dtypes = {"features": np.float32}
    return {key: np.asarray(values, dtypes.get(key, np.int32)) for key, values in parts.items()}


def log_mel(audio: np.ndarray, sample_rate: int, bands: int = MEL_BANDS) -> np.ndarray:
    """Log energies [T, bands] of windows of 25 ms, 10 ms apart (Hann), in triangles even on the mel scale.

    `mel(f) = 2595 log10(1 + f / 700)`; clips below a window are padded with zeros.

    >>> t = np.arange(8000) / 8000
    >>> found = log_mel(np.sin(2 * np.pi * 1000 * t), 8000)
    >>> found.shape, int(found.mean(axis=0).argmax())
    ((98, 40), 18)
    """
    size, hop = sample_rate // 40, sample_rate // 100
    audio = np.pad(audio, (0, max(0, size - len(audio))))
    windows = np.lib.stride_tricks.sliding_window_view(audio, size)[::hop] * np.hanning(size)
    power = np.abs(np.fft.rfft(windows, 2 ** int(np.ceil(np.log2(size))))) ** 2
    frequencies = np.linspace(0, sample_rate / 2, power.shape[1])
    edges = np.linspace(0, 2595 * np.log10(1 + sample_rate / 2 / 700), bands + 2)
    edges = 700 * (10 ** (edges / 2595) - 1)
    rising = (frequencies[:, None] - edges[None, :-2]) / (edges[1:-1] - edges[:-2])[None]
    falling = (edges[None, 2:] - frequencies[:, None]) / (edges[2:] - edges[1:-1])[None]
    return np.log(power @ np.maximum(0, np.minimum(rising, falling)) + 1e-6)
