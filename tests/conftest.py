"""Eight simulated CPU devices, strict broadcasting and a shared compilation cache for the whole suite."""

import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

FAST = "--xla_cpu_use_fusion_emitters=false"
USERS_FLAGS = os.environ.get("XLA_FLAGS", "").replace(FAST, "")  # pytest's workers inherit it
# Before the first use of jax: flags are read when the backend starts.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
    USERS_FLAGS + " --xla_force_host_platform_device_count=8"
    " --xla_cpu_collective_call_terminate_timeout_seconds=600"
)
# The suite and the processes that it starts spend their time compiling. Without optimizations and with XLA's older
# emitters, which unlike the newer ones heed that, a step compiles five times as fast. Flags hold for a process, so
# tests of bits and memory, which are of what users compile, are marked `as_users` and run in one of their own.
AS_USERS = "SSL_JAX_TESTS_AS_USERS" in os.environ
if not AS_USERS:
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    # Threads of XLA. A collective holds one until every device has come to it, and a device may wait in two of a
    # program: eight threads, one for each device, waited for one another for ever where nine losses were one program.
    os.environ["NPROC"] = "32"
if not AS_USERS and version("jaxlib").startswith("0.10."):  # later ones do not start with a flag that they do not know
    os.environ["XLA_FLAGS"] += f" {FAST}"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(tempfile.gettempdir()) / "ssl_jax_test_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

import jax
import numpy as np
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_addoption(parser):
    parser.addoption("--long_faults", action="store_true", help="repeat every fault as often as docs/reliability.md")
    parser.addoption("--require_parity", action="store_true", help="a comparison with PyTorch that is skipped fails")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.skipped and item.get_closest_marker("parity") and item.config.getoption("--require_parity"):
        report.outcome, report.longrepr = "failed", f"{item.nodeid} was skipped: {report.longrepr[-1]}"
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """A test marked `as_users` is run by pytest in a new process, which compiles as users do."""
    if AS_USERS or not pyfuncitem.get_closest_marker("as_users"):
        return None
    flags = {"SSL_JAX_TESTS_AS_USERS": "1", "XLA_FLAGS": USERS_FLAGS, "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}
    environment = {name: value for name, value in os.environ.items() if name != "NPROC"} | flags
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", f"{pyfuncitem.path}::{pyfuncitem.name}"], env=environment,
        cwd=pyfuncitem.config.rootpath, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0 and "1 passed" in ran.stdout, ran.stdout + ran.stderr
    return True


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_programs():
    """Every program holds memory maps, of which a process may have 65,530: the suite as a whole would exceed them."""
    yield
    jax.clear_caches()


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture
def x64():
    """Double precision for the length of one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def tiny():
    """`tiny("simclr")`: the smallest run of a method, unlocked, or another recipe made as small."""
    from ssl_jax import defaults
    from ssl_jax.recipes import CONFIGS, config_module

    def make(method="simclr", recipe="tiny"):
        config = config_module(CONFIGS / f"{method}.py").get_config(recipe).unlock()
        return config if recipe == "tiny" else defaults.smallest(config)

    return make


@pytest.fixture
def tiny_batch():
    """One batch as the pipeline gives it: `tiny_batch(16, channels=1)`."""

    def make(rows=16, size=8, channels=1):
        numbers = np.random.default_rng(0)
        return {
            "image": numbers.integers(0, 256, (rows, size, size, channels), dtype=np.uint8),
            "label": numbers.integers(0, 10, rows).astype(np.int32),
            "index": np.arange(rows, dtype=np.int32),
        }

    return make


@pytest.fixture
def own_data():
    """`own_data(config)`: the examples a method is trained on, of the kind of data that it takes, and its facts."""
    from ssl_jax import methods
    from ssl_jax.data import sources
    from ssl_jax.run import facts

    def load(config):
        source = sources.load(config.data, "train")
        known = facts.gather(None, config, source)
        return methods.read(source, config, known, train=True), known

    return load


@pytest.fixture
def own_batch(tiny_batch, own_data):
    """`own_batch(config, 16)`: a batch of the kind of data that a method takes, and its facts; images are noise."""
    from ssl_jax.data import pipeline

    def make(config, rows=16):
        if config.data.source == "digits":
            return tiny_batch(rows), {}
        examples, known = own_data(config)
        return pipeline.Batches(examples, batch_size=rows, seed=0)[0], known

    return make


@pytest.fixture
def poison(monkeypatch):
    """`poison(2, 3)`: the loss and all gradients of these steps, counted from 1, are nan."""
    import dataclasses

    import jax.numpy as jnp

    from ssl_jax import methods

    build = methods.build

    def poison(*steps):
        def build_poisoned(config, facts=None):
            method = build(config, facts)

            def objective(params, outputs, state, progress, axis_name):
                loss, state, metrics = method.objective(params, outputs, state, progress, axis_name)
                bad = jnp.isin(progress.step + 1, jnp.array(steps, jnp.int32))
                return loss * jnp.where(bad, jnp.nan, 1.0).astype(loss.dtype), state, metrics

            return dataclasses.replace(method, objective=objective)

        monkeypatch.setattr(methods, "build", build_poisoned)

    return poison
