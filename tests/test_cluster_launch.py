"""The cluster launchers, run for real: two processes train as SLURM, a TPU VM and Kubernetes would start them."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.environment import environment

ROOT = Path(__file__).resolve().parents[1]
CLAIM, JOBSET = yaml.safe_load_all((ROOT / "launch/jobset.yaml").read_text())
TINY = (
    "--config=configs/simclr.py:digits", "--config.model.depth=6", "--config.model.width=0.25",
    "--config.train.batch_size=16", "--config.train.epochs=0", "--config.train.steps=3",
    "--config.optim.warmup_steps=0", "--config.train.log_every=1", "--config.train.eval_every=0",
    "--config.train.checkpoint_every=2", "--config.eval.protocols=()",
)  # fmt: skip
INTERRUPTED, FINISHED = '{"event": "interrupted", "step": 2}', '{"event": "finished", "step": 3}'

SRUN = """
echo "$*" >>"$CALLS"
while [[ $1 == --* ]]; do shift; done
export SLURM_STEP_NODELIST=localhost SLURM_STEP_NUM_NODES=1 SLURM_NTASKS=2
SLURM_PROCID=0 SLURM_LOCALID=0 "$@" & first=$!
SLURM_PROCID=1 SLURM_LOCALID=1 "$@" & second=$!
wait $first; status=$?
wait $second && exit $status
"""
# Two workers with homes of their own, which find one another as processes of Open MPI do.
GCLOUD = """
[[ "$1 $2 $3" == "compute tpus tpu-vm" && "$*" == *" --zone=here --worker=all"* ]] || exit 2
export OMPI_MCA_orte_hnp_uri='0.0;tcp://127.0.0.1:1' OMPI_COMM_WORLD_SIZE=2
for worker in 0 1; do
  export HOME=$WORKERS/$worker OMPI_COMM_WORLD_RANK=$worker OMPI_COMM_WORLD_LOCAL_RANK=$worker
  cd "$HOME"
  if [[ $4 == scp ]]; then cp "$5" "${6#mine:}" || exit; else bash -c "${!##--command=}" & fi
