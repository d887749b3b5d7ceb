"""MoCo v3: its loss in float64 NumPy, what carries gradient, and transformers on any number of devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import methods
from ssl_jax.methods.api import Progress
from ssl_jax.models import vit
from ssl_jax.recipes import CONFIGS, config_module
from ssl_jax.train import experiment

BATCH = 16


@pytest.fixture
def transformer(monkeypatch):
    """cifar10_vit_ti with two blocks of width 8 on 8 x 8 digits."""
    monkeypatch.setitem(vit.SIZES, "test", dict(width=8, depth=2, heads=2))
    config = config_module(CONFIGS / "moco_v3.py").get_config("cifar10_vit_ti")
    config.model.size, config.model.heads, config.model.drop_path = "test", 0, 0.4
    config.model.projector.hidden_dims = config.model.predictor.hidden_dims = (8,)
    config.model.projector.output_dim = config.model.predictor.output_dim = 8
    config.augment = config_module(CONFIGS / "moco_v3.py").get_config("digits").augment
    config.compute_dtype, config.optim.name, config.optim.learning_rate = "float64", "sgd", 1.0
    config.data.source = "digits"
    config.train.batch_size, config.train.steps, config.train.epochs = BATCH, 5, 0
    config.optim.warmup_epochs = 0.0
    return config


def steps(config, batch, devices, count=3):
    config.parallel.devices = devices
    run = experiment.build(config, batch, examples=1437)
    state, losses = run.create(), []
    for _ in range(count):
        state, metrics = run.step(state, run.parallel.place(batch))
        losses.append(float(metrics["loss"]))
    return jax.device_get((state.params, state.method)), losses


def test_a_transformer_with_drop_path_agrees_on_any_number_of_devices(transformer, tiny_batch, x64):
    batch = tiny_batch(BATCH)
    one, losses = steps(transformer, batch, 1)
    for devices in (2, 8):
        many, other = steps(transformer, batch, devices)
        np.testing.assert_allclose(other, losses, rtol=1e-10)
        for (path, a), b in zip(jax.tree.leaves_with_path(many), jax.tree.leaves(one), strict=True):
            assert np.abs(a - b).max() <= max(1e-9 * np.abs(b).max(), 1e-13), jax.tree_util.keystr(path)
    transformer.model.drop_path = 0.0  # and the masks did something
    assert abs(steps(transformer, batch, 1)[1][0] - losses[0]) > 1e-6


def test_the_patch_projection_alone_is_frozen(tiny_batch, monkeypatch):
    monkeypatch.setitem(vit.SIZES, "test", dict(width=8, depth=1, heads=2))
    config = config_module(CONFIGS / "moco_v3.py").get_config("cifar10_vit_ti")
    config.model.size, config.model.heads, config.compute_dtype = "test", 0, "float32"
    config.model.projector.hidden_dims = config.model.predictor.hidden_dims = (8,)
    config.augment.size, config.parallel.devices = 8, 1
    config.train.batch_size, config.train.steps, config.train.epochs = 8, 10, 0
    config.optim.warmup_epochs = 0.0
    batch = tiny_batch(8, channels=3)
    run = experiment.build(config, batch, examples=800)
    state = run.create()
    before = np.asarray(state.params["encoder"]["patch_projection"]["kernel"]).copy()
    others = np.asarray(state.params["encoder"]["block_1"]["attention"]["qkv"]["kernel"]).copy()
    for _ in range(2):
        state, _ = run.step(state, run.parallel.place(batch))
    np.testing.assert_array_equal(before, state.params["encoder"]["patch_projection"]["kernel"])
    assert np.abs(others - state.params["encoder"]["block_1"]["attention"]["qkv"]["kernel"]).max() > 0


def cross_entropy(query, key, temperature):
    query, key = (np.float64(z) / np.linalg.norm(np.float64(z), axis=1, keepdims=True) for z in (query, key))
    logits = query @ key.T / temperature
    return np.mean(np.log(np.exp(logits).sum(axis=1)) - np.diag(logits))


def test_loss_is_algorithm_1(tiny, tiny_batch):
    config = tiny("moco_v3")
    config.method.temperature = 0.3
    method, batch = methods.build(config), tiny_batch(BATCH)
    example = {"image": jnp.asarray(batch["image"]), "index": jnp.asarray(batch["index"])}
    views = jax.jit(jax.vmap(method.views))(jax.random.split(jax.random.key(1), BATCH), example)
    params, state = jax.jit(method.init)(jax.random.key(0), views)
    assert "predictor" in params and set(state["teacher"]) == {"encoder", "projector"}
    progress = Progress(jnp.int32(0), 10)

    def local_loss(params, state):
        outputs, new = method.embed(params, state, views, jax.random.key(2), progress, None)
        return method.objective(params, outputs, new, progress, None)[0], outputs

    (loss, out), gradients = jax.jit(jax.value_and_grad(local_loss, argnums=0, has_aux=True))(params, state)
    t = config.method.temperature
    expected = cross_entropy(out["z_a"], out["z_b"], t) + cross_entropy(out["query_1"], out["key_0"], t)
    assert float(loss) == pytest.approx(2 * t * expected, rel=1e-5)
    assert np.abs(out["z_a"] - out["query_1"]).max() > 1e-3 and np.abs(out["z_b"] - out["key_0"]).max() > 1e-3
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradients["predictor"]))

    def through_the_teacher(teacher):
        return local_loss(params, state | {"teacher": teacher})[0]

    assert not any(np.any(leaf) for leaf in jax.tree.leaves(jax.jit(jax.grad(through_the_teacher))(state["teacher"])))
