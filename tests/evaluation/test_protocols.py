"""Protocols by name, the rows of `evaluation.json`, and the printed table."""

import dataclasses
import json

import numpy as np
import pytest
from sklearn.datasets import load_digits

from ssl_jax.data.sources import load
from ssl_jax.evaluation import protocols
from ssl_jax.evaluation.linear_probe import LinearResult
from ssl_jax.evaluation.protocols import frame

DIGITS = load_digits()
X, Y = np.asarray(DIGITS.data / 16, np.float32), DIGITS.target.astype(np.int32)
PROBES = ("knn", "linear", "linear_paper", "few_label")
TRAIN, TEST = {"features": X[:1437], "label": Y[:1437]}, {"features": X[1437:], "label": Y[1437:]}
KEYS = {"protocol", "features", "metric", "value", "std", "n", "split", "layer", "labels_per_class"}


@pytest.fixture(scope="module")
def rows():
    noise = np.random.default_rng(0).normal(size=X.shape).astype(np.float32)
    noisy = [{**part, "features": part["features"] + noise[: part["features"].shape[0]]} for part in (TRAIN, TEST)]
    kinds = {"input": (TRAIN, TEST), "random": noisy}
    context = protocols.Context(features=lambda: kinds, num_classes=10, split="test", layer="block3")
    return protocols.evaluate(context, PROBES)


def test_rows_have_the_format_of_evaluation_json(rows):
    assert json.loads(json.dumps(rows)) == rows
    assert {(row["protocol"], row["features"]) for row in rows} == {
        (protocol, kind) for protocol in PROBES for kind in ("input", "random")
    }
    for row in rows:
        assert set(row) == KEYS
        assert (row["metric"], row["split"], row["n"]) == ("top1", "test", 360)
        assert row["layer"] == (None if row["features"] == "input" else "block3")
        few = row["protocol"] == "few_label"
        assert row["labels_per_class"] == (10 if few else None) and (row["std"] is not None) == few
        assert 0 <= row["value"] <= 1


def test_pixels_of_digits_beat_noisy_ones(rows):
    value = {(row["protocol"], row["features"]): row["value"] for row in rows}
    for protocol, least in (("knn", 0.85), ("linear", 0.85), ("linear_paper", 0.8), ("few_label", 0.75)):
        assert value[protocol, "input"] > least and value[protocol, "input"] > value[protocol, "random"] + 0.02


def test_running_again_replaces_its_rows(rows):
    again = [{**row, "value": 0.5} for row in rows if row["protocol"] == "knn"]
    merged = protocols.merge(rows, again)
    assert len(merged) == len(rows)
    assert [row["value"] for row in merged if row["protocol"] == "knn"] == [0.5, 0.5]
    assert [row for row in merged if row["protocol"] != "knn"] == [row for row in rows if row["protocol"] != "knn"]
    assert len(protocols.merge(rows, [{**again[0], "split": "validation"}])) == len(rows) + 1
    assert protocols.merge([], rows) == rows


def row(protocol, kind, value, std=None):
    return {"protocol": protocol, "features": kind, "value": value, "std": std, "labels_per_class": 10}


def test_table():
    printed = protocols.table([
        row("knn", "input", 0.9722), row("knn", "random", 0.9), row("knn", "encoder", 1.0),
        row("few_label", "input", 0.894, 0.0166), row("few_label", "encoder", 0.95, 0.01),
    ])  # fmt: skip
    header, pixels, random, trained = printed.split("\n")
    assert header.split("  ")[0] == "top-1, %" and "kNN" in header and "10 labels a class" in header
    assert "linear" not in header
    assert pixels.split() == ["input", "pixels", "97.2", "89.4", "+-", "1.7"]
    assert random.split() == ["random", "encoder", "90.0", "-"]
    assert trained.split() == ["trained", "encoder", "100.0", "95.0", "+-", "1.0"]
    assert len({len(line) for line in (header, pixels, random, trained)}) == 1


def test_unknown_protocol_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'few_label'"):
        protocols.check(("knn", "few_labels"))
    with pytest.raises(ValueError, match="no protocol 'xyz'; the protocols are analogy, few_label, finetune, "):
        protocols.evaluate(protocols.Context(split="test"), ("xyz",))
    assert protocols.check(["knn"]) == ("knn",)


def test_what_the_data_does_not_have_is_said_in_a_line(capsys):
    assert protocols.possible(("knn", "pretext"), frozenset()) == ("pretext",)
    assert capsys.readouterr().out == (
        "knn is left out: it needs label, and the data has none; set config.eval.source\n"
    )
    assert protocols.possible(("knn", "pretext"), frozenset({"label"})) == ("knn", "pretext")
    assert protocols.possible(("layers",), frozenset({"label"})) == ()
    assert "it needs layers, and the encoder names none; set config.eval.layers" in capsys.readouterr().out


def test_the_gain_is_against_the_better_random_encoder():
    rows = [row("knn", "random_initial", 0.9), row("knn", "random", 0.7), row("knn", "encoder", 0.95)]
    assert protocols.gains(rows) == "against the better random encoder: kNN +5.0"
    assert protocols.gains(rows[:2]) == ""


