"""Microbatches give the numbers of the batch encoded at once, for every method, and their memory does not grow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import collectives, methods
from ssl_jax.evaluation.online_probe import OnlineProbe
from ssl_jax.models import resnet, vit
from ssl_jax.recipes import CONFIGS, config_module
from ssl_jax.run import startup
from ssl_jax.train import experiment, microbatches, step
from ssl_jax.train.state import TrainState

BATCH = 16


@pytest.fixture
def small(tiny, x64, monkeypatch):
    """`small("simclr")`: no residual blocks, batch norm in four groups, views that are only flipped, float64, SGD."""
    monkeypatch.setitem(resnet.BLOCKS, 6, ())

    def make(name):
        config = tiny(name)
        config.compute_dtype, config.optim.name, config.optim.learning_rate = "float64", "sgd", 0.1
        if "blur_probability" in config.augment:
            config.augment.update(crop=False, flip_probability=0.5, jitter_probability=0.0)
            config.augment.update(greyscale_probability=0.0, blur_probability=0.0)
        if "norm_groups" in config.model:
            config.model.norm_groups = 4
        if "shuffle_norm" in config.method:
            config.method.shuffle_norm = False
        if config.method.get("queue_size", 0):
            config.method.queue_size = 2 * BATCH
        for layer in ("map", "layer"):
            if config.method.get(layer):
                config.method[layer] = "stem"
        return config

    return make


@pytest.fixture
def transformer(small, monkeypatch):
    """MoCo v3 with a tiny transformer that drops paths, and no batch norm at all."""
    monkeypatch.setitem(vit.SIZES, "test", dict(width=8, depth=2, heads=2))
    config = small("moco_v3")
    config.model = config_module(CONFIGS / "moco_v3.py").get_config("cifar10_vit_ti").model
    config.model.size, config.model.heads, config.model.drop_path, config.model.norm_groups = "test", 0, 0.4, 1
    for head in (config.model.projector, config.model.predictor):
        head.hidden_dims, head.output_dim, head.norm = (8,), 8, "none"
    return config


def build(config, batch, microbatches, devices=1, mode="shard_map", facts=None):
    config.train.microbatches, config.parallel.devices, config.parallel.mode = microbatches, devices, mode
    probe = OnlineProbe(10) if "label" in batch else None
    return experiment.build(config, batch, examples=1437, probe=probe, facts=facts)


def train(*arguments, steps=2, facts=None):
    """The state and the metrics after some steps."""
    run = build(*arguments, facts=facts)
    state, placed = run.create(), run.parallel.place(arguments[1])
    for _ in range(steps):
        state, metrics = run.step(state, placed)
    return jax.device_get((state.replace(key=jax.random.key_data(state.key)), metrics))


def assert_equal(found, expected):
    """Every leaf to 1e-9 of its size."""
    for (path, a), b in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(expected), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        # 1e-13: what is zero but for rounding, as the gradient of a bias before a norm
        bound = max(1e-9 * np.abs(b).max(initial=0), 1e-13)
        assert np.abs(a - b).max(initial=0) <= bound, jax.tree_util.keystr(path)


@pytest.mark.parametrize("name", methods.names())
def test_microbatches_are_the_batch_encoded_at_once(name, small, own_batch):
    config = small(name)
    batch, known = own_batch(config, BATCH)
    if methods.build(config, known).table_rows is not None:
        with pytest.raises(ValueError, match="set config.train.microbatches=1"):
            train(config, batch, 2, 4, facts=known)
        return
    assert_equal(train(config, batch, 2, 4, facts=known), train(config, batch, 1, facts=known))


def test_so_they_are_on_one_device_and_under_pmap(small, tiny_batch):
    config, batch = small("simclr"), tiny_batch(BATCH)
    whole = train(config, batch, 1)
    assert_equal(train(config, batch, 4), whole)
    assert_equal(train(config, batch, 4, 2, "pmap"), whole)


def test_randomness_inside_the_network_is_repeated(transformer, tiny_batch):
    batch = tiny_batch(BATCH)
    assert_equal(train(transformer, batch, 4), train(transformer, batch, 1))


def embed(params, state, batch, key, progress, axis_name, train=True):
    z = batch["x"] @ params["w"]
    mean = collectives.pmean(z.mean(axis=0), axis_name)
    first = jnp.full(len(z), collectives.all_gather(batch["index"], axis_name).min())  # of the rows encoded together
    return {"z": z, "index": batch["index"], "first": first}, {**state, "mean": 0.9 * state["mean"] + 0.1 * mean}


def objective(params, outputs, state, progress, axis_name):
    """Pairs of all rows, weighted by their places in the batch; what is gathered is kept."""
    z, index = outputs["z"], outputs["index"]
    everything, places = collectives.all_gather((z, index), axis_name)
    pairs = jnp.sin(z @ everything.T + params["b"]) * (1.0 + index)[:, None] * jnp.cos(places)[None]
    return pairs.mean(), {**state, "queue": everything, "places": places}, {"metric": z[0, 0]}


LINEAR = methods.Method(
    init=None, views=lambda key, example: example | {"x": example["x"] + jax.random.normal(key, (3,))},
    embed=embed, objective=objective, encode=None,
)  # fmt: skip


@pytest.mark.parametrize(("devices", "count"), [(1, 4), (3, 2), (4, 2), (2, 12), (4, 6)])
def test_rows_go_to_their_microbatches_and_outputs_come_back(devices, count, x64):
    """Any numbers of devices and microbatches; whole numbers among the outputs; what does not change keeps its bits."""
    numbers = np.random.default_rng(0)
    params = {"w": numbers.normal(size=(3, 2)), "b": np.float64(0.3)}
    kept = np.array([-0.0, np.nan, np.inf])
    state = {"mean": np.ones(2), "queue": np.zeros((48, 2)), "places": np.zeros(48, np.int32), "kept": kept}
    run = TrainState(jnp.int32(3), *jax.tree.map(jnp.asarray, (params, state)), (), {}, jax.random.key(7))
    batch = {"x": numbers.normal(size=(48, 3)), "index": np.arange(48, dtype=np.int32)}
    in_parts = microbatches.make(LINEAR, count, 48, devices, norm_groups=12, params=params, state=state, viewed={})

    def on_devices(differentiate):
        def local(batch):
            progress = methods.Progress(run.step, 10)
            (loss, (state, outputs, metrics, _)), gradients = differentiate(LINEAR, run, batch, progress, "data")
            return *collectives.pmean((loss, gradients, metrics), "data"), state, outputs

        rows = jax.tree.map(lambda x: x.reshape(devices, -1, *x.shape[1:]), batch)
        return jax.device_get(jax.jit(jax.vmap(local, axis_name="data"))(rows))

    expected, found = on_devices(step.gradient_of_batch), on_devices(in_parts)
    length = 48 // count
    np.testing.assert_array_equal(found[-1].pop("first").ravel(), batch["index"] // length * length)
    expected[-1].pop("first")
    assert all(row.tobytes() == kept.tobytes() for row in found[3]["kept"])
    for (path, x), y in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, err_msg=jax.tree_util.keystr(path))


@pytest.mark.parametrize(
    ("change", "devices", "message"),
    [
        ({"train.microbatches": 3}, 1, "microbatches is 3 and config.train.batch_size 16; expected"),
        ({"train.microbatches": 0}, 1, "microbatches is 0"),
        ({"train.microbatches": 8}, 4, "whose rows 4 devices can share evenly"),
        ({"train.microbatches": 8}, 1, "norm_groups 4, so that .* set norm_groups to a multiple of 8, such as 8"),
        ({"train.microbatches": 2, "model.norm_groups": 1}, 1, "norm_groups 1, so that .* to a multiple of 2"),
        ({"train.microbatches": 2, "method.shuffle_norm": True}, 1, "set config.method.shuffle_norm=False, or"),
    ],
)
def test_what_microbatches_cannot_do_gets_one_sentence(change, devices, message, small, tiny_batch):
    config = small("moco")
    config.update_from_flattened_dict(change)
    with pytest.raises(ValueError, match=message) as error:
        build(config, tiny_batch(BATCH), config.train.microbatches, devices)
    assert "\n" not in str(error.value)


def test_the_start_up_lines_say_it(transformer, tiny_batch):
    lines = {count: startup.lines(build(transformer, tiny_batch(BATCH), count), 1437) for count in (1, 4)}
    assert "in 4 microbatches of 4)" in lines[4][2] and "microbatch" not in " ".join(lines[1])


@pytest.mark.as_users
def test_memory_does_not_grow_with_the_batch(transformer, tiny_batch, monkeypatch):
    """At a fixed microbatch, a batch 16 times as large takes more memory for its embeddings alone."""
    monkeypatch.setitem(vit.SIZES, "test", dict(width=32, depth=1, heads=2))
    transformer.augment.size = 16

    def temporary(count):
        transformer.train.batch_size = 16 * count
        batch = tiny_batch(16 * count, 16)
        run = build(transformer, batch, count)
        return run.step.lower(run.abstract, run.parallel.place(batch)).compile().memory_analysis().temp_size_in_bytes

    assert temporary(32) < 1.05 * temporary(2)
