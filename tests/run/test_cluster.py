"""Joining the processes of a run: what starts them is recognised, and what was forgotten is said."""

import functools
import os
import sys
import types

import jax
import pytest
from absl import flags

from ssl_jax.run import cluster

SLURM = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}
OMPI = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"}
KUBERNETES = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}
BY_HAND = ("--coordinator=host0:1234", "--num_processes=2", "--process_id=1")


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, None),
        (SLURM, "slurm"),
        (SLURM | {"SLURM_NTASKS": "1"}, None),
        (SLURM | {"SLURM_NTASKS": "many"}, None),
        ({name: value for name, value in SLURM.items() if name != "SLURM_STEP_NODELIST"}, None),  # the batch script
        ({name: value for name, value in SLURM.items() if name != "SLURM_PROCID"}, None),
        (OMPI, "ompi"),
        (OMPI | {"OMPI_COMM_WORLD_SIZE": "1"}, None),
        ({"TPU_WORKER_HOSTNAMES": "10.0.0.1,10.0.0.2"}, "tpu"),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, None),
        ({"TPU_WORKER_HOSTNAMES": "localhost", "MEGASCALE_NUM_SLICES": "2"}, "tpu"),
        ({"MEGASCALE_NUM_SLICES": "1"}, None),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, None),  # a pod, but not of an indexed job
    ],
)
def test_what_has_started_several_processes_is_recognised(environment, found):
    assert cluster.detected(environment | {"HOME": "/root"}) == found


@pytest.mark.parametrize("installed", [True, False])
def test_kubernetes_is_recognised_where_jax_can_see_through_it(installed, monkeypatch):
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: name == "kubernetes" and installed or None)
    assert cluster.detected(KUBERNETES) == ("kubernetes" if installed else None)


@pytest.fixture
def join(monkeypatch):
    """`join("--process_id=0", environment={...})`: what jax was asked, None if nothing."""
    for name in SLURM | OMPI | KUBERNETES | dict.fromkeys(("TPU_WORKER_HOSTNAMES", "MEGASCALE_NUM_SLICES")):
        monkeypatch.delenv(name, raising=False)

    def join(*arguments, environment=(), answer=lambda: None):
        values, asked = flags.FlagValues(), []
        kinds = ("DEFINE_string", "DEFINE_integer", "DEFINE_bool")
        own = {name: functools.partial(getattr(flags, name), flag_values=values) for name in kinds}
        monkeypatch.setattr(cluster, "flags", types.SimpleNamespace(**own))
        monkeypatch.setattr(cluster, "FLAGS", values)
        for name, value in dict(environment).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(jax.distributed, "initialize", lambda **options: asked.append(options) or answer())
        cluster.define_flags()
        values(["command", *arguments])
        cluster.join()
        return asked[0] if asked else None

    return join


def test_one_process_joins_nothing(join):
    assert join() is None


def test_flags_join_by_hand(join):
    assert join(*BY_HAND, "--heartbeat_timeout=10", environment=SLURM) == {
        "coordinator_address": "host0:1234", "num_processes": 2, "process_id": 1,
        "cluster_detection_method": "deactivate",  # the flags count, whatever the environment says
        "heartbeat_timeout_seconds": 10, "shutdown_timeout_seconds": 10,
    }  # fmt: skip


@pytest.mark.parametrize(("arguments", "environment"), [((), OMPI), (("--distributed",), {})])
def test_jax_finds_the_others_where_they_are_detected_or_asked_for(join, arguments, environment):
    asked = {"heartbeat_timeout_seconds": 60, "shutdown_timeout_seconds": 60}
    assert join(*arguments, environment=environment) == asked


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (BY_HAND[:2], "^--process_id is missing: .*give all three, or none of them"),
        (BY_HAND[2:], "^--coordinator, --num_processes are missing"),
        ((*BY_HAND[:2], "--process_id=2"), "--process_id=2 with --num_processes=2: processes are counted from 0"),
        (("--coordinator=host0", *BY_HAND[1:]), "--coordinator=host0 is no host and port .*; give host:port"),
        (("--coordinator=host0:", *BY_HAND[1:]), "--coordinator=host0: is no host and port"),
        (("--coordinator=host0:99999", *BY_HAND[1:]), "host0:99999 is no host and port from 1 to 65535"),
        (("--coordinator=:1234", *BY_HAND[1:]), "--coordinator=:1234 is no host and port"),
    ],
)
def test_flags_that_do_not_fit_are_refused(join, arguments, message):
    with pytest.raises(ValueError, match=message):
        join(*arguments)


def test_processes_that_are_not_found_are_an_error_in_one_line(join):
    def unreachable():
        raise RuntimeError("DEADLINE_EXCEEDED: Barrier timed out.\nmore of it\nand more")

    with pytest.raises(ValueError, match=r"not found at --coordinator=host0:1234: DEADLINE_EXCEEDED: .* out\.$"):
        join(*BY_HAND, answer=unreachable)
    with pytest.raises(ValueError, match="not found by --distributed: DEADLINE"):
        join("--distributed", answer=unreachable)


def test_all_processes_but_the_first_are_silent(join, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # put back afterwards
    join(*BY_HAND)
    print("the first")
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    join(*BY_HAND)
    print("another")
    assert sys.stdout.name == os.devnull
    sys.stdout.close()
    assert capsys.readouterr().out == "the first\n"
