"""The commands, as a user calls them: end to end on real digits, and one sentence for every mistake."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import ssl_jax
from ssl_jax import evaluate
from ssl_jax.data import sources

TINY = (
    "--config.model.width=0.0625", "--config.train.batch_size=16", "--config.train.epochs=0", "--config.train.steps=3",
    "--config.optim.warmup_steps=0", "--config.train.log_every=1", "--config.train.eval_every=3",
    "--config.train.checkpoint_every=2",
)  # fmt: skip


def command(name, *arguments):
    return subprocess.run(
        [sys.executable, "-m", f"ssl_jax.{name}", *map(str, arguments)],
        capture_output=True, text=True, env=os.environ, timeout=300,
    )  # fmt: skip


def pretrain(*arguments):
    return command("pretrain", "--config=configs/simclr.py:digits", *TINY, *arguments)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of three steps, with what the command printed."""
    directory = tmp_path_factory.mktemp("runs") / "tiny"
    done = pretrain(f"--workdir={directory}", "--config.parallel.devices=2")
    assert done.returncode == 0, done.stderr
    return directory, done


def test_pretraining_ends_with_the_table_and_the_place(run):
    directory, done = run
    lines = done.stdout.splitlines()
    assert lines[-1] == f"finished: {directory}"
    assert "batch       16 (8 a device, shard_map), 3 steps" in done.stdout
    assert "negatives   30 for each anchor" in done.stdout
    for kind in ("input pixels", "random encoder", "trained encoder"):
        cells = next(line for line in lines if line.startswith(kind))[18:].replace("+-", "").split()
        assert len(cells) == 4 and all(0 <= float(cell) <= 100 for cell in cells)
    assert "Traceback" not in done.stderr


def test_the_run_directory_holds_what_is_promised(run):
    directory, _ = run
    names = {path.name for path in directory.iterdir()}
    expected = {"config.json", "environment.json", "metrics.jsonl", "tensorboard", "checkpoints", "evaluation.json"}
    assert expected <= names
    assert {path.name for path in (directory / "checkpoints").iterdir()} == {"2", "3"}
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1] == {"event": "finished", "step": 3}
    assert 0 <= rows[-2]["knn_top1"] <= 1
    evaluation = json.loads((directory / "evaluation.json").read_text())
    keys = {"protocol", "features", "metric", "value", "std", "n", "split", "layer", "labels_per_class"}
    assert len(evaluation) == 12 and all(set(row) == keys for row in evaluation)
    assert {row["n"] for row in evaluation} == {360}


def test_a_finished_run_is_not_trained_again(run):
    directory, _ = run
    before = {path: path.stat().st_mtime_ns for path in (directory / "checkpoints").rglob("*") if path.is_file()}
    done = pretrain(f"--workdir={directory}", "--config.parallel.devices=1", "--config.eval.protocols=('knn',)")
    assert done.returncode == 0 and "continuing" in done.stdout  # other protocols change nothing of the training
    done = pretrain(f"--workdir={directory}", "--config.parallel.devices=1")
    assert done.returncode == 0 and "continuing" in done.stdout and "step 3/3" not in done.stderr
    after = {path: path.stat().st_mtime_ns for path in (directory / "checkpoints").rglob("*") if path.is_file()}
    assert before == after


def test_features_on_file_are_those_of_the_loaded_encoder(run, tmp_path):
    directory, _ = run
    done = command("embed", f"--workdir={directory}", "--data=digits", f"--output={tmp_path}/out/features.npz")
    assert done.returncode == 0, done.stderr
    file = np.load(tmp_path / "out" / "features.npz")
    images = sources.load("digits", "test").rows(np.arange(360))
    assert file["features"].shape == (360, 32) and file["features"].dtype == np.float32
    np.testing.assert_array_equal(file["index"], np.arange(360))
    np.testing.assert_array_equal(file["label"], images["label"])
    encoder = ssl_jax.load_encoder(directory)
    np.testing.assert_allclose(encoder(images["image"]), file["features"], atol=1e-5)
    with pytest.raises(ValueError, match="expected uint8"):
        encoder(images["image"].astype(np.float32))
    with pytest.raises(ValueError, match="expected uint8"):
        encoder(images["image"][0])


