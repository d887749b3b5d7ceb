"""Checkpoints: every bit comes back, damage is found and named, and a save that fails costs that save alone."""

import json
import os
import shutil
import threading
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import SingleDeviceSharding

from ssl_jax.run import checkpoint, manifest, restore
from ssl_jax.run.checkpoint import Checkpoints
from ssl_jax.train.state import TrainState

# 1e-45 is no normal number, and -0.0 and nan differ from other zeros and nans in their bits alone.
AWKWARD = np.array([np.nan, -np.nan, np.inf, -0.0, 1e-45, 1 / 3], np.float32)


def make(step=3, width=3):
    """A state with every kind of leaf that there is."""
    params = {
        "encoder": {"kernel": jnp.full((2, width), 1 / 3 + step, jnp.bfloat16), "scale": jnp.float32(step)},
        "awkward": jnp.asarray(AWKWARD),
    }
    freeze = optax.conditionally_mask(optax.scale_by_adam(), lambda count: count >= 1)
    parts = optax.partition({"a": optax.trace(0.9), "b": freeze}, {"encoder": {"kernel": "a", "scale": "b"},
                                                                   "awkward": "b"})  # fmt: skip
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), parts, optax.scale_by_learning_rate(lambda count: 0.1))
    _, moved = optimizer.update(jax.tree.map(jnp.ones_like, params), optimizer.init(params), params)
    method = {"batch_stats": {"encoder": {}, "mean": jnp.arange(4.0)}, "seen": jnp.array([True, False])}
    probe = {"params": {"kernel": jnp.eye(2, dtype=jnp.float16)}, "count": jnp.uint8(255)}
    return TrainState(jnp.int32(step), params, method, moved, probe, jax.random.fold_in(jax.random.key(5), step))


def bits(tree):
    """Every leaf as dtype, shape and bytes."""
    plain = jax.tree.map(lambda leaf: jax.random.key_data(leaf) if restore.is_key(leaf) else leaf, tree)
    return [(str(leaf.dtype), leaf.shape, np.asarray(leaf).tobytes()) for leaf in jax.tree.leaves(plain)]


@pytest.fixture
def here():
    return SingleDeviceSharding(jax.devices()[0])