done
for job in $(jobs -p); do wait "$job" || status=$?; done
exit "${status:-0}"
"""


class Cluster:
    """A copy of the project whose `.venv` is the Python of the tests, and commands that stand in for a cluster's."""

    def __init__(self, folder: Path):
        self.folder, self.root, self.bin, self.calls = folder, folder / "a copy", folder / "bin", folder / "calls"
        self.calls.touch()
        for name in ("launch", "ssl_jax", "configs"):
            shutil.copytree(ROOT / name, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("requirements.txt", "pyproject.toml"):
            shutil.copy(ROOT / name, self.root)
        self.venv(self.root)
        self.script(self.bin / "uv", "")  # installs nothing
        with socket.socket() as free:
            free.bind(("localhost", 0))
            self.port = free.getsockname()[1]
        mine = {name: value for name, value in environment().items() if name != "XLA_FLAGS" and "SLURM" not in name}
        self.environment = mine | {
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}", "CALLS": str(self.calls),
            "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2", "JAX_COORDINATOR_PORT": str(self.port),
        }  # fmt: skip

    def script(self, path: Path, text: str):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    def venv(self, root: Path):
        self.script(root / ".venv/bin/python", f'[[ "$2" == pip ]] || exec {sys.executable} "$@"')

    def start(self, *command, **environment) -> subprocess.Popen:
        return subprocess.Popen(
            list(map(str, command)), cwd=self.root, env=self.environment | environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def run(self, *command, **environment) -> subprocess.CompletedProcess:
        return end(self.start(*command, **environment))

    def sbatch(self, *arguments, **environment) -> subprocess.CompletedProcess:
        copy = shutil.copy(ROOT / "launch/slurm.sbatch", self.folder / "slurm_script")  # as SLURM does
        job = {"SLURM_SUBMIT_DIR": str(self.root), "SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "3"}
        return self.run("bash", copy, *arguments, **job, **environment)


def end(process: subprocess.Popen) -> subprocess.CompletedProcess:
    try:
        output, errors = process.communicate(timeout=300)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


@pytest.fixture
def cluster(tmp_path):
    return Cluster(tmp_path)


def assert_two_processes_finished(workdir: Path, *ran: subprocess.CompletedProcess):
    assert all(one.returncode == 0 for one in ran), "\n".join(one.stderr for one in ran)
    said = "".join(one.stdout for one in ran)
    assert said.count("4 x cpu, 2 processes") == 1 and said.count("finished: ") == 1  # process 0 speaks alone
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1] == json.loads(FINISHED) and [row["step"] for row in rows if "loss" in row] == [1, 2, 3]


def test_sbatch_file_asks_for_what_its_comment_says():
    text = (ROOT / "launch/slurm.sbatch").read_text()
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", text, re.M))
    assert options["ntasks-per-node"] == options["gpus-per-node"]
    assert {"requeue": "", "open-mode": "append", "signal": "TERM@120"}.items() <= options.items()
    assert text.rindex("#SBATCH") < text.index("set -euo pipefail")  # directives end at the first command


def test_slurm_trains_with_one_process_a_task(cluster):
    cluster.script(cluster.bin / "srun", SRUN)
    workdir = cluster.root / "runs/slurm"
    assert_two_processes_finished(workdir, cluster.sbatch(*TINY, "--workdir=runs/slurm"))
    step = "--cpus-per-task=3 --gpu-bind=none --kill-on-bad-exit=1 .venv/bin/python -m ssl_jax.pretrain --config="
    assert cluster.calls.read_text().startswith(step)


@pytest.mark.parametrize(
    ("row", "status", "flags", "calls"),
    [
        (INTERRUPTED, 0, ["--workdir=a b"], "requeue 7\n"),
        (INTERRUPTED, 0, ["--config", "c.py", "--workdir", "a b"], "requeue 7\n"),
        (FINISHED, 0, ["--workdir=a b"], ""),
        (INTERRUPTED, 1, ["--workdir=a b"], ""),
        (INTERRUPTED, 0, ["--workdir=a b", "--dry_run"], ""),
        (INTERRUPTED, 0, ["--workdir=a b", "--dry_run=true"], ""),
        (INTERRUPTED, 0, ["--workdir=nowhere"], ""),
    ],
)
def test_slurm_requeues_what_was_interrupted(cluster, row, status, flags, calls):
    write = f"mkdir -p 'a b' && echo '{row}' | tee 'a b/metrics.jsonl' >'a b/config.json'"
    cluster.script(cluster.bin / "srun", f"{write}; exit {status}")
    cluster.script(cluster.bin / "scontrol", 'echo "$*" >>"$CALLS"')
    ran = cluster.sbatch(*flags)
    assert ran.returncode == status and cluster.calls.read_text() == calls, ran.stderr


@pytest.mark.skipif(shutil.which("git") is None, reason="the launcher lists the checkout with git")
def test_tpu_workers_train_with_this_checkout(cluster):
    (cluster.root / ".gitignore").write_text(".venv\nruns\n__pycache__\n")
    cluster.run("git", "init", "--quiet")
    (cluster.root / "gone").touch()
    cluster.run("git", "add", ".")
    (cluster.root / "gone").unlink()
    (cluster.root / "configs/simclr.py").rename(cluster.root / "configs/my recipes.py")  # not committed
    cluster.script(cluster.bin / "gcloud", GCLOUD)
    homes = [cluster.folder / "workers" / worker for worker in "01"]
    for home in homes:
        cluster.venv(home / "ssl_jax")
    workdir = cluster.folder / "mounted/a run"
    ran = cluster.run(
        "bash", "launch/tpu_vm.sh", "--config=configs/my recipes.py:digits", *TINY[1:], f"--workdir={workdir}",
        TPU="mine", ZONE="here", WORKERS=str(homes[0].parent),
    )  # fmt: skip
    assert_two_processes_finished(workdir, ran)
    assert {path.name for path in (homes[1] / "ssl_jax").iterdir()} >= {"launch", ".venv", ".gitignore"}
    assert cluster.run("bash", "launch/tpu_vm.sh", TPU="mine").stderr.endswith("ZONE: names the zone of the TPU VM\n")


def test_jobset_fits_the_schemas_and_itself():
    kubernetes_validate.validate(CLAIM, "1.34", strict=True)
    jsonschema.validate(JOBSET, json.loads((ROOT / "tests/launch_jobset_schema.json").read_text()))
    job = JOBSET["spec"]["replicatedJobs"][0]["template"]["spec"]
    as_job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {}, "spec": job}
    kubernetes_validate.validate(as_job, "1.34", strict=True)
    container, pod = job["template"]["spec"]["containers"][0], job["template"]["spec"]
    environment = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert job["completionMode"] == "Indexed" and job["completions"] == job["parallelism"]
    assert int(environment["NUM_PROCESSES"]) == job["completions"] and pod["terminationGracePeriodSeconds"] >= 120
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == CLAIM["metadata"]["name"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


def pod(index: int, workdir: Path) -> tuple[list[str], dict[str, str]]:
    """The command and the environment of one pod, `$(NAME)` replaced as Kubernetes does: where NAME is known."""
    name, (workers,) = JOBSET["metadata"]["name"], JOBSET["spec"]["replicatedJobs"]
    (container,) = workers["template"]["spec"]["template"]["spec"]["containers"]
    environment = {entry["name"]: entry.get("value", name) for entry in container["env"]}
    environment |= {"JOB_COMPLETION_INDEX": str(index), "WORKDIR": str(workdir)}
    del environment["JAX_COMPILATION_CACHE_DIR"]
    command = container["command"] + container["args"]
    command = [re.sub(r"\$\((\w+)\)", lambda found: environment[found[1]], part) for part in command]
    assert f"--coordinator={name}-{workers['name']}-0-0.{name}:1234" in command  # pod 0's name in the JobSet's network
    return command, environment


def test_jobset_pods_train_as_one_run(cluster):
    cluster.venv(cluster.folder)
    (cluster.bin / "python").symlink_to(cluster.folder / ".venv/bin/python")
    pods, workdir = [], cluster.folder / "run"
    for index in range(2):
        command, environment = pod(index, workdir)
        command = [re.sub(r"(--coordinator=).*", rf"\1localhost:{cluster.port}", part) for part in command]
        at = next(place for place, part in enumerate(command) if part.startswith("--config="))
        pods.append(cluster.start(*command[:at], *TINY, *command[at + 1 :], **environment))
    assert_two_processes_finished(workdir, *map(end, pods))


@pytest.mark.parametrize(
    ("index", "row", "python_status", "status"),
    [(0, INTERRUPTED, 0, 75), (0, FINISHED, 0, 0), (1, INTERRUPTED, 0, 0), (0, INTERRUPTED, 3, 3)],
    ids=["interrupted", "finished", "not the first", "failed"],
)
def test_jobset_pod_passes_sigterm_on_and_says_whether_to_start_again(cluster, index, row, python_status, status):
    command, environment = pod(index, cluster.folder)
    leave = f"echo '{row}' >\"$WORKDIR/metrics.jsonl\"; sleep 0.3; exit {python_status}"
    python = f'leave() {{ {leave}; }}; trap leave TERM; touch "$WORKDIR/up"; while :; do sleep 0.1; done'
    cluster.script(cluster.bin / "python", python)
    process = cluster.start(*command, **environment)
    while not (cluster.folder / "up").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)  # to the shell alone
    assert end(process).returncode == status


