"""The commands, as a user calls them: end to end on real digits, and one sentence for every mistake."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

import ssl_jax
from ssl_jax import evaluate
from ssl_jax.data import sources
from ssl_jax.evaluation import held_out
from ssl_jax.evaluation.knn import knn_predict, sensible_k
from ssl_jax.run import workdir
from tests.environment import environment

TINY = (
    "--config.model.depth=6", "--config.model.width=0.25", "--config.train.batch_size=16",
    "--config.train.epochs=0", "--config.train.steps=3", "--config.optim.warmup_steps=0", "--config.train.log_every=1",
    "--config.train.eval_every=3", "--config.train.checkpoint_every=2",
)  # fmt: skip


def command(name, *arguments):
    return subprocess.run(
        [sys.executable, "-m", f"ssl_jax.{name}", *map(str, arguments)],
        capture_output=True, text=True, env=environment(), timeout=300,
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
    # Neither other devices nor other protocols begin a new training.
    assert done.returncode == 0 and "continuing" in done.stdout and "step 3/3" not in done.stderr
    after = {path: path.stat().st_mtime_ns for path in (directory / "checkpoints").rglob("*") if path.is_file()}
    assert before == after


def test_a_run_goes_on_with_its_own_data_and_checkpoints_alone(run, tmp_path, capsys):
    directory = tmp_path / "run"
    shutil.copytree(run[0], directory)
    config, data = workdir.read_config(directory), directory / "data.json"
    assert json.loads(data.read_text()) == {"rows": 1437, "arrays": {"image": "uint8 [8, 8, 1]", "label": "int32 []"}}
    data.write_text(data.read_text().replace("1437", "700"))
    with pytest.raises(ValueError, match=r"holds a run on 700 rows of .*, and 1437 rows of .* were given"):
        ssl_jax.fit(config, directory)
    data.unlink()  # a run of an earlier version
    (directory / "checkpoints" / "3").rename(directory / "checkpoints" / "0003")
    shutil.rmtree(directory / "checkpoints" / "2")
    with pytest.raises(ValueError, match=r"had reached step 3, but its checkpoints/ holds none but '0003'"):
        ssl_jax.fit(config, directory)
    assert "warning     '0003' in" in capsys.readouterr().out
    assert json.loads(data.read_text())["rows"] == 1437
    assert (directory / "metrics.jsonl").read_text() == (run[0] / "metrics.jsonl").read_text()


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


def test_labels_of_other_data_may_have_gaps_and_be_missing(run, tmp_path, capsys):
    directory, _ = run
    digits = sources.load("digits", "train").rows(np.arange(300))
    image, label = digits["image"], 100 * digits["label"] + 7
    given = np.where(np.arange(300) % 5 == 0, -1, label)
    np.savez(tmp_path / "train.npz", image=image[:100], label=given[:100])
    np.savez(tmp_path / "test.npz", image=image[100:], label=given[100:])
    rows = evaluate.evaluate(directory, ["knn", "few_label"], data=f"npz:{tmp_path}")
    assert {(row["protocol"], row["n"]) for row in rows} == {("knn", 160)}
    pixels, known = image.reshape(300, -1) / np.float32(255), given >= 0
    train, test = known & (np.arange(300) < 100), known & (np.arange(300) >= 100)
    k = sensible_k(80, 10)
    predicted = knn_predict(pixels[train], digits["label"][train], pixels[test], k=k, num_classes=10)
    value = next(row["value"] for row in rows if row["features"] == "input")
    assert value == np.mean(predicted == digits["label"][test]) and value > 0.6
    said = capsys.readouterr().out
    assert "test: 160 of 200 rows; the others, labelled -1, are in no probe" in said
    assert "few_label is left out: " in said
def test_probes_of_layers_of_pixels_and_fine_tuning(run, tmp_path, capsys):
    directory, _ = run
    for split, rows in (("train", np.arange(96)), ("test", np.arange(96, 144))):
        held = sources.load("digits", "train").rows(rows)
        mask = np.uint8(held["image"][..., 0] > 100)
        np.savez(tmp_path / f"{split}.npz", **held, mask=mask, sequence=rows // 32)
    before = (directory / "evaluation.json").read_text()
    options = {"layers": ("stage_1", "stage_2"), "finetune": "epochs=1,warmup_epochs=0,batch_size=32"}
    rows = evaluate.evaluate(directory, ["layers", "finetune"], f"npz:{tmp_path}", **options)
    rows += evaluate.evaluate(directory, ["segmentation"], f"npz:{tmp_path}", layer="stage_1")
    (directory / "evaluation.json").write_text(before)
    assert {row["protocol"] for row in rows} == {"layers", "segmentation", "finetune"}
    assert {row["layer"] for row in rows if row["protocol"] == "layers"} == {"stage_1", "stage_2"}
    value = {row["features"]: row["value"] for row in rows if row["metric"] == "mean_iou"}
    assert value["input"] > value["chance"] and set(value) == {"chance", "input", "random_initial", "random", "encoder"}
    printed = capsys.readouterr().out
    assert "fine-tuned" in printed and "layer      stage_2" in printed
    with pytest.raises(ValueError, match="with no tokens to pool"):
        evaluate.evaluate(directory, ["knn"], pool="mean")
    with pytest.raises(ValueError, match="--labels_per_class is 0; expected a whole number from 1 on"):
        evaluate.evaluate(directory, ["few_label"], labels_per_class=0)


def test_what_the_held_out_data_do_not_allow_leaves_the_other_protocols(run, monkeypatch, capsys):
    def refuse(*_):
        raise ValueError("too few rows")

    monkeypatch.setattr(held_out, "measure", refuse)
    before = (run[0] / "evaluation.json").read_text()
    rows = evaluate.evaluate(run[0], ["pretext", "knn"])
    (run[0] / "evaluation.json").write_text(before)
    assert {row["protocol"] for row in rows} == {"knn"}
    assert "pretext is left out: too few rows" in capsys.readouterr().out


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
        (("--config=configs/simclr.py:digits", "--workdir=w", f"--config.seed={10**22}"), "from 0 to 4294967295"),
        (
            ("--config=configs/simclr.py:digits", "--workdir=w", "--config.train.steps=20"),
            "give --config.optim.warmup_steps=2, or train longer",
        ),
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


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("raise RuntimeError('no luck')", "raises RuntimeError: no luck; mend it"),
        ("def get_config(recipe='x'):\n    return 1 / 0", "raises ZeroDivisionError: division by zero"),
        ("x = 1", "has no function get_config"),
    ],
)
def test_a_config_file_that_raises_is_one_sentence(content, sentence, tmp_path):
    path = tmp_path / "odd.py"
    path.write_text(content)
    done = command("pretrain", f"--config={path}", "--dry_run")
    assert done.returncode == 1 and done.stderr.startswith(f"error: {path} {sentence}")
    assert done.stderr.strip().count("\n") == 0


def test_what_a_command_does_not_take_is_one_sentence(run, tmp_path):
    directory, _ = run
    (tmp_path / "file").write_text("")
    for name, arguments, sentence in (
        ("evaluate", (f"--workdir={directory}", "--data="), "--data= is empty"),
        ("embed", (f"--workdir={directory}", f"--output={tmp_path}/file/f.npz"), "file is a file; give another place"),
        ("evaluate", (f"--workdir={directory}", "--checkpoint=²"), "no checkpoint '²'; give latest, best or one of"),
        ("recipes", ("stray",), "stray was given; python -m ssl_jax.recipes takes --markdown, or nothing"),
    ):
        done = command(name, *arguments)
        assert done.returncode == 1 and sentence in done.stderr and "Traceback" not in done.stderr
        assert done.stderr.startswith("error: ") and done.stderr.strip().count("\n") == 0
