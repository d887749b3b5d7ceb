"""The launchers, run for real on a copy of `launch/` with a Python that installs and trains nothing."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = [*sorted((ROOT / "launch").glob("*.sh")), ROOT / "launch" / "slurm.sbatch", ROOT / ".ci" / "run"]
TOOLS = "bash cat cksum chmod cp dirname env grep mkdir readlink rm".split()

# Answers probes (`-c`) as a real Python with {prelude} run before; as `-m venv` it makes a copy of itself; otherwise it
# notes its arguments in `calls` and prints them with the environment.
PYTHON = """#!/bin/bash
case "$1 $2" in
  -c*) exec {python} -c '{prelude}; exec(__import__("sys").argv[1])' "$2" ;;
  --version*) echo "Python {version}"; exit ;;
  "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo "made $3" >>calls ;;
  "-m pip") echo "$*" >>calls; [[ "$3" != install || ! -e offline ]] ;;
  *) printf '<%s>' "$@"; echo; env; exit 7 ;;
esac
"""


class Checkout:
    """A copy of the launchers, in a folder with a space in its name, on a machine with few tools and one Python."""

    def __init__(self, folder: Path):
        self.root, self.bin = folder / "a copy", folder / "bin"
        self.bin.mkdir()
        shutil.copytree(ROOT / "launch", self.root / "launch")
        shutil.copytree(ROOT / ".ci", self.root / ".ci")
        for name in ("requirements.txt", "pyproject.toml"):
            shutil.copy(ROOT / name, self.root)
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.python()

    def script(self, name: str, text: str):
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)

    def python(self, name: str = "python3.12", prelude: str = "pass", version: str = "3.12.0"):
        executable = f'import sys; sys.executable = "{self.bin / name}"; {prelude}'
        self.script(name, PYTHON.format(python=sys.executable, prelude=executable, version=version))

    def gpu(self, driver: str, capability: str):
        self.script("nvidia-smi", f'#!/bin/bash\n[[ $1 == -L ]] && echo GPU || echo "{driver}, {capability}"')

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess:
        environment = {"PATH": str(self.bin), "HOME": "/home/me"} | environment
        return subprocess.run(
            ["bash", self.root / command[0], *command[1:]], cwd="/", env=environment, capture_output=True, text=True
        )

    def calls(self) -> list[str]:
        return (self.root / "calls").read_text().splitlines() if (self.root / "calls").exists() else []


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


devices = [device for device in ("/dev/nvidia0", "/dev/accel0") if Path(device).exists()]
without_device = pytest.mark.skipif(bool(devices), reason=f"this machine has {devices}")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_is_clean_and_short(script):
    subprocess.run(["bash", "-n", script], check=True)
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert shellcheck, "shellcheck is missing: pip install -e '.[test]'"
    found = subprocess.run([shellcheck, "--external-sources", script], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
    lines = script.read_text().splitlines()
    assert lines[1].startswith("# ") and len(lines) < 60


@without_device
def test_default_is_digits_on_simulated_devices(checkout):
    ran = checkout.run("launch/local.sh")
    assert ran.returncode == 7, ran.stderr  # the status of the training
    assert "<-m><ssl_jax.pretrain><--workdir=runs/simclr_digits><--config=configs/simclr.py:digits>\n" in ran.stdout
    flags = re.search(r"^XLA_FLAGS=(.*)", ran.stdout, re.M)[1]
    assert flags.split() == [
        "--xla_force_host_platform_device_count=8",
        "--xla_cpu_collective_call_terminate_timeout_seconds=600",
    ]
    assert f"\nPWD={checkout.root}\n" in ran.stdout
    assert "\nJAX_COMPILATION_CACHE_DIR=/home/me/.cache/ssl_jax/jax\n" in ran.stdout
    assert "JAX_PLATFORMS" not in ran.stdout


@without_device
def test_own_environment_is_kept(checkout):
    mine = {"JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": "/cache", "XLA_FLAGS": "--xla_dump_to=/dump"}
    ran = checkout.run("launch/local.sh", **mine)
    assert "\nJAX_PLATFORMS=cpu\n" in ran.stdout and "\nJAX_COMPILATION_CACHE_DIR=/cache\n" in ran.stdout
    assert "\nXLA_FLAGS=--xla_dump_to=/dump --xla_force_host_platform_device_count=8 " in ran.stdout
    ran = checkout.run("launch/local.sh", XLA_FLAGS="--xla_force_host_platform_device_count=2")
    assert "\nXLA_FLAGS=--xla_force_host_platform_device_count=2 --xla_cpu_collective" in ran.stdout


@pytest.mark.parametrize(
    "given, passed",
    [
        (["--config=configs/moco.py:v2"], ["--workdir=runs/moco_v2", "--config=configs/moco.py:v2"]),
        (["--config", "/my/moco.py"], ["--workdir=runs/moco", "--config", "/my/moco.py"]),
        (["--workdir", "a b", "--config=c.py:d"], ["--workdir", "a b", "--config=c.py:d"]),
        (["--workdir=w"], ["--config=configs/simclr.py:digits", "--workdir=w"]),
        (
            ["--config.optim.learning_rate=0.3"],
            [
                "--workdir=runs/simclr_digits",
                "--config=configs/simclr.py:digits",
                "--config.optim.learning_rate=0.3",
            ],
        ),
    ],
)
def test_arguments_reach_pretrain(checkout, given, passed):
    expected = "".join(f"<{argument}>" for argument in ["-m", "ssl_jax.pretrain", *passed])
    assert expected + "\n" in checkout.run("launch/local.sh", *given).stdout


@pytest.mark.parametrize(
    "driver, capability, extra",
    [("580.65.06", "9.0", "cuda13"), ("570.1", "9.0", "cuda12"), ("580.65", "7.0", "cuda12"), ("x", "", "cuda12")],
)
def test_gpu_chooses_the_extra_and_no_simulated_devices(checkout, driver, capability, extra):
    checkout.gpu(driver, capability)
    ran = checkout.run("launch/local.sh")
    assert checkout.calls()[-1].endswith(f"--requirement requirements.txt jax[{extra}]")
    assert "XLA_FLAGS" not in ran.stdout


def test_cpu_by_choice_on_a_gpu_machine(checkout):
    checkout.gpu("580.65", "9.0")
    ran = checkout.run("launch/local.sh", JAX_PLATFORMS="cpu")
    assert checkout.calls()[-1].endswith("--requirement requirements.txt")
    assert "device_count=8" in ran.stdout


@without_device
def test_tpu_chooses_the_extra(checkout):
    ran = checkout.run("launch/local.sh", TPU_NAME="mine")
    assert checkout.calls()[-1].endswith("jax[tpu]") and "XLA_FLAGS" not in ran.stdout


def test_set_up_happens_once_and_again_when_requirements_change(checkout):
    checkout.run("launch/local.sh")
    first = checkout.calls()
    assert first[0] == "made .venv" and first[-1].startswith("-m pip install") and len(first) == 2
    checkout.run("launch/local.sh")
    assert checkout.calls() == first
    checkout.run("launch/test.sh")  # adds the test extra to the same environment
    with_tests = checkout.calls()
    assert with_tests[-1].endswith("--requirement requirements.txt --editable .[test]")
    checkout.run("launch/local.sh")
    checkout.run("launch/test.sh")
    assert checkout.calls() == with_tests and with_tests.count("made .venv") == 1
    (checkout.root / "requirements.txt").write_text("jax\n")
    checkout.run("launch/local.sh")
    assert checkout.calls()[-1].startswith("-m pip install") and len(checkout.calls()) > len(with_tests)


def test_failed_install_stops_and_is_tried_again(checkout):
    (checkout.root / "offline").touch()
    failed = checkout.run("launch/local.sh")
    assert failed.returncode == 1 and "ssl_jax.pretrain" not in failed.stdout
    (checkout.root / "offline").unlink()
    assert "ssl_jax.pretrain" in checkout.run("launch/local.sh").stdout

    # An install that broke off may have changed some packages: what was complete before it no longer is.
    requirements = checkout.root / "requirements.txt"
    before = requirements.read_text()
    (checkout.root / "offline").touch()
    requirements.write_text("jax\n")
    assert checkout.run("launch/local.sh").returncode == 1
    requirements.write_text(before)
    assert checkout.run("launch/local.sh").returncode == 1


def test_uv_is_used_where_present(checkout):
    make = '[[ $1 == venv ]] && mkdir -p .venv/bin && cp "$PYTHON" .venv/bin/python'
    checkout.script("uv", f'#!/bin/bash\necho "uv $*" >>calls\n{make}\nexit 0')
    python = str(checkout.bin / "python3.12")
    ran = checkout.run("launch/local.sh", JAX_PLATFORMS="cpu", PYTHON=python)
    assert "ssl_jax.pretrain" in ran.stdout, ran.stderr
    assert checkout.calls() == [
        f"uv venv --quiet --seed --python {python} .venv",
        "uv pip install --quiet --python .venv/bin/python --requirement requirements.txt",
    ]


def test_too_old_python_gets_one_sentence(checkout):
    (checkout.bin / "python3.12").unlink()
    checkout.python("python3", prelude="sys.version_info = (3, 9, 18)", version="3.9.18")
    ran = checkout.run("launch/local.sh")
    assert ran.returncode == 1 and ran.stderr.count("\n") == 1 and ran.stdout == ""
    assert "Python >= 3.11 is needed, but python3 is Python 3.9.18: install a newer one" in ran.stderr
    ran = checkout.run("launch/local.sh", PYTHON="/nowhere/python")
    assert ran.returncode == 1 and "/nowhere/python is missing" in ran.stderr
    assert not (checkout.root / ".venv").exists()


def test_python_without_venv_gets_one_sentence(checkout):
    checkout.python(prelude='sys.modules["ensurepip"] = None')
    ran = checkout.run("launch/local.sh")
    assert ran.returncode == 1 and ran.stderr.count("\n") == 1
    assert "has no venv module: install it (Debian and Ubuntu: the package python3.12-venv)" in ran.stderr


def test_test_and_ci_run_pytest_on_the_cpu(checkout):
    ran = checkout.run("launch/test.sh", "tests/losses", "-k", "nt_xent")
    assert ran.returncode == 7, ran.stderr
    spread = "<-m><pytest><--numprocesses=auto><--maxprocesses=8><--dist=worksteal>"
    assert f"{spread}<tests/losses><-k><nt_xent>\n" in ran.stdout and "\nJAX_PLATFORMS=cpu\n" in ran.stdout
    ran = checkout.run(".ci/run")
    assert ran.returncode == 7 and f"{spread}<--require_parity>\n" in ran.stdout
    assert checkout.calls()[-1].endswith("--editable .[test,parity]")


@pytest.mark.parametrize(("options", "status", "found"), [([], 0, "skipped"), (["--require_parity"], 1, "failed")])
def test_ci_fails_where_a_comparison_with_torch_is_skipped(options, status, found):
    """PyTorch is made to look missing."""
    arguments = ["tests/train/test_optim.py", "-m", "parity", "-q", "-p", "no:cacheprovider", *options]
    code = f"import sys, pytest; sys.modules['torch'] = None; sys.exit(pytest.main({arguments}))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == status and found in ran.stdout.splitlines()[-1], ran.stdout


def test_pyproject_reads_requirements_and_requirements_cover_the_imports():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["dependencies"]
    assert project["tool"]["setuptools"]["dynamic"]["dependencies"] == {"file": ["requirements.txt"]}
    assert (ROOT / "ssl_jax" / "py.typed").exists() and "Apache License" in (ROOT / "LICENSE").read_text()

    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    required = {normal(re.match(r"[\w.-]+", line)[0]) for line in lines}
    imported = set()
    for path in [*(ROOT / "ssl_jax").rglob("*.py"), *(ROOT / "configs").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            imported |= {name.split(".")[0] for name in names}
    distributions = importlib.metadata.packages_distributions()
    for name in sorted(imported - set(sys.stdlib_module_names) - {"ssl_jax", "wandb"}):  # wandb is optional
        providers = {normal(distribution) for distribution in distributions.get(name, [])}
        assert providers & required, f"{name} is imported, but requirements.txt does not name {providers or name}"


def normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()
