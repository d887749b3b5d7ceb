"""The manifest of a checkpoint: what it says of files and leaves, and what it notices."""

import json
import os

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssl_jax.run import manifest

LEAVES = {
    "params/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "params/scale": np.ones(4, jnp.bfloat16),
    "step": np.array(7, np.int32),
}


@pytest.fixture
def folder(tmp_path):
    """A checkpoint of step 7: two files of one folder, one of another, and the manifest."""
    for name, text in {"model/a": "one", "model/deep/b": "two", "training/c": "three"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    manifest.write(tmp_path, 7, LEAVES, {"health": {"seen": 3}}, "a config")
    return tmp_path


def test_names_are_paths_and_those_of_a_tuple_are_those_of_a_list():
    state = optax.ScaleByScheduleState(count=3)
    expected = {"optimizer/0/count": 3, "optimizer/1": 4, "params/a/b": 5}
    assert manifest.by_name({"optimizer": (state, 4), "params": {"a": {"b": 5}}}) == expected
    assert manifest.by_name({"optimizer": [{"count": 3}, 4], "params": {"a": {"b": 5}}}) == expected
    with pytest.raises(ValueError, match="the same path"):
        manifest.by_name({"a": {"b": 1}, "a/b": 2})


def test_digest_is_of_the_bytes_or_of_the_json_value():
    whole = np.arange(12, dtype=np.int32).reshape(3, 4)
    assert manifest.digest(whole) == manifest.digest(np.asfortranarray(whole))
    assert manifest.digest(np.array(1, np.float32)) == manifest.digest(np.ones(1, np.float32))
    assert manifest.digest(np.float32([0.0])) != manifest.digest(np.float32([-0.0]))  # bit for bit
    assert manifest.digest({"a": 1, "b": [2]}) == manifest.digest({"b": [2], "a": 1}) != manifest.digest({"a": 1})
    # SHA-256 of nothing, so that files written by one version are understood by the next.
    assert manifest.digest(np.zeros(0)) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_what_is_written_is_read_and_agrees(folder):
    described = manifest.read(folder, 7)
    assert described["step"] == 7 and described["config"] == "a config" and described["host"] == {"health": {"seen": 3}}
    assert set(described["files"]) == {"model/a", "model/deep/b", "training/c"}
    assert described["leaves"]["params/scale"] | {"sha256": ""} == {"dtype": "bfloat16", "shape": [4], "sha256": ""}
    manifest.check_files(folder, described, ("model", "training"))
    manifest.check_leaves(described, ("params", "step"), LEAVES)
    manifest.check_leaves(described, ("step",), {"step": LEAVES["step"]})


def test_renewing_changes_what_the_loop_remembers_alone(folder):
    before = manifest.read(folder, 7)
    manifest.renew(folder, 7, {"best": {"step": 7}})
    assert manifest.read(folder, 7) == before | {"host": {"best": {"step": 7}}}
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "model", "training"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"manifest.json cannot be read \(FileNotFoundError\)"),
        ("", r"manifest.json cannot be read \(JSONDecodeError\)"),
        ("[]", r"manifest.json cannot be read \(AttributeError\)"),
        ("\xff", "manifest.json cannot be read"),
        ('{"step": 7}', "manifest.json differs from its own digest"),
        ("[" * 100_000, r"manifest.json cannot be read \(RecursionError\)"),
    ],
)
def test_a_manifest_that_cannot_be_read(folder, text, message):
    path = folder / "manifest.json"
    path.unlink() if text is None else path.write_bytes(text.encode("latin-1"))
    with pytest.raises(manifest.Damaged, match=message):
        manifest.read(folder, 7)


def test_a_manifest_that_was_altered_or_is_of_another_step(folder):
    with pytest.raises(manifest.Damaged, match="is that of step 7"):
        manifest.read(folder, 8)
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    content["host"]["health"]["seen"] = 4
    path.write_text(json.dumps(content))
    with pytest.raises(manifest.Damaged, match="differs from its own digest"):
        manifest.read(folder, 7)