@pytest.fixture
def saved(tmp_path):
    """`saved(2, 4)`: a run's checkpoints of these steps."""

    def save(*steps, **options):
        with Checkpoints(tmp_path / "checkpoints", **{"keep": 9, "config": "mine"} | options) as checkpoints:
            for step in steps:
                assert checkpoints.save(step, make(step), {"seen": step}, wait=True) == ""
        return tmp_path / "checkpoints"

    return save


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def flip(path):
    """Changes one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def largest(folder):
    """The largest file of a folder: data, not a description of it."""
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def abstract(**options):
    return jax.eval_shape(lambda: make(**options))


def open_and_restore(directory, here, config="mine", **options):
    with Checkpoints(directory, config=config) as checkpoints:
        return checkpoints.restore(abstract(**options), here)


def test_every_bit_comes_back(saved, here):
    state, restored = open_and_restore(saved(3), here)
    before = make(3)
    assert jax.tree.structure(state) == jax.tree.structure(before)
    assert bits(state) == bits(before)
    assert all(leaf.sharding == here for leaf in jax.tree.leaves(state))
    assert jax.dtypes.issubdtype(state.key.dtype, jax.dtypes.prng_key)
    assert (restored.step, restored.host, restored.config, restored.damage) == (3, {"seen": 3}, "mine", [])


def test_without_a_checkpoint_there_is_nothing_to_restore(tmp_path, here):
    assert open_and_restore(tmp_path / "checkpoints", here) is None
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="config.train.keep is 0"):
        Checkpoints(tmp_path, keep=0)


def test_the_state_is_copied_before_the_call_returns(tmp_path, here, monkeypatch):
    go, write = threading.Event(), Checkpoints._write
    monkeypatch.setattr(Checkpoints, "_write", lambda *arguments: go.wait(30) and write(*arguments))
    state, host = make(3), {"seen": [1]}
    with Checkpoints(tmp_path, config="mine") as checkpoints:
        assert checkpoints.save(3, state, host) == ""
        host["seen"].append(2)
        # What the next step does: it takes the memory of the state, before the writer has even begun.
        numbers = [leaf for leaf in jax.tree.leaves(state) if not restore.is_key(leaf)]
        jax.block_until_ready(jax.jit(lambda tree: [leaf * 0 for leaf in tree], donate_argnums=0)(numbers))
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params)) and not names(tmp_path)
        go.set()
    found, restored = open_and_restore(tmp_path, here)
    assert bits(found) == bits(make(3)) and restored.host == {"seen": [1]}


@pytest.mark.parametrize(
    ("options", "best", "left"),
    [
        ({"keep": 1}, None, ["6"]),
        ({"keep": 2}, None, ["5", "6"]),
        ({"keep": 1, "keep_every": 2}, None, ["2", "4", "6"]),
        ({"keep": 2}, 3, ["3", "5", "6"]),
    ],
)
def test_the_newest_the_best_and_multiples_are_kept(tmp_path, options, best, left):
    with Checkpoints(tmp_path, **options) as checkpoints:
        for step in range(1, 7):
            checkpoints.save(step, make(step), {}, best=best if step > 3 else step)
    assert names(tmp_path) == left


def test_a_save_of_a_step_that_is_there_changes_what_is_remembered_alone(saved, here):
    directory = saved(3)
    files = {path: path.read_bytes() for path in (directory / "3").rglob("*") if path.is_file()}
    with Checkpoints(directory, config="mine") as checkpoints:
        assert checkpoints.save(3, make(8), {"seen": 3}, wait=True) == ""
        assert {path: path.read_bytes() for path in (directory / "3").rglob("*") if path.is_file()} == files
        assert checkpoints.save(3, make(8), {"best": {"step": 3}}, wait=True) == ""
        state, restored = checkpoints.restore(abstract(), here)
    assert bits(state) == bits(make(3)) and restored.host == {"best": {"step": 3}}


def test_what_a_kill_left_is_swept_on_opening(saved):
    directory = saved(3)
    for name in ("5.partial/model", "6.partial/training", "2.deleting/model", "4.damaged/model", "my.partial_notes"):
        (directory / name).mkdir(parents=True)
        (directory / name / "file").write_text("")
    with Checkpoints(directory):
        assert names(directory) == ["3", "4.damaged", "my.partial_notes"]  # whose name no run writes


@pytest.mark.parametrize("name", ["0004", "٤", "²", "9" * 250, "4.old", "-4"])
def test_what_no_run_writes_is_no_checkpoint_and_is_left_alone(saved, here, name, capsys):
    directory = saved(2, 4)
    (directory / "4").rename(directory / name)
    state, restored = open_and_restore(directory, here)
    assert bits(state) == bits(make(2)) and restored.damage == []
    assert names(directory) == sorted(["2", name]) and restore.unknown(directory) == [name]
    assert bits(restore.load_model(directory.parent, here)["params"]) == bits(make(2).params)
    assert f"warning: {name!r} in {directory} is no name that a run gives" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"has no checkpoint .*; give latest, best or one of \[2\]"):
        restore.load_model(directory.parent, here, name)


def test_a_damaged_manifest_costs_its_checkpoint_alone(saved, here):
    directory = saved(2, 4)
    path = directory / "4" / "manifest.json"
    content = {name: value for name, value in manifest.read(path.parent, 4).items() if name != "leaves"}
    path.write_text(json.dumps(content | {"sha256": manifest.digest(content)}))
    state, restored = open_and_restore(directory, here)
    assert bits(state) == bits(make(2)) and "manifest.json has no `leaves`" in restored.damage[0]
    assert names(directory) == ["2", "4.damaged"]


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_it_used(saved, here):
    directory = saved(2, 4)
    for name in ("4.damaged", "4.damaged.2"):
        path = largest(directory / "4" / "model")
        flip(path)
        state, restored = open_and_restore(directory, here)
        assert restored.step == 2 and bits(state) == bits(make(2))
        file = path.relative_to(directory / "4")
        assert restored.damage == [f"checkpoint 4 in {directory} is damaged: file {file} differs from its digest"]
        assert name in names(directory) and "4" not in names(directory)
        saved(4)  # the run comes to this step again
    assert names(directory) == ["2", "4", "4.damaged", "4.damaged.2"]


@pytest.mark.parametrize("item", ["model", "training"])
def test_any_file_that_is_missing_cut_or_altered_is_damage(saved, here, item):
    directory = saved(2, 4)
    files = [path for path in (directory / "4" / item).rglob("*") if path.is_file()]
    assert len(files) > 5
    for number, path in enumerate(files):
        content = path.read_bytes()
        damage = (path.unlink, lambda: os.truncate(path, len(content) // 2), lambda: flip(path))[number % 3]  # noqa: B023
        damage()
        restored = restore.newest_intact(directory)
        assert restored.step == 2 and str(path.relative_to(directory / "4")) in restored.damage[0]
        path.write_bytes(content)
    assert restore.newest_intact(directory).step == 4


def test_reading_commands_leave_a_damaged_checkpoint_where_it_is(saved, here, capsys):
    directory = saved(2, 4)
    flip(largest(directory / "4" / "model"))
    assert restore.newest_intact(directory).step == 2
    model = restore.load_model(directory.parent, here)
    assert bits(model["params"]) == bits(make(2).params)
    assert "warning: checkpoint 4" in (said := capsys.readouterr().out) and "using checkpoint 2" in said
    assert names(directory) == ["2", "4"]


def test_a_damaged_optimizer_does_not_keep_an_encoder_from_loading(saved, here):
    directory = saved(4)
    shutil.rmtree(directory / "4" / "training")
    assert bits(restore.load_model(directory.parent, here)["params"]) == bits(make(4).params)


def test_with_every_checkpoint_damaged_the_run_is_refused(saved, here):
    directory = saved(2, 4)
    (directory / "2" / "manifest.json").write_text("{")
    flip(largest(directory / "4" / "training"))
    with pytest.raises(ValueError, match=r"checkpoint 4 .* file training/.*; checkpoint 2 .* manifest.json .*anew"):
        open_and_restore(directory, here)
    assert names(directory) == ["2", "4"]  # nothing is set aside that may be all there is


def test_leaves_have_digests_of_their_own(saved, here, monkeypatch):
    directory = saved(2, 4)
    # Files that agree with their digests and still give other numbers: those of another state.
    monkeypatch.setattr(manifest, "check_files", lambda *_: None)
    shutil.rmtree(directory / "4" / "model")
    shutil.copytree(directory / "2" / "model", directory / "4" / "model")
    restored = restore.newest_intact(directory)
    assert restored.step == 2 and restored.damage[0].endswith(": params/encoder/kernel differs from its digest")
    shutil.rmtree(directory / "4" / "model" / "d")
    assert ": model cannot be read (" in restore.newest_intact(directory).damage[0]


def test_another_config_is_refused(saved, here):
    directory = saved(2, 4)
    with pytest.raises(ValueError, match="Checkpoint 4 .* saved under another config than this run's"):
        open_and_restore(directory, here, config="yours")
    assert names(directory) == ["2", "4"]


def test_another_model_is_refused_and_the_leaf_named(saved, here):
    directory = saved(3)
    message = r"another model .*encoder/kernel should be bfloat16 \[2, 5\] and is bfloat16 \[2, 3\]"
    with pytest.raises(ValueError, match=message):
        open_and_restore(directory, here, width=5)
    wanted = abstract().replace(probe={"bias": jax.ShapeDtypeStruct((2,), jnp.float32)})
    with Checkpoints(directory) as checkpoints, pytest.raises(ValueError, match="probe/bias .* is no such leaf"):
        checkpoints.restore(wanted, here)


def full(*_, **__):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("where", ["room", "orbax", "manifest", "rename"])
def test_a_save_that_fails_costs_that_save_alone(saved, here, monkeypatch, where):
    directory = saved(2)
    with Checkpoints(directory, config="mine") as checkpoints:
        with monkeypatch.context() as patch:
            reason = "No space left on device"
            if where == "room":  # seen before the first file is written
                patch.setattr(checkpoint.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=0))
                reason = "1 MiB needed, 0 MiB free"
            elif where == "orbax":
                patch.setattr(restore.ocp.StandardCheckpointHandler, "finalize", full)  # after most of the files
            elif where == "manifest":
                patch.setattr(manifest.os, "fsync", full)
            else:
                patch.setattr(checkpoint.os, "replace", full)
            assert checkpoints.save(4, make(4), {}) == ""  # in the background: nobody knows yet
            sentence = checkpoints.save(5, make(5), {}, wait=True)
            assert sentence.startswith("checkpoint 5 could not be written (OSError: ")
            assert reason in sentence and sentence.endswith("; the earlier ones stay")
            assert checkpoints.save(6, make(6), {}) == ""
            # Only now does the loop learn of it.
            assert checkpoints.save(7, make(7), {}).startswith("checkpoint 6 could not be written (OSError")
            checkpoints._finish()
        assert names(directory) == ["2"]  # and nothing that takes up room
        assert checkpoints.save(8, make(8), {"seen": 8}, wait=True) == ""
    assert names(directory) == ["2", "8"]
    assert open_and_restore(directory, here)[1].host == {"seen": 8}


def test_a_model_is_loaded_by_name_or_step(saved, here):
    directory = saved(2, 4)
    run = directory.parent
    for which, step in (("latest", 4), ("4", 4), ("2", 2)):
        model = restore.load_model(run, here, which)
        assert jax.tree.structure(model["params"]) == jax.tree.structure(make().params)
        assert set(model) == {"params", "method"} and bits(model["params"]) == bits(make(step).params)
    for which in ("3", "newest", "-2"):
        with pytest.raises(ValueError, match=rf"no checkpoint '{which}'; give latest, best or one of \[4, 2\]"):
            restore.load_model(run, here, which)
    with pytest.raises(ValueError, match="kept no best checkpoint; train with --config.train.keep_best=True"):
        restore.load_model(run, here, "best")
    with Checkpoints(directory) as checkpoints:
        checkpoints.save(6, make(6), {"best": {"step": 2, "knn_top1": 0.5}}, best=2)
    assert bits(restore.load_model(run, here, "best")["params"]) == bits(make(2).params)
    flip(largest(directory / "2" / "model"))
    with pytest.raises(ValueError, match="checkpoint 2 .* is damaged"):
        restore.load_model(run, here, "best")  # another one would not be what was asked for


def test_only_the_first_process_writes(tmp_path, monkeypatch):
    (tmp_path / "2.partial").mkdir()
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.save(3, make(), {}, wait=True) == ""
    assert names(tmp_path) == ["2.partial"]


def test_the_best_before_stays_until_the_new_one_is_saved(tmp_path):
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.save(1, make(1), {}, best=1, wait=True)
        checkpoints.save(2, make(2), {}, best=5, wait=True)  # 5 could not be saved
        assert names(tmp_path) == ["1", "2"]
        checkpoints.save(3, make(3), {}, best=3, wait=True)
    assert names(tmp_path) == ["3"]
