"""The processes of one run: how they find one another, and how they end together.

    python -m ssl_jax.pretrain ... --coordinator=host0:1234 --num_processes=2 --process_id=0

joins two processes by hand. Under SLURM and Open MPI, on TPU slices and in Kubernetes pods that jax can see through,
the same command without these flags joins by itself. Process 0 writes all files and says everything.
"""

import importlib.util
import os
import re
import sys

import jax
from absl import flags

FLAGS = flags.FLAGS


def define_flags() -> None:
    """The flags of every command that may run as several processes."""
    flags.DEFINE_string("coordinator", None, "host:port of process 0, which serves there; the same for every process.")
    flags.DEFINE_integer("num_processes", None, "The number of processes of the run.", lower_bound=1)
    flags.DEFINE_integer("process_id", None, "Which of them this is, from 0.", lower_bound=0)
    flags.DEFINE_bool("distributed", False, "Ask jax for the other processes even where none are detected (TPU VMs).")
    flags.DEFINE_integer("heartbeat_timeout", 60, "Seconds after which a silent process counts as dead.", lower_bound=5)


def detected(environment) -> str | None:
    """What has started this process as one of several: "slurm", "ompi", "tpu", "kubernetes", or None.

    Args:
      environment: a mapping like `os.environ`.

    >>> detected({"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_NTASKS": "16", "SLURM_PROCID": "3"})
    'slurm'
    >>> detected({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "16"})  # the batch script itself, not started by srun
    """

    def several(name):
        return environment.get(name, "1").isdigit() and int(environment.get(name, "1")) > 1

    if {"SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_PROCID"} <= environment.keys() and several("SLURM_NTASKS"):
        return "slurm"
    if several("OMPI_COMM_WORLD_SIZE"):
        return "ompi"
    if "," in environment.get("TPU_WORKER_HOSTNAMES", "") or several("MEGASCALE_NUM_SLICES"):
        return "tpu"
    in_kubernetes = {"KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"} <= environment.keys()
    if in_kubernetes and importlib.util.find_spec("kubernetes"):
        return "kubernetes"
    return None


def join() -> None:
    """Joins the other processes, if there are any; before anything touches a device. Silences all but process 0.

    Raises:
      ValueError: only some of the three flags were given, or the others were not found.
    """
    by_hand = {name: FLAGS[name].value for name in ("coordinator", "num_processes", "process_id")}
    missing = [f"--{name}" for name, value in by_hand.items() if value is None]
    if missing and len(missing) < 3:
        raise ValueError(
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing: joining processes by hand needs "
            "--coordinator=host:port, --num_processes and --process_id; give all three, or none of them"
        )
    if not missing and by_hand["process_id"] >= by_hand["num_processes"]:
        raise ValueError(
            f"--process_id={by_hand['process_id']} with --num_processes={by_hand['num_processes']}: processes are "
            "counted from 0; give each of them its own number below --num_processes"
        )
    host, _, port = (by_hand["coordinator"] or "").rpartition(":")
    if not missing and not (host and re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) < 2**16):
        raise ValueError(
            f"--coordinator={by_hand['coordinator']} is no host and port from 1 to 65535; give host:port, such as "
            "node0:1234"
        )
    if missing and not FLAGS.distributed and detected(os.environ) is None:
        return
    where = "by --distributed" if missing else f"at --coordinator={by_hand['coordinator']}"
    arguments = {} if missing else {
        "coordinator_address": by_hand["coordinator"], "num_processes": by_hand["num_processes"],
        "process_id": by_hand["process_id"], "cluster_detection_method": "deactivate",
    }  # fmt: skip
    try:
        jax.distributed.initialize(
            **arguments,
            heartbeat_timeout_seconds=FLAGS.heartbeat_timeout,
            shutdown_timeout_seconds=FLAGS.heartbeat_timeout,
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"The other processes were not found {where}: {reason}") from error
    if jax.process_index() != 0:
        sys.stdout = open(os.devnull, "w")


def lost_another(error: BaseException) -> bool:
    """Whether an error is that of a collective or connection whose other end is gone."""
    signs = ("gloo", "nccl", "collective", "unavailable", "connection", "coordination", "heartbeat", "timed out")
    return jax.process_count() > 1 and any(sign in str(error).lower() for sign in signs)


def abandon(error: BaseException) -> None:
    """Ends this process at once, exit status 1; the others end when they miss it.

    An orderly exit would wait for processes that are dead or in a collective that will never complete.
    """
    reason = str(error).strip().splitlines()[0]
    print(
        f"error: process {jax.process_index()} of {jax.process_count()} stops, because another is gone ({reason}); "
        "start all of them again by the same command, and the run continues from its newest checkpoint",
        file=sys.stderr, flush=True,
    )  # fmt: skip
    os._exit(1)