def test_a_speaker_who_is_left_out_is_not_trained_on():
    """Every speaker says the labels in a dimension of its own, of which the others know nothing."""
    numbers = np.random.default_rng(0)

    def part(rows):
        speaker, label = numbers.integers(0, 3, rows), numbers.integers(0, 2, rows)
        own = np.eye(3)[speaker]
        features = np.concatenate([own, own * (2 * label[:, None] - 1)], axis=1)
        return {"features": features.astype(np.float32), "label": label, "speaker": speaker}

    kinds = {"input": (part(300), part(90))}
    context = protocols.Context(features=lambda: kinds, num_classes=2, split="test")
    linear, speaker, unseen = protocols.evaluate(context, ["linear", "speaker", "unseen_speaker"])
    assert linear["value"] == speaker["value"] == 1.0 and speaker.keys() == unseen.keys() == KEYS
    assert unseen["value"] < 0.75


def test_frames_are_told_by_class_and_by_speaker():
    """Frames that know their speaker, half of the time their class; clips are the rows that are held out."""
    rng, train, test = np.random.default_rng(0), load("synthetic_sound:60", "train"), load("synthetic_sound:24", "test")

    def encoded(source):
        label, speaker = source.labels, source.source.speakers
        known = np.eye(6)[label][:, None] * (np.arange(16) % 2)[:, None]
        features = np.concatenate([known, np.broadcast_to(np.eye(4)[speaker][:, None], (len(label), 16, 4))], axis=2)
        return {"features": np.float32(features + rng.normal(0, 0.01, features.shape)), "label": label,
                "speaker": speaker}  # fmt: skip

    def inner(layer, pool):
        assert layer == "context" and pool(np.ones((2, 50, 3), np.float32)).shape == (2, 16, 3)
        return [("encoder", (encoded(train), encoded(test)))]

    context = protocols.Context(
        inner=inner, layers=("frames", "context"), train=train, test=test, split="test",
        has=frozenset({"label", "speaker"}),
    )  # fmt: skip
    rows = protocols.evaluate(context, ["frame"])
    value = {(row["metric"], row["features"]): row["value"] for row in rows}
    assert value["speaker", "encoder"] == 1 and 0.5 <= value["label", "encoder"] < 0.75
    assert value["speaker", "input"] > 0.5 and {row["n"] for row in rows} == {24 * 16}
    assert [row["layer"] for row in rows] == [None, "context"] * 2
    assert "frame      speaker     log-mel frames" in protocols.told(rows)
    others = dataclasses.replace(context, has=frozenset({"speaker"}))
    assert {row["metric"] for row in protocols.evaluate(others, ["frame"])} == {"speaker"}


def test_settings_for_frames_are_chosen_on_other_clips(monkeypatch):
    asked = []

    def probe(x, y, test_x, test_y, validation=None, **settings):
        asked.append((set(x[:, 0]), len(x), None if validation is None else set(validation[0][:, 0]), settings))
        return LinearResult(0.5, 0.1, 0.01, None, ())

    monkeypatch.setattr(frame, "linear_probe", probe)
    clips = np.broadcast_to(np.arange(40.0)[:, None, None], (40, 16, 1))  # every frame of a clip holds its number
    part = {"features": clips, "speaker": np.arange(40) % 2}
    assert frame.top1(part, part, "speaker", 0) == 0.5
    (chosen_on, _, held, _), (everything, rows, none, settings) = asked
    assert len(held) == 8 and not chosen_on & held and len(chosen_on) == 32
    assert len(everything) == 40 and rows == 640 and none is None
    assert settings["learning_rates"] == (0.1,) and settings["weight_decays"] == (0.01,)


def test_every_layer_has_a_row_of_every_encoder():
    def inner(layer, pool, share=None):
        told = {"good": Y, "bad": np.zeros_like(Y)}[layer]
        x = np.eye(10, dtype=np.float32)[told]
        return [("encoder", ({"features": x[:1437], "label": Y[:1437]}, {"features": x[1437:], "label": Y[1437:]}))]

    context = protocols.Context(inner=inner, layers=("bad", "good"), num_classes=10, split="test")
    rows = protocols.evaluate(context, ["layers"])
    assert [(row["layer"], row["n"]) for row in rows] == [("bad", 360), ("good", 360)]
    assert rows[0]["value"] < 0.2 and rows[1]["value"] > 0.99
    assert protocols.told(rows).splitlines()[1].split() == ["layer", "good", "trained", "encoder", "100.0"]


def test_the_number_of_labels_a_class_is_an_option(rows):
    context = protocols.Context(
        features=lambda: {"input": (TRAIN, TEST)}, num_classes=10, split="test", labels_per_class=20
    )
    (found,) = protocols.evaluate(context, ["few_label"])
    ten = next(row for row in rows if row["protocol"] == "few_label" and row["features"] == "input")
    assert found["labels_per_class"] == 20 and found["value"] > ten["value"]
    assert "20 labels a class" in protocols.table([found]) and len(protocols.merge(rows, [found])) == len(rows) + 1


def test_another_pooling_has_rows_of_its_own():
    context = protocols.Context(split="test", pool="mean")
    assert context.row("knn", "encoder", 0.5, 1)["layer"] == "pool mean"
    assert context.row("knn", "input", 0.5, 1)["layer"] is None
