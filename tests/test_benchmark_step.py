"""`benchmarks/step.py` on tiny recipes: what it reports, and that both sides of its comparison are the same."""

import importlib.util
import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import step
from ssl_jax import methods
from ssl_jax.models import resnet, vit
from ssl_jax.run import startup
from ssl_jax.train import state

COMPARED = [name for name, case in step.CASES.items() if case.compared and case.whole]
TIMED = ("step", "augment", "network")


@pytest.fixture
def small(tiny, monkeypatch):
    """A tiny recipe on one device with 8 x 8 colour images, few layers and no jitter: seconds to compile."""
    monkeypatch.setitem(resnet.BLOCKS, 18, (1, 1, 1, 1))
    monkeypatch.setitem(vit.SIZES, "tiny", dict(width=16, depth=2, heads=2))

    def make(method, recipe):
        config = tiny(method, recipe)
        config.augment.size, config.parallel.devices = 8, 1
        config.augment.jitter_strength, config.augment.greyscale_probability = 0.0, 0.0
        return config

    return make


def measure(config, other=None):
    return step.measure(config, step.images(config, 10), classes=10, rounds=2, repeats=1, other=other)


def check(said, *others):
    """What is said of every recipe that is measured as a whole."""
    assert said["donated_share"] >= 0.99 and said["parameters"] > 0
    assert 0 < said["donated_mib"] <= said["argument_mib"] and said["temporary_mib"] > 0
    for name in (*TIMED, *others):
        assert said[f"{name}_ms"] > 0 and len(said["rounds_ms"][name]) == 2
        rate = said["batch_size"] / said[f"{name}_ms"] * 1e3
        assert said[f"{name}_examples_per_second"] == pytest.approx(rate)
        assert said[f"{name}_views_per_second"] == pytest.approx(2 * rate)
    assert json.loads(json.dumps(said)) == said
    row, headings = step.line("name", said), step.line("case")
    assert len(row) == len(headings) and f"{said['batch_size']}" in row and "-" not in row.split()[:7]


def test_simclr_and_its_counterpart_in_torch(small):
    installed = importlib.util.find_spec("torch") is not None
    other = partial(importlib.import_module("benchmarks.torch_models").Step, device="cpu") if installed else None
    said = measure(small("simclr", "cifar10_r18"), other)
    check(said, *(["torch"] if installed else []))
    assert said["network_optimizer"] == "sgd" and said["network_first_loss"] > 0
    if installed:
        assert said["parameters"] == said["torch_parameters"]
        assert said["torch_first_loss"] == pytest.approx(said["network_first_loss"], rel=1e-4)
        assert said["ratio"] == pytest.approx(said["network_ms"] / said["torch_ms"])


@pytest.mark.parity
def test_moco_v3_and_its_counterpart_in_torch(small):
    torch_models = pytest.importorskip("benchmarks.torch_models", exc_type=ImportError)
    config = small("moco_v3", "cifar10_vit_ti")
    config.model.heads = 2
    said = measure(config, partial(torch_models.Step, device="cpu"))
    check(said, "torch")
    assert said["parameters"] == said["torch_parameters"] and said["network_optimizer"] == "adamw"
    assert said["torch_first_loss"] == pytest.approx(said["network_first_loss"], rel=1e-4)


def test_a_queue_and_a_teacher_are_donated_and_a_missing_torch_is_a_dash(small):
    config = small("moco", "cifar10_r18")
    call, said = step.whole_step(config, step.images(config, 10), 10)
    queue, teacher = 4096 * 128 * 4, 4 * said["parameters"]
    assert said["donated_share"] >= 0.99
    assert said["donated_mib"] * 2**20 > queue + 2 * teacher
    assert all(np.isfinite(call(1)) for _ in range(2))
    said |= step.figures({name: [1.0] for name in TIMED}, 16) | {"batch_size": 16}
    assert step.line("moco", said).split()[-5:-3] == ["-", "-"]


def test_a_step_that_donates_nothing_would_be_noticed():
    first = {"params": jnp.ones((8, 8)), "key": jax.random.key(0)}

    def advance(state):
        return state | {"params": 2 * state["params"]}

    for donated, share in ((None, 0), (0, 1)):
        compiled = jax.jit(advance, donate_argnums=donated).lower(first).compile()
        assert step.memory(compiled, first)["donated_share"] == pytest.approx(share)


@pytest.mark.parity
@pytest.mark.parametrize("name", COMPARED)
def test_parameters_of_full_size_have_counterparts(name):
    torch_models = pytest.importorskip("benchmarks.torch_models", exc_type=ImportError)
    config = step.recipe(step.CASES[name], 2, "float32", ["train.epochs=7"])
    assert config.train.epochs == 7
    config.optim.name = {"lars": "sgd"}.get(config.optim.name, config.optim.name)
    batch = step.images(config, 10)
    method = methods.build(config)
    viewed = jax.eval_shape(lambda: state.sample_views(method, jax.random.key(0), batch))
    params, _ = jax.eval_shape(method.init, jax.random.key(0), viewed)
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), params)
    views = [np.zeros(viewed["view_0"].shape, np.float32)] * 2
    other = torch_models.Step(config, params, views, 0.1, "cpu")
    assert other.parameters == startup.count(params)


def test_a_mistake_in_the_layout_of_weights_is_refused():
    torch_models = pytest.importorskip("benchmarks.torch_models", exc_type=ImportError)
    module = torch_models.nn.ModuleDict({"dense_1": torch_models.nn.Linear(3, 2)})
    with pytest.raises(ValueError, match="dense_1.bias"):
        torch_models.load(module, {"dense_1": {"kernel": np.zeros((3, 2), np.float32)}})
