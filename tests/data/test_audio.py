"""Sources of sound: files, classes and speakers, sample rates, windows, clips joined and padded, bad input."""

import numpy as np
import pytest
import soundfile
from ml_collections import ConfigDict

from ssl_jax.data import clips, pipeline, sources

RATE = 8_000
CLIPS = {  # every clip is a constant of its own, so that it can be told in a window
    "train/0/ada_0.wav": 1000, "train/1/ada_1.wav": 300, "train/0/bob_0.wav": 700, "train/1/bob_1.wav": 200,
    "train/1/cy_0.wav": 100, "test/1/bob_2.wav": 500,
}  # fmt: skip
LEVEL = {name: 0.1 * (i + 1) for i, name in enumerate(sorted(name for name in CLIPS if name.startswith("train")))}


@pytest.fixture
def folder(tmp_path):
    for name, length in CLIPS.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.full(length, LEVEL.get(name, 0.9)), RATE)
    return tmp_path


def load(folder, split="train", **changes):
    data = {"source": f"wav:{folder}", "canvas": 0, "sample_rate": RATE, "window": 400, "short": "join"}
    return sources.load(ConfigDict(data | changes), split)


def test_a_folder_of_files_has_classes_and_speakers(folder):
    train, test = load(folder), load(folder, "test")
    assert len(train) == 5 and train.num_classes == test.num_classes == 2
    assert train.labels.tolist() == [0, 0, 1, 1, 1] and test.labels.tolist() == [1]  # numbered over all splits
    assert [int(train[i]["speaker"]) for i in range(5)] == [0, 1, 0, 1, 2] and test[0]["speaker"] == 1
    clip = train[0]
    assert clip.keys() == {"audio", "label", "speaker"} and clip["audio"].dtype == np.float32
    np.testing.assert_allclose(clip["audio"], np.full(1000, 0.1), atol=1e-4)


def test_files_without_classes_have_no_labels(tmp_path):
    (tmp_path / "train").mkdir()
    soundfile.write(tmp_path / "train" / "x.wav", np.full((50, 2), [0.1, 0.3]), RATE)
    source = load(tmp_path)
    assert source.labels is None and source.num_classes is None and source[0].keys() == {"audio", "speaker"}
    np.testing.assert_allclose(source[0]["audio"], np.full(50, 0.2), atol=1e-4)  # the mean of its channels


def test_flac_in_folders_of_chapters_has_speakers_by_name(tmp_path):
    for name in ("train/19/198/19-198-0001", "train/19/227/19-227-0001", "train/26/495/26-495-0000"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / f"{name}.flac", np.zeros(50), RATE)
    (tmp_path / "train/19/198/._19-198-0001.flac").write_bytes(b"what macOS leaves")
    source = load(tmp_path)
    assert source.source.speakers.tolist() == source.labels.tolist() == [0, 0, 1]