def test_a_protocol_run_again_replaces_its_rows(run, capsys):
    directory, _ = run
    rows = evaluate.evaluate(directory, ["knn"])
    assert len(rows) == 4
    stored = json.loads((directory / "evaluation.json").read_text())
    assert len(stored) == 12 and stored[-4:] == rows
    assert "trained encoder" in capsys.readouterr().out


def test_an_unlabelled_set_trains_and_says_so(tmp_path):
    images = sources.load("digits", "train").rows(np.arange(64))["image"]
    np.savez(tmp_path / "train.npz", image=images)
    np.savez(tmp_path / "test.npz", image=images)
    done = pretrain(f"--workdir={tmp_path}/run", f"--config.data.source=npz:{tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "labels      none: the online probe and kNN are off" in done.stdout
    assert "knn is left out: it needs label, and the data has none" in done.stdout
    done = command("evaluate", f"--workdir={tmp_path}/run", "--protocols=knn,pretext")
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert {(row["protocol"], row["features"]) for row in rows} == {("pretext", "random"), ("pretext", "encoder")}
    assert "held-out loss" in done.stdout


def test_a_dry_run_compiles_and_trains_nothing(tmp_path):
    done = pretrain("--dry_run", "--config.parallel.devices=2")
    assert done.returncode == 0, done.stderr
    assert "memory per device, MiB" in done.stdout and "encoder/stem_conv/kernel" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--config=configs/simclr.py:digit", "--workdir=w"), "no recipe 'digit'; did you mean 'digits'?"),
        (
            ("--config=configs/simclr.py:digits", "--workdir=w", "--config.method.temprature=0.2"),
            "no key 'method.temprature'; did you mean --config.method.temperature?",
        ),
        (("--config=configs/simclr.py:digits", "--workdir=w", "--config.train.epochs=many"), "epochs"),
        (("--config=configs/nothing.py:digits", "--workdir=w"), "configs/nothing.py"),
        (("--config=configs/simclr.py:digits",), "--workdir was not given"),
        (("--config=configs/simclr.py:digits", "--workdir=w", "--config.train.batch_size=100"), "cannot share evenly"),
        (("--config=configs/simclr.py:digits", "--workdir=w", "--config.data.source=npz:nowhere"), "nowhere"),
        (("--config=configs/simclr.py:digits", "--workdir=w", "--config.data.source=digit"), "digits"),
        (("--config=configs/simclr.py:digits", "--workdir=w", "--config.method.temperature=0.0"), "temperature"),
        (("--config=configs/simclr.py:digits", "--workdir=w", "--config.compute_dtype=float64"), "JAX_ENABLE_X64=1"),
        (("--config=configs/simclr.py:digits", "--workdir=w", "surplus"), "'surplus' is not a flag"),
    ],
)
def test_a_mistake_gets_one_sentence(arguments, sentence, tmp_path):
    done = command("pretrain", *(word.replace("--workdir=w", f"--workdir={tmp_path}/w") for word in arguments))
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr and done.stderr.strip().count("\n") == 0


def test_captions_of_an_image_that_is_not_there_get_one_sentence(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "captions.json").write_text('{"a.png": ["a cat"]}')
    source = f"--config.data.source=pairs:{tmp_path}"
    done = command("pretrain", "--config=configs/clip.py:tiny", source, f"--workdir={tmp_path}/w")
    assert done.returncode == 1 and "captions.json names 'a.png', which is not beside it; add the image" in done.stderr
    assert "Traceback" not in done.stderr and done.stderr.strip().count("\n") == 0


def test_a_directory_without_a_run_gets_one_sentence(tmp_path):
    for name, extra in (("evaluate", ()), ("embed", ("--output=f.npz",))):
        done = command(name, f"--workdir={tmp_path}/nowhere", *extra)
        assert done.returncode == 1 and "holds no run" in done.stderr and "Traceback" not in done.stderr


def test_a_config_file_that_is_no_python_is_refused(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("def get_config(:\n")
    done = command("pretrain", f"--config={path}", "--dry_run")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ") and f"{path}, line 1 is no valid Python" in done.stderr
