"""Strict mode: every number of devices gives the same bits, and they are the right ones."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ssl_jax.evaluation import health
from ssl_jax.evaluation.online_probe import OnlineProbe
from ssl_jax.train import experiment, parallel
from ssl_jax.train.strict import program


@pytest.fixture(autouse=True)
def forget_compiled_segments():
    """A strict step is more than a hundred programs."""
    yield
    jax.clear_caches()


def train(config, batch, devices, strict=True, steps=3):
    """The state and the metrics of the last step."""
    config.parallel.devices, config.parallel.strict = devices, strict
    run = experiment.build(config, batch, examples=1437, probe=OnlineProbe(10), signals=health.signals)
    state, placed = run.create(), run.parallel.place(batch)
    for _ in range(steps):
        state, metrics = run.step(state, placed)
    return jax.device_get((state.replace(key=jax.random.key_data(state.key)), metrics))


@pytest.mark.as_users
def test_a_run_is_the_same_bit_for_bit_on_any_number_of_devices(tiny, tiny_batch):
    config, batch = tiny(), tiny_batch()
    reference = train(config, batch, 8)
    for devices in (1, 2, 4):
        found = train(config, batch, devices)
        for (path, a), b in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(reference), strict=True):
            assert a.dtype == b.dtype and a.tobytes() == b.tobytes(), (devices, jax.tree_util.keystr(path))


@pytest.mark.as_users
def test_queue_teacher_and_groups_are_the_same_bit_for_bit(tiny, tiny_batch):
    config, batch = tiny("moco"), tiny_batch()
    config.method.queue_size, config.method.momentum = 48, 0.9
    reference = train(config, batch, 4)
    found = train(config, batch, 1)
    for (path, a), b in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(reference), strict=True):
        assert a.dtype == b.dtype and a.tobytes() == b.tobytes(), jax.tree_util.keystr(path)


def test_strict_steps_are_those_of_the_plain_mode(tiny, tiny_batch, x64):
    config, batch = tiny(), tiny_batch()
    config.compute_dtype, config.optim.name = "float64", "sgd"
    strict, plain = train(config, batch, 2), train(config, batch, 2, strict=False)
    for (path, a), b in zip(jax.tree.leaves_with_path(strict), jax.tree.leaves(plain), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        assert np.abs(a - b).max() <= 1e-9 * max(np.abs(b).max(), 1e-30), jax.tree_util.keystr(path)


@pytest.mark.parametrize("devices", [1, 4])
def test_every_collective_is_that_of_as_many_devices(devices, x64):
    """The blocks of few devices communicate as eight real devices do."""

    def step(state, batch, axis_name):
        x = batch["x"]
        ring = [(i, (i + 3) % 8) for i in range(8)]
        mixed = jax.jit(lambda x: lax.psum(x, axis_name) + lax.pmax(x, axis_name) * lax.pmin(x, axis_name))(x)
        scattered = lax.psum_scatter(lax.all_gather(x * x, axis_name, tiled=True), axis_name, tiled=True)
        stacked = lax.all_gather(x, axis_name)
        own = lax.axis_index(axis_name) * lax.ppermute(x, axis_name, ring[:5]) + scattered
        gradient = jax.grad(lambda x: jnp.sum(jnp.tanh(lax.all_gather(x, axis_name, tiled=True))) ** 2)(x)
        values = (mixed, stacked, lax.psum(own, axis_name), lax.pmean(gradient, axis_name), lax.psum(1.0, axis_name))
        return state, {str(i): value for i, value in enumerate(values)}

    batch = {"x": np.random.default_rng(0).standard_normal((16, 3))}
    plain = parallel.make("shard_map", 8, 16)
    _, expected = plain.compile(step)({"step": jnp.int32(0)}, plain.place(batch))
    strict = parallel.make("shard_map", devices, 16, blocks=8)
    _, found = strict.compile(step)({"step": jnp.int32(0)}, strict.place(batch))
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-12, err_msg=name)


def test_loops_of_known_length_communicate(x64):
    """A ring inside a scan, backwards and differentiated: as on four devices, and the same bits on one."""

    def step(state, batch, axis_name):
        ring, rows = [(i, (i + 1) % 4) for i in range(4)], jnp.arange(6.0).reshape(2, 3)

        def turn(carried, row):
            x, total = lax.ppermute(carried[0], axis_name, ring), carried[1]
            return (x, total + lax.psum(jnp.tanh(x @ row).sum(), axis_name)), x[0] * row[0]

        def loss(x):
            (x, total), found = lax.scan(turn, (x, jnp.zeros(())), rows, reverse=True)
            return total + jnp.sum(jnp.sin(found) * rows), (x, found)

        values = jax.value_and_grad(loss, has_aux=True)(batch["x"])
        counted = lax.fori_loop(0, 3, lambda i, x: x + i * lax.psum(x, axis_name), batch["x"].sum())
        return state, lax.pmean({"scan": values, "fori": counted}, axis_name)

    batch, state = {"x": np.random.default_rng(0).standard_normal((8, 3))}, {"step": jnp.int32(0)}
    places = {devices: parallel.make("shard_map", devices, 8, blocks=4) for devices in (1, 4)}
    places["plain"] = parallel.make("shard_map", 4, 8)
    found = {name: jax.device_get(at.compile(step)(state, at.place(batch))[1]) for name, at in places.items()}
    for one, four, plain in zip(*map(jax.tree.leaves, found.values()), strict=True):
        assert one.tobytes() == four.tobytes()
        np.testing.assert_allclose(one, plain, rtol=1e-12)


def test_what_strict_mode_cannot_do_is_refused():
    def in_a_loop(state, batch, axis_name):
        longer = lambda x: lax.psum(x, axis_name)  # noqa: E731
        return state, {"x": lax.while_loop(lambda x: x < 1e6, longer, batch["x"].sum())}

    def in_a_branch(state, batch, axis_name):
        branches = lambda x: lax.psum(x, axis_name), lambda x: x  # noqa: E731
        return state, {"x": lax.cond(state["step"] > 0, *branches, batch["x"].sum())}

    def unequal(state, batch, axis_name):
        return state, {"x": batch["x"].sum()}

    def by_another_collective(state, batch, axis_name):
        return state, {"x": lax.psum(lax.all_to_all(jnp.ones((8, 1)), axis_name, 0, 1).sum(), axis_name)}

    batch = {"x": np.ones((16, 3), np.float32)}
    refused = (
        (in_a_loop, "communicates inside while"), (in_a_branch, "communicates inside cond"),
        (unequal, "differs between devices"), (by_another_collective, "all_to_all"),
    )  # fmt: skip
    for step, sentence in refused:
        strict = parallel.make("shard_map", 2, 16, blocks=8)
        with pytest.raises(ValueError, match=sentence):
            strict.compile(step)({"step": jnp.int32(0)}, strict.place(batch))
    for devices, blocks, sentence in ((8, 4, "each of 8 devices needs one"), (2, 6, "power of two")):
        with pytest.raises(ValueError, match=sentence):
            parallel.make("shard_map", devices, 24, blocks=blocks).compile(unequal)
    with pytest.raises(ValueError, match="works with shard_map alone"):
        parallel.make("pmap", 2, 16, blocks=8)
    strict = parallel.make("shard_map", 2, 12, blocks=8)
    with pytest.raises(ValueError, match="cannot share evenly"):
        strict.compile(unequal)({"step": jnp.int32(0)}, strict.place({"x": np.ones((12, 3), np.float32)}))


def test_a_program_has_its_collectives_on_top_and_nothing_that_is_not_needed():
    def step(x, axis_name):
        unused = jnp.sin(x)
        return jax.jit(lambda x: jnp.cos(lax.psum(x, axis_name)))(x), jnp.exp(x), (unused, 1)[1]

    traced, _ = program.trace(partial(step, axis_name="block"), "block", 4, jnp.ones(3))
    names = [operation.primitive.name for operation in traced.operations]
    assert names.count("psum") == 1 and "sin" not in names and "cos" in names
