"""The run directory: written whole, and not mixed up with another run."""

import json
import os
import re

import numpy as np
import pytest

from ssl_jax.recipes import CONFIGS, config_module
from ssl_jax.run import workdir
from tests.recipes.test_values import VALUES


def test_a_run_is_described_and_read_back(tiny, tmp_path):
    config = tiny()
    workdir.prepare(tmp_path / "run", config)
    read = workdir.read_config(tmp_path / "run")
    assert workdir.plain(read) == workdir.plain(config)
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert {"versions", "devices", "command", "commit"} <= set(environment)
    assert environment["versions"]["jax"] and environment["devices"]["count"] == 8


def test_another_config_is_refused_and_the_key_named(tiny, tmp_path):
    config = tiny()
    workdir.prepare(tmp_path, config)
    config.method.temperature = 0.7
    with pytest.raises(ValueError, match=r"holds a run with config.method.temperature = 0\.\d+, and 0.7 was asked for"):
        workdir.prepare(tmp_path, config)


def test_what_does_not_change_the_mathematics_may_differ(tiny, tmp_path):
    config = tiny()
    workdir.prepare(tmp_path, config)
    config.parallel.devices, config.parallel.mode, config.data.workers = 2, "pmap", 3
    config.train.log_every, config.train.eval_every, config.train.checkpoint_every = 7, 8, 9
    config.train.keep, config.train.keep_every, config.train.keep_best = 5, 100, True
    workdir.prepare(tmp_path, config)
    assert workdir.read_config(tmp_path).train.log_every == 7


def test_the_digest_is_that_of_the_mathematics(tiny):
    config = tiny()
    digest = workdir.digest(config)
    assert len(digest) == 64 and workdir.digest(tiny()) == digest
    flat = workdir.flatten(workdir.plain(config))
    same = {name for name in flat if workdir.may_differ(name)}
    assert same == {
        "parallel.mode", "parallel.devices", "parallel.strict", "parallel.blocks", "data.workers",
        "train.microbatches",
        "train.keep", "train.keep_every", "train.keep_best", "train.best", "train.wandb", "eval.protocols",
        "train.on_nonfinite", "train.skip_limit", "eval.pool", "eval.layers",
        "eval.labels_per_class", "eval.unlabelled", *(f"eval.finetune.{name}" for name in config.eval.finetune),
        "train.log_every", "train.eval_every", "train.checkpoint_every",
    }  # fmt: skip
    for name in flat:
        other = tiny()
        with other.ignore_type():
            other.update_from_flattened_dict({name: "something else"})
        assert (workdir.digest(other) == digest) == (name in same), name


def test_a_directory_without_a_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no run"):
        workdir.read_config(tmp_path / "nowhere")


def test_a_damaged_config_gets_one_sentence(tiny, tmp_path):
    config = tiny()
    workdir.prepare(tmp_path, config)
    content = (tmp_path / "config.json").read_bytes()
    for damaged in (content[:-9], b"\xff" + content[1:]):
        (tmp_path / "config.json").write_bytes(damaged)
        for call in (lambda: workdir.read_config(tmp_path), lambda: workdir.prepare(tmp_path, config)):
            with pytest.raises(ValueError, match="config.json is damaged"):
                call()


@pytest.mark.parametrize("text", ["[]", "null", "[" * 100_000])
def test_a_config_that_is_whole_json_and_no_config_is_damaged(tiny, tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    for call in (lambda: workdir.read_config(tmp_path), lambda: workdir.prepare(tmp_path, tiny())):
        with pytest.raises(ValueError, match=r"config.json is damaged \(.*\); put a good copy back"):
            call()


def test_what_is_no_file_is_refused_before_it_is_opened(tmp_path):
    workdir.check(tmp_path)
    for name in workdir.FILES:
        os.mkfifo(tmp_path / name)
        with pytest.raises(ValueError, match=f"{name} is no regular file; move it away, or give another --workdir"):
            workdir.check(tmp_path)
        with pytest.raises(ValueError, match=f"{name} is no regular file"):
            workdir.read_config(tmp_path)
        (tmp_path / name).unlink()
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(ValueError, match="checkpoints is no folder"):
        workdir.check(tmp_path)


BATCH = {"image": np.zeros((2, 8, 8, 1), np.uint8), "index": np.arange(2), "row": np.arange(2)}


def test_a_run_keeps_to_its_data(tmp_path):
    workdir.keep_data(tmp_path, 64, BATCH)
    noted = (tmp_path / "data.json").read_text()
    assert json.loads(noted) == {"rows": 64, "arrays": {"image": "uint8 [8, 8, 1]"}}
    workdir.keep_data(tmp_path, 64, {name: rows[:1] for name, rows in BATCH.items()})  # other batches of the same rows
    sentence = "run on 64 rows of image uint8 [8, 8, 1], and {} were given; give it its data back, or start anew with"
    for rows, batch, given in (
        (128, BATCH, "128 rows of image uint8 [8, 8, 1]"),
        (64, BATCH | {"image": np.zeros((2, 8, 8, 3), np.uint8)}, "64 rows of image uint8 [8, 8, 3]"),
        (64, BATCH | {"label": np.zeros(2, np.int32)}, "64 rows of image uint8 [8, 8, 1], label int32 []"),
    ):
        with pytest.raises(ValueError, match=re.escape(sentence.format(given))) as refusal:
            workdir.keep_data(tmp_path, rows, batch)
        assert str(refusal.value).endswith(f"--config.train.init_from={tmp_path}")
    assert (tmp_path / "data.json").read_text() == noted
    (tmp_path / "data.json").write_text('{"rows": []}')
    with pytest.raises(ValueError, match=re.escape("a run on [] rows of None, and 64 rows")):
        workdir.keep_data(tmp_path, 64, BATCH)


def test_one_command_at_a_time_trains_in_a_directory(tmp_path):
    with workdir.lock(tmp_path / "run"):
        with pytest.raises(ValueError, match="Another command is training"), workdir.lock(tmp_path / "run"):
            pass
    with workdir.lock(tmp_path / "run"):
        pass


def as_it_was(recipe):
    """The config.json of a run of this recipe from before 2026-11-27, as nested dicts."""
    config = {}
    for key, value in VALUES[recipe].items():
        *folders, last = key.split(".")
        inner = config
        for folder in folders:
            inner = inner.setdefault(folder, {})
        if last:
            inner[last] = value
    return config


@pytest.mark.parametrize("recipe", ["simclr:digits", "byol:cifar10_cpu", "moco_v3:imagenet_vits", "dino:digits"])
def test_a_run_from_before_a_key_existed_goes_on(recipe, tmp_path):
    old, (method, name) = as_it_was(recipe), recipe.split(":")
    (tmp_path / "config.json").write_text(json.dumps(old))
    config = config_module(CONFIGS / f"{method}.py").get_config(name)
    everything = workdir.early_digest(tmp_path)
    workdir.prepare(tmp_path, config)
    assert workdir.early_digest(tmp_path) == everything  # so that its checkpoints are known even after a second start
    read = workdir.read_config(tmp_path)
    assert workdir.digest(read) == workdir.digest(config) and "name" not in read.augment
    assert workdir.plain(read)["train"] == workdir.plain(config)["train"]
    old["method"]["name"], old["seed"] = "other", 5
    (tmp_path / "config.json").write_text(json.dumps(old))
    with pytest.raises(ValueError, match="config.method.name = 'other'"):
        workdir.prepare(tmp_path, config)
    assert workdir.early_digest(tmp_path) != everything