def test_sound_in_arrays_is_clips_like_those_of_files(tmp_path):
    audio, spec = np.tile(np.int16([0, 16384, -32768, 8192]), (4, 100)), {"source": f"npz:{tmp_path}", "canvas": 0}
    arrays = {"audio": audio, "length": np.array([400, 120, 7, 400]), "label": np.arange(4), "speaker": np.arange(4)}
    np.savez(tmp_path / "train.npz", **arrays)
    source = sources.load(ConfigDict(spec | {"sample_rate": RATE, "window": 200}), "train")
    assert source.sample_rate == RATE and source.num_classes == 4 and len(source[1]["audio"]) == 120
    np.testing.assert_allclose(source[2]["audio"], [0, 0.5, -1, 0.25, 0, 0.5, -1])
    window = source.prepare(source[0], np.random.default_rng(0))
    assert window["audio"].shape == (200,) and window["audio"].dtype == np.float32 and window["label"] == 0
    np.savez(tmp_path / "test.npz", audio=audio / np.float32(32768))
    source = sources.load(ConfigDict(spec | {"window": 500}), "test")  # 16 kHz, no speakers
    window = source.prepare(source[0], np.random.default_rng(0))
    assert window.keys() == {"audio", "length"} and window["length"] == 400 and source[0].keys() == {"audio"}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"audio": np.zeros((3, 5, 2))}, r"`audio` of npz:.* is float64 \[3, 5, 2\]; expected float \[N, T\]"),
        ({"audio": np.zeros((3, 5)), "length": np.array([1, 6, 2])}, "`length` of npz:.* goes from 1 to 6; expected 1"),
    ],
)
def test_sound_of_another_form_is_refused(arrays, message, tmp_path):
    np.savez(tmp_path / "train.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        sources.load(f"npz:{tmp_path}", "train")


def test_any_sample_rate_becomes_the_one_asked_for(tmp_path):
    (tmp_path / "train").mkdir()
    for rate in (8_000, 22_050, 44_100):
        t = np.arange(rate) / rate
        soundfile.write(tmp_path / "train" / f"{rate}.wav", 0.5 * np.sin(2 * np.pi * 440 * t), rate)
    source = load(tmp_path, sample_rate=16_000)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    for i in range(3):
        assert abs(len(source[i]["audio"]) - 16_000) <= 1
        np.testing.assert_allclose(source[i]["audio"][1000:15000], expected[1000:15000], atol=2e-3)


def test_a_window_is_drawn_from_a_long_clip_as_its_generator_says(folder):
    t = np.linspace(-0.5, 0.5, 1000)
    soundfile.write(folder / "train/0/ada_0.wav", t, RATE)
    source = load(folder)
    windows = [source.prepare(source[0], np.random.default_rng(seed)) for seed in (0, 0, 1, 2)]
    for window in windows:
        assert window["audio"].shape == (400,) and window["length"] == 400 and window["label"] == 0
        start = np.argmin(np.abs(t - window["audio"][0]))
        np.testing.assert_allclose(window["audio"], t[start : start + 400], atol=1e-3)
    np.testing.assert_array_equal(windows[0]["audio"], windows[1]["audio"])
    assert len({float(window["audio"][0]) for window in windows}) == 3


def test_short_clips_are_joined_with_others_of_their_speaker(folder):
    source = load(folder)
    levels = set()
    for seed in range(20):
        window = source.prepare(source[3], np.random.default_rng(seed))  # bob_1, of 200 samples
        assert window["length"] == 400 and window["speaker"] == 1
        levels |= set(np.round(window["audio"].astype(float), 2).tolist())
    assert levels == {round(LEVEL[f"train/{name}.wav"], 2) for name in ("0/bob_0", "1/bob_1")}
    alone = source.prepare(source[4], np.random.default_rng(0))  # nobody else speaks as cy does
    assert alone["length"] == 100 and (alone["audio"][100:] == 0).all() and (alone["audio"][:100] != 0).all()


def test_or_they_are_padded(folder):
    source = load(folder, short="pad")
    window = source.prepare(source[3], np.random.default_rng(0))
    assert window["length"] == 200 and window["length"].dtype == np.int32
    assert (window["audio"][:200] != 0).all() and (window["audio"][200:] == 0).all()


def test_training_has_windows_and_evaluation_whole_clips(folder):
    source = load(folder)
    batch = pipeline.Batches(source, batch_size=5, seed=0)[3]
    assert batch.keys() == {"audio", "length", "label", "speaker", "index", "row"}
    assert batch["audio"].shape == (5, 400) and (batch["length"][batch["row"] != 4] == 400).all()
    np.testing.assert_array_equal(batch["audio"], pipeline.Batches(source, batch_size=5, seed=0)[3]["audio"])
    for rows in (source, sources.Subset(source, np.arange(5))):
        (whole,) = pipeline.sequential(rows, 8)
        assert whole["length"].tolist() == [1000, 700, 300, 200, 100] + 3 * [100]
        assert whole["audio"].shape == (8, 1001) and whole["valid"].tolist() == 5 * [True] + 3 * [False]
    np.testing.assert_array_equal(source.rows(np.array([1, 3]))["length"], [700, 200])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: load(folder, "dev"), "has no split 'dev'; its splits are test, train"),
        (lambda folder: load(folder / "none"), "has no split 'train'; expected a directory"),
        (lambda folder: load(folder, source="synthetic_sound:none"), "expected synthetic_sound"),
        (lambda folder: (folder / "train/0/ada_0.wav").write_bytes(b"no sound") and load(folder)[0], "cannot be read"),
        (lambda folder: soundfile.write(folder / "train/x.wav", np.ones(9), RATE) or load(folder), "in other folders"),
        (
            lambda folder: soundfile.write(folder / "train/0/ada_0.wav", np.ones(0), RATE) or load(folder)[0],
            "no samples",
        ),
    ],
)
def test_bad_input_is_refused_in_a_sentence(make, message, folder):
    with pytest.raises(ValueError, match=message):
        make(folder)


def test_synthetic_sound_is_a_function_of_split_and_row():
    source, again, other = (sources.load("synthetic_sound:30", split) for split in ("train", "train", "test"))
    assert len(source) == 30 and source.num_classes == len(clips.Synthetic.CLASSES)
    np.testing.assert_array_equal(source[7]["audio"], again[7]["audio"])
    assert len(source[7]["audio"]) != len(other[7]["audio"])
    assert np.bincount(source.labels).tolist() == [5] * 6
    pairs = {(int(source.labels[i]), int(source.source.speakers[i])) for i in range(24)}
    assert len(pairs) == 24  # every speaker says every class
    assert all(0.01 < np.abs(source[i]["audio"]).max() < 1 for i in range(30))
