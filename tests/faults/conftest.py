"""The fault lab: real runs in processes of their own, which tests kill, starve and damage.

`pytest tests/faults` runs a short form; `--long_faults` repeats each fault as often as docs/reliability.md reports.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.environment import environment

TINY = {
    "model.depth": 6, "model.width": 0.25, "train.batch_size": 16, "train.epochs": 0, "train.steps": 60,
    "train.log_every": 1, "train.eval_every": 20, "train.checkpoint_every": 6, "optim.warmup_steps": 0,
    "optim.warmup_epochs": 0.0, "eval.protocols": "()", "data.workers": 0,
}  # fmt: skip
TIMES = ("examples_per_second", "data_wait")  # what no two runs share


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.faults)


class Lab:
    """Runs of one tiny recipe, by the command that users call."""

    def start(
        self, directory: Path, *flags: str, devices: int = 2, limit=None, recipe="simclr.py:digits", **changes
    ) -> subprocess.Popen:
        """A process that trains in `directory`; `limit` runs in the child before the command."""
        settings = [f"--config.{name}={value}" for name, value in (TINY | changes).items()]
        begin = [f"--config=configs/{recipe}", f"--workdir={directory}"]
        double = changes.get("compute_dtype") == "float64"
        return self.command("pretrain", *begin, *settings, *flags, devices=devices, limit=limit, double=double)

    def command(self, name: str, *flags: str, devices: int = 2, limit=None, double=False) -> subprocess.Popen:
        """A process that runs a command on that many simulated devices."""
        flagged = [word for word in os.environ.get("XLA_FLAGS", "").split() if "device_count" not in word]
        xla_flags = " ".join([*flagged, f"--xla_force_host_platform_device_count={devices}"])
        return subprocess.Popen(
            [sys.executable, "-m", f"ssl_jax.{name}", *flags],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=limit, cwd=Path(__file__).parents[2],
            env=environment(XLA_FLAGS=xla_flags, JAX_ENABLE_X64=str(int(double))),
        )  # fmt: skip

    def run(self, directory: Path, *flags: str, status: int = 0, **options) -> str:
        """The same to its end; returns what it said."""
        return self.end(self.start(directory, *flags, **options), status)

    def end(self, process: subprocess.Popen, status: int = 0, timeout: float = 480, noisy: bool = False) -> str:
        """Waits for a process, checks its status and returns what it said; without a traceback unless `noisy`."""
        out, err = process.communicate(timeout=timeout)
        assert process.returncode == status, err[-3000:]
        assert noisy or "Traceback" not in err, err[-3000:]
        return out + err

    def pair(self, directory: Path, *flags: str, devices: int = 2, **options) -> list[subprocess.Popen]:
        """Two processes of one run."""
        return [self.start(directory, *join, *flags, devices=devices, **options) for join in two_processes()]

    def wait_until(self, process: subprocess.Popen, condition, timeout: float = 300) -> bool:
        """Whether the condition came true while the process ran."""
        end = time.monotonic() + timeout
        while process.poll() is None:
            if condition():
                return True
            assert time.monotonic() < end, "the run did not come so far"
            time.sleep(0.001)
        return False

    def kill(self, process: subprocess.Popen) -> bool:
        """SIGKILL; whether the process was still running."""
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return process.returncode == -signal.SIGKILL


def two_processes() -> list[list[str]]:
    """The flags of each of two processes that find one another."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    join = [f"--coordinator=localhost:{port}", "--num_processes=2", "--heartbeat_timeout=10"]
    return [[*join, f"--process_id={i}"] for i in (0, 1)]


def rows(directory: Path, last: bool = True) -> list[dict]:
    """What metrics.jsonl says, without times; without the last event too unless `last`."""
    path = directory / "metrics.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    found = [json.loads(line) for line in lines]
    found = [{name: value for name, value in row.items() if name not in TIMES} for row in found]
    return found if last else [row for row in found if row.get("event") not in ("finished", "interrupted")]


def leaves(directory: Path, step: int | None = None) -> dict:
    """The digests of every leaf of a checkpoint, the newest by default, as its manifest has them."""
    folders = [path for path in (directory / "checkpoints").iterdir() if path.name.isdigit()]
    newest = max(folders, key=lambda path: int(path.name))
    manifest = json.loads(((newest if step is None else newest.with_name(str(step))) / "manifest.json").read_text())
    return manifest["leaves"] | {"host": manifest["host"], "step": manifest["step"]}


def same(directory: Path, reference: Path) -> None:
    """Both runs ended in the same state, bit for bit, and say the same of every step."""
    assert rows(directory) == rows(reference)
    assert leaves(directory) == leaves(reference)


@pytest.fixture(scope="session")
def lab():
    return Lab()


@pytest.fixture(scope="session")
def reference(lab, tmp_path_factory):
    """An uninterrupted run on two devices."""
    directory = tmp_path_factory.mktemp("reference") / "run"
    lab.run(directory)
    return directory


@pytest.fixture
def long(request):
    return request.config.getoption("--long_faults")