def sourced(**environment) -> dict[str, str]:
    ran = subprocess.run(
        ["bash", "-c", "source launch/env.sh && source launch/env.sh && env"], cwd=ROOT, text=True, check=True,
        capture_output=True, env={"PATH": os.environ["PATH"], "HOME": "/home/me"} | environment,
    )  # fmt: skip
    return dict(line.split("=", 1) for line in ran.stdout.splitlines())


def test_environment_leaves_what_is_set():
    usual = sourced()
    assert usual["JAX_COMPILATION_CACHE_DIR"] == "/home/me/.cache/ssl_jax/jax" and "XLA_FLAGS" not in usual
    mine = {"NCCL_ALGO": "Tree", "XLA_PYTHON_CLIENT_MEM_FRACTION": ".5", "XLA_FLAGS": "--xla_gpu_autotune_level=4"}
    kept = sourced(SSL_JAX_DETERMINISTIC="1", **mine)
    assert kept.pop("XLA_FLAGS") == mine.pop("XLA_FLAGS") + " --xla_gpu_exclude_nondeterministic_ops=true"
    assert mine.items() <= kept.items() and kept["NCCL_PROTO"] == "Simple"


def test_this_jax_knows_every_flag():
    flags = sourced(SSL_JAX_DETERMINISTIC="1", JAX_NUM_CPU_DEVICES="2")["XLA_FLAGS"]
    assert len(flags.split()) == 3
    jax = [sys.executable, "-c", "import jax; jax.devices()"]  # XLA aborts on a flag that it does not know
    subprocess.run(jax, env=os.environ | {"XLA_FLAGS": flags}, check=True)
