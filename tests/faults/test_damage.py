"""Damaged checkpoint files: never wrong weights, always the name of what is damaged and the newest intact step."""

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from ssl_jax.run import restore
from tests.faults.conftest import leaves, same

KINDS = ("flip", "truncate", "delete")


def damage(path: Path, kind: str, chance: random.Random) -> None:
    """One bit flipped, the end cut off at any place, or the file gone."""
    content = bytearray(path.read_bytes())
    if kind == "delete":
        path.unlink()
    elif kind == "truncate":
        path.write_bytes(content[: chance.randrange(len(content))])
    else:
        bit = chance.randrange(8 * len(content))
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(reference, long, tmp_path):
    source, chance, count = reference / "checkpoints", random.Random(0), 300 if long else 40
    newest, older = restore.steps(source)
    intact = {step: restore.read(source, step) for step in (newest, older)}
    outcomes = dict.fromkeys(KINDS, 0)
    for case in range(count):
        copy = tmp_path / "checkpoints"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(source, copy)
        files = sorted(path for path in (copy / str(newest)).rglob("*") if path.is_file())
        victim, kind = chance.choice(files), KINDS[case % 3]
        damage(victim, kind, chance)
        found = restore.newest_intact(copy)
        assert found.step == older, f"{kind} of {victim} was not noticed"
        assert victim.name in found.damage[0] or "manifest" in found.damage[0]
        wanted = intact[older]
        assert found.host == wanted.host and found.leaves.keys() == wanted.leaves.keys()
        for name, leaf in wanted.leaves.items():
            assert leaf.dtype == found.leaves[name].dtype
            assert leaf.tobytes() == found.leaves[name].tobytes(), name
        outcomes[kind] += 1
    print(f"\n{count} damaged files ({outcomes}): {count} named, {count} times the checkpoint before, 0 wrong weights")


def test_a_run_goes_on_from_the_intact_checkpoint_and_ends_the_same(lab, reference, tmp_path):
    directory = tmp_path / "run"
    shutil.copytree(reference, directory)
    newest = max(restore.steps(directory / "checkpoints"))
    payload = max((directory / "checkpoints" / str(newest) / "model").rglob("*"), key=lambda path: path.stat().st_size)
    damage(payload, "flip", random.Random(1))
    said = lab.run(directory)
    assert f"checkpoint {newest}" in said and f"{payload.name} differs from its digest" in said
    assert (directory / "checkpoints" / f"{newest}.damaged").is_dir()
    assert leaves(directory) == leaves(reference)  # the rows differ by the warning
    warnings = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert any(row.get("event") == "warning" and "is damaged" in row["text"] for row in warnings)


def test_an_encoder_of_a_damaged_run_is_that_of_the_intact_step(reference, tmp_path):
    directory = tmp_path / "run"
    shutil.copytree(reference, directory)
    newest, older = restore.steps(directory / "checkpoints")
    (directory / "checkpoints" / str(newest) / "model" / "_METADATA").unlink()
    names = {}
    for which in ("latest", str(older)):
        output = tmp_path / f"{which}.npz"
        command = [sys.executable, "-m", "ssl_jax.embed", f"--workdir={directory}", f"--output={output}"]
        done = subprocess.run([*command, f"--checkpoint={which}"], capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
        names[which] = np.load(output)["features"]
        assert ("_METADATA is missing" in done.stdout) == (which == "latest")
    assert names["latest"].tobytes() == names[str(older)].tobytes()
    assert (directory / "checkpoints" / str(newest)).is_dir()  # reading changes nothing


def test_an_undamaged_run_is_taken_as_it_is(lab, reference, tmp_path):
    directory = tmp_path / "run"
    shutil.copytree(reference, directory)
    lab.run(directory)
    same(directory, reference)
