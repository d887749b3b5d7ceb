"""What a run says at its start, before time is spent: of its labels, and of the protocols that its end will lack."""

import numpy as np
import pytest

from ssl_jax import pretrain
from ssl_jax.data import sources
from ssl_jax.run import startup

DIGITS = sources.load("digits", "train").rows(np.arange(40))
IMAGE, LABEL = DIGITS["image"], DIGITS["label"]


@pytest.fixture
def said(tiny, tmp_path, monkeypatch, capsys):
    """`said(train={...}, test={...})`: the lines of a run on these arrays that mention labels or evaluation."""
    monkeypatch.setattr(startup, "dry_run", lambda *_: [])  # which compiles

    def run(protocols=("knn", "linear"), source=None, **splits):
        for split, arrays in splits.items():
            np.savez(tmp_path / f"{split}.npz", **arrays)
        config = tiny()
        config.data.source, config.eval.protocols = source or f"npz:{tmp_path}", protocols
        if source:
            config.eval.source = f"npz:{tmp_path}"
        assert pretrain.pretrain(config, None, dry_run=True) == "dry run"
        lines = capsys.readouterr().out.replace(str(tmp_path), "DIR").splitlines()
        return [line for line in lines if "label" in line or line.startswith("evaluation")]

    return run


def test_a_labelled_set_needs_no_line(said):
    whole = {"image": IMAGE, "label": LABEL}
    assert said(train=whole, test=whole) == []


def test_a_split_that_is_not_there_is_said(said):
    off = "evaluation  off: npz:DIR has no split 'test'; expected one of train"
    assert said(train={"image": IMAGE, "label": LABEL}) == [off]
    assert said(protocols=(), train={"image": IMAGE, "label": LABEL}) == []


def test_rows_without_a_label_are_said(said):
    some = np.where(np.arange(40) < 10, -1, LABEL)
    lines = said(train={"image": IMAGE, "label": some}, test={"image": IMAGE, "label": -np.ones(40, int)})
    assert lines == [
        "labels      30 of 40 rows; the others, labelled -1, are in no probe, and trained on",
        "labels      of npz:DIR/train: 30 of 40 rows; the others, labelled -1, are in no probe",
        "labels      of npz:DIR/test: none: all 40 rows are labelled -1, which is unlabelled",
        "knn is left out: it needs label, and the data has none; set config.eval.source",
        "linear is left out: it needs label, and the data has none; set config.eval.source",
    ]


def test_one_class_alone_is_said(said):
    one = {"image": IMAGE, "label": np.full(40, 3)}
    assert said(train=one, test=one) == ["labels      of one class alone, 3: the online probe and kNN are off"]


def test_images_of_other_channels_are_said(said):
    colour = {"image": np.repeat(IMAGE, 3, axis=-1), "label": LABEL}
    line = "evaluation  off: npz:DIR/train has images of 3 channels, and the run is trained on images of 1"
    assert said(source="digits", train=colour, test=colour) == [line]
