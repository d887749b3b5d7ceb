"""One step for every method: the same numbers on any number of devices, and nothing but the encoder's loss moves it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssl_jax import methods
from ssl_jax.evaluation import health
from ssl_jax.evaluation.online_probe import OnlineProbe
from ssl_jax.train import experiment, nonfinite, step


def train(config, batch, *, mode="shard_map", devices=1, steps=5, probe=True, facts=None):
    """The state and all metrics of `steps` steps on the same examples, and the parameters before them."""
    config.parallel.mode, config.parallel.devices = mode, devices
    probe = OnlineProbe(10) if probe and "label" in batch else None
    run = experiment.build(config, batch, examples=1437, probe=probe, signals=health.signals, facts=facts)
    state, placed = run.create(), run.parallel.place(batch)
    initial, history = jax.device_get(state.params), []
    for _ in range(steps):
        state, metrics = run.step(state, placed)
        history.append(jax.device_get(metrics))
    return jax.device_get(state.replace(key=jax.random.key_data(state.key))), history, initial


def emulate(config, batch, devices, steps=5):
    """The same, with `jax.vmap` standing in for the devices."""
    config.parallel.devices = 1
    run = experiment.build(config, batch, examples=1437)
    method = methods.build(config)
    optimizer, learning_rate = run_optimizer(config, run)
    body = step.make_step(method, optimizer, learning_rate, steps=steps)
    mapped = jax.jit(jax.vmap(partial(body, axis_name="data"), in_axes=(None, 0), out_axes=0, axis_name="data"))
    rows = {name: value.reshape(devices, -1, *value.shape[1:]) for name, value in batch.items()}
    state = run.create()
    for _ in range(steps):
        stacked, metrics = mapped(state, rows)
        state = jax.tree.map(lambda leaf: leaf[0], stacked)
    return state, stacked, metrics


def run_optimizer(config, run):
    from ssl_jax.train import optim

    params = run.abstract.params
    return optim.build(
        config.optim, params, run.method.groups(params),
        batch_size=config.train.batch_size, steps=run.steps, steps_per_epoch=run.steps_per_epoch,
    )  # fmt: skip


def leaf_name(path):
    return jax.tree_util.keystr(path, simple=True, separator="/")


def assert_leaves_close(a, b, tolerance):
    for (path, x), y in zip(jax.tree.leaves_with_path(a), jax.tree.leaves(b), strict=True):
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        # 1e-15: what is zero but for rounding, as the means behind a norm without offset
        assert np.abs(x - y).max(initial=0) <= max(tolerance * np.abs(y).max(initial=0), 1e-15), leaf_name(path)


CROSSED = ("simclr", "moco")


@pytest.mark.parametrize("name", methods.names())
def test_five_steps_agree_on_any_number_of_devices(name, tiny, own_batch, x64):
    """Every method on 8 devices; those with the most communication on other numbers and by pmap, too."""
    config = tiny(name)
    batch, known = own_batch(config)
    config.compute_dtype = "float64"
    config.optim.name = "sgd"
    config.optim.learning_rate, config.optim.scaling = 1.0 if name == "simsiam" else 0.1, "none"
    if "blur_probability" in config.augment:  # every kind of randomness that a view can hold
        config.augment.update(blur_probability=0.5, solarise_probability=0.2, jitter_probability=0.8)
    one, history, initial = train(config, batch, facts=known)
    topologies = ("shard_map", 8), ("pmap", 2), ("shard_map", 4)
    for mode, devices in topologies if name in CROSSED else topologies[:1]:
        many, other, _ = train(config, batch, mode=mode, devices=devices, facts=known)
        assert_leaves_close(many, one, 1e-9)
        assert_leaves_close(other, history, 1e-9)
    # The comparison means something: every trained leaf has moved.
    for (path, before), after in zip(
        jax.tree.leaves_with_path(initial), jax.tree.leaves(one.params), strict=True
    ):
        scale = np.abs(after).max()
        assert np.abs(after - before).max() > 1e-3 * scale, jax.tree_util.keystr(path)


def test_first_loss_in_float32_agrees_and_every_device_holds_the_same_state(tiny, tiny_batch):
    config, batch = tiny(), tiny_batch()
    losses = {}
    for devices in (1, 8):
        config.parallel.devices = devices
        run = experiment.build(config, batch, examples=1437)
        state, metrics = run.step(run.create(), run.parallel.place(batch))
        losses[devices] = float(metrics["loss"])
        for leaf in jax.tree.leaves(state.params) + jax.tree.leaves(state.method):
            shards = [np.asarray(shard.data) for shard in leaf.addressable_shards]
            assert len(shards) == devices and leaf.shape == shards[0].shape
            assert all(np.array_equal(shard, shards[0]) for shard in shards)
    assert losses[8] == pytest.approx(losses[1], rel=1e-6)


def test_vmap_emulates_devices(tiny, tiny_batch, x64):
    config, batch = tiny(), tiny_batch()
    config.compute_dtype = "float64"
    one, *_ = train(config, batch, probe=False)
    state, stacked, _ = emulate(config, batch, 4)
    assert_leaves_close(state.params, one.params, 1e-9)
    for leaf in jax.tree.leaves((stacked.params, stacked.method)):
        assert_leaves_close([leaf[0]] * 3, list(leaf[1:]), 1e-12)


def test_views_depend_on_the_position_in_the_global_batch_alone(tiny, tiny_batch):
    config, batch = tiny(), tiny_batch()
    views = jax.jit(jax.vmap(methods.build(config).views))
    key = jax.random.key(3)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, batch["index"])
    whole = views(keys, batch)
    half = views(keys[8:], {name: rows[8:] for name, rows in batch.items()})
    for name, rows in half.items():
        np.testing.assert_allclose(whole[name][8:], rows, atol=1e-6)
    assert not np.allclose(whole["view_0"], whole["view_1"])


@pytest.mark.as_users
def test_a_probe_cannot_move_the_encoder(tiny, tiny_batch):
    config, batch = tiny(), tiny_batch()
    watched, history, _ = train(config, batch, probe=True)
    alone, *_ = train(config, batch, probe=False)
    for a, b in zip(jax.tree.leaves((watched.params, watched.method)),
                    jax.tree.leaves((alone.params, alone.method)), strict=True):  # fmt: skip
        assert np.array_equal(a, b)
    assert np.abs(watched.probe["params"]["kernel"]).max() > 0  # and the probe did learn
    assert history[-1]["probe_loss"] < history[0]["probe_loss"]


def test_the_first_value_that_is_not_finite_is_named():
    gradients = {"a": jnp.ones(3), "b": {"c": jnp.array([1.0, jnp.nan]), "d": jnp.array([jnp.inf])}}
    names = nonfinite.leaf_names(gradients)
    norm, position = nonfinite.first_nonfinite(jnp.float32(1.0), gradients)
    assert names[int(position)] == "b/c" and not np.isfinite(norm)
    assert names[int(nonfinite.first_nonfinite(jnp.float32(jnp.nan), gradients)[1])] == "loss"
    finite = {"a": jnp.ones(4)}
    norm, position = nonfinite.first_nonfinite(jnp.float32(1.0), finite)
    assert int(position) == -1 and float(norm) == pytest.approx(float(optax.global_norm(finite)))


def test_a_step_that_is_not_finite_leaves_the_state_but_for_its_clocks(poison, tiny, tiny_batch):
    poison(2)
    config, batch = tiny(), tiny_batch()
    config.optim.name = "adamw"
    config.optim.groups.vectors.frozen_steps = 3
    config.train.on_nonfinite = "skip"
    config.parallel.devices = 2
    run = experiment.build(config, batch, examples=1437)
    state, states, nonfinite = run.create(), [], []
    for _ in range(3):
        state, metrics = run.step(state, run.parallel.place(batch))
        nonfinite.append(int(metrics["nonfinite"]))
        plain = jax.device_get(state.replace(key=jax.random.key_data(state.key)))
        states.append({leaf_name(path): leaf for path, leaf in jax.tree.leaves_with_path(plain)})
    before, skipped, after = states
    changed = {path for path in before if not np.array_equal(before[path], skipped[path])}
    clocks = {path for path in changed if before[path].shape == () and skipped[path] == before[path] + 1}
    # The run's step, that of the learning rate, and that of the frozen group; Adam's count is one of moments.
    assert changed == clocks and len(clocks) == 3 and "step" in clocks
    assert nonfinite == [-1, 0, -1]
    assert all(np.isfinite(np.asarray(leaf, np.float64)).all() for leaf in after.values())
    trained = [path for path in before if path.startswith("params/") and path.endswith("/kernel")]
    assert trained and all(not np.array_equal(before[path], after[path]) for path in trained)


def test_without_skipping_a_step_that_is_not_finite_is_done(poison, tiny, tiny_batch):
    poison(2)
    state, history, _ = train(tiny(), tiny_batch(), steps=2)
    assert int(history[1]["nonfinite"]) == 0 and np.isnan(history[1]["loss"])
    assert np.isnan(state.params["encoder"]["stem_conv"]["kernel"]).all()


def test_clocks_go_on_and_moments_stay():
    params = {"a": jnp.ones(2), "b": jnp.ones(3)}
    freeze = optax.conditionally_mask(optax.adam(lambda count: 0.1), lambda count: count >= 0)
    optimizer = optax.chain(
        optax.partition({"a": freeze, "b": optax.trace(0.9)}, {"a": "a", "b": "b"}), optax.adam(lambda count: 0.1)
    )
    old = optimizer.init(params)
    _, new = optimizer.update(params, old, params)
    kept = nonfinite.advance_counts(old, new)
    assert jax.tree.structure(kept) == jax.tree.structure(old)
    clocks = {leaf_name(path) for path, leaf in jax.tree.leaves_with_path(kept) if np.asarray(leaf).any()}
    inside = "0/inner_states/a/inner_state"
    assert clocks == {f"{inside}/step", f"{inside}/inner_state/1/count", "1/1/count"}


def test_every_computes_on_its_steps_only():
    run = jax.jit(lambda count: step.every(3, count, lambda x: {"y": x + 1}, jnp.float32(1)))
    np.testing.assert_array_equal([float(run(count)["y"]) for count in range(4)], [2, np.nan, np.nan, 2])


def test_dropout_of_linen_is_not_used():
    """It draws one mask on every shard, so the number of devices would change the mathematics."""
    from pathlib import Path

    package = Path(methods.__file__).parent.parent
    users = [path.name for path in package.rglob("*.py") if "nn.Dropout" in path.read_text()]
    assert not users
