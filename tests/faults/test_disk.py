"""A disk without room: a warning, and training goes on; what was saved before stays."""

import contextlib
import json
import resource
import shutil
import subprocess
import threading
import time

import pytest

from ssl_jax.run import restore
from tests.faults.conftest import leaves, rows


@contextlib.contextmanager
def small_disk(path, mebibytes):
    """A real file system of that size; skips where it may not be mounted."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(path)]
    mounted = subprocess.run(command, capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a file system needs privileges that this machine does not give")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def keep_full(ballast, process):
    """Takes every page of the disk as soon as it is free, until the process ends."""
    with open(ballast, "wb", buffering=0) as file:
        while process.poll() is None:
            try:
                file.write(bytes(1 << 12))
            except OSError:
                time.sleep(0.002)


def test_a_full_disk_stops_nothing_but_the_saves(lab, reference, tmp_path):
    with small_disk(tmp_path / "disk", 64) as disk:
        directory, ballast = disk / "run", disk / "ballast"
        process = lab.start(directory)
        assert lab.wait_until(process, lambda: len(restore.steps(directory / "checkpoints")) == 2)
        kept = restore.steps(directory / "checkpoints")
        filler = threading.Thread(target=keep_full, args=(ballast, process))
        filler.start()
        said = lab.end(process, status=1, noisy=True)  # threads of tensorstore print what they meet
        filler.join()
        assert "could not be written" in said and "its lines wait in memory" in said
        assert "make room" in said  # the last state is not on disk, and that is no success
        assert restore.newest_intact(directory / "checkpoints").step >= max(kept)
        ballast.unlink()
        lab.run(directory)
        assert leaves(directory)["step"] == 60
        assert leaves(directory) == leaves(reference)
        assert [row["step"] for row in rows(directory) if "event" not in row] == list(range(1, 61))


def test_files_that_may_not_grow(lab, reference, tmp_path):
    """RLIMIT_FSIZE fails writes inside tensorstore, where no Python code sees them."""
    directory = tmp_path / "run"
    lab.run(directory, **{"train.steps": 60, "train.checkpoint_every": 30})
    largest = max(path.stat().st_size for path in (directory / "checkpoints").rglob("*") if path.is_file())
    shutil.rmtree(directory / "checkpoints" / "60")
    lines = len((directory / "metrics.jsonl").read_bytes())

    def limit():
        most = max(largest // 2, lines + 1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    process = lab.start(directory, limit=limit, **{"train.checkpoint_every": 30})
    said = lab.end(process, status=1, noisy=True)
    assert "could not be written" in said and restore.steps(directory / "checkpoints") == [30]
    lab.run(directory, **{"train.checkpoint_every": 30})
    a, b = leaves(directory), leaves(reference)
    assert {name: a[name] for name in a if name != "host"} == {name: b[name] for name in b if name != "host"}
    assert json.loads((directory / "metrics.jsonl").read_text().splitlines()[-1])["event"] == "finished"