@pytest.mark.parametrize("name", ["step", "config", "host", "files", "leaves"])
@pytest.mark.parametrize("change", ["lacks it", "has a list"])
def test_a_manifest_without_what_was_saved_is_damaged_even_with_a_digest_of_its_own(folder, name, change):
    content = manifest.read(folder, 7) | {name: []}
    if change == "lacks it":
        del content[name]
    (folder / "manifest.json").write_text(json.dumps(content | {"sha256": manifest.digest(content)}))
    with pytest.raises(manifest.Damaged, match=f"manifest.json has no `{name}` of the kind that was saved"):
        manifest.read(folder, 7)


@pytest.mark.parametrize("leaf", [[], {"dtype": "int32", "sha256": ""}, {"dtype": "int32", "shape": 3, "sha256": ""}])
def test_a_leaf_that_is_not_described_is_damage(folder, leaf):
    content = manifest.read(folder, 7)
    content["leaves"]["step"] = leaf
    (folder / "manifest.json").write_text(json.dumps(content | {"sha256": manifest.digest(content)}))
    with pytest.raises(manifest.Damaged, match="manifest.json does not describe step as it was saved"):
        manifest.read(folder, 7)


@pytest.mark.parametrize("name", ["manifest.json", "model/deep/b"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_what_is_no_regular_file_is_damage_and_is_not_opened(folder, name, make):
    described = manifest.read(folder, 7)
    (folder / name).unlink()
    make(folder / name)
    with pytest.raises(manifest.Damaged, match=f"{name} is no regular file"):
        manifest.check_files(folder, described, ("model",))
        manifest.read(folder, 7)


@pytest.mark.parametrize("name", ["model/_sharding", "model/deep/deeper/b", "training/d"])
def test_a_file_that_is_not_listed_is_damage(folder, name):
    described = manifest.read(folder, 7)
    (folder / "notes.txt").write_text("outside of what is read")
    manifest.check_files(folder, described, ("model", "training"))
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("")
    with pytest.raises(manifest.Damaged, match=f"file {name} is not in manifest.json"):
        manifest.check_files(folder, described, ("model", "training"))


def test_a_folder_may_lie_elsewhere_behind_a_link(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("disk") / "deep"
    (folder / "model/deep").rename(elsewhere)
    (folder / "model/deep").symlink_to(elsewhere)
    manifest.check_files(folder, manifest.read(folder, 7), ("model",))
    (elsewhere / "more").write_text("")
    with pytest.raises(manifest.Damaged, match="file model/deep/more is not in manifest.json"):
        manifest.check_files(folder, manifest.read(folder, 7), ("model",))


def test_files_that_differ_are_named_where_they_are_asked_for(folder):
    described = manifest.read(folder, 7)
    (folder / "model/deep/b").write_text("twO")
    with pytest.raises(manifest.Damaged, match="file model/deep/b differs from its digest"):
        manifest.check_files(folder, described, ("model", "training"))
    manifest.check_files(folder, described, ("training",))
    (folder / "training/c").unlink()
    with pytest.raises(manifest.Damaged, match="file training/c is missing"):
        manifest.check_files(folder, described, ("training",))
    (folder / "training/c").mkdir()
    with pytest.raises(manifest.Damaged, match="training/c is no regular file"):
        manifest.check_files(folder, described, ("training",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"params/kernel": None}, "params/kernel is missing"),
        ({"params/more": np.zeros(1)}, "params/more is not in manifest.json"),
        ({"params/kernel": LEAVES["params/kernel"].T}, r"kernel is float32 \[3, 2\], saved as float32 \[2, 3\]"),
        ({"params/scale": np.ones(4, np.float16)}, r"scale is float16 \[4\], saved as bfloat16 \[4\]"),
        ({"params/scale": np.array([1, 1, 1, 1.0078125], jnp.bfloat16)}, "params/scale differs from its digest"),
        ({"step": np.array(8, np.int32)}, "step differs from its digest"),
    ],
)
def test_leaves_that_differ_are_named(folder, change, message):
    leaves = {name: leaf for name, leaf in (LEAVES | change).items() if leaf is not None}
    with pytest.raises(manifest.Damaged, match=message):
        manifest.check_leaves(manifest.read(folder, 7), ("params", "step"), leaves)
