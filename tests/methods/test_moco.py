"""MoCo v1 and v2: the queue is a ring, the groups are shuffled, drift and signals are what they say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import methods, monitor
from ssl_jax.evaluation import health
from ssl_jax.methods.api import Progress
from ssl_jax.run import termination
from ssl_jax.train import experiment, parallel

BATCH, QUEUE = 16, 48


@pytest.fixture
def moco(tiny):
    def make(**method):
        config = tiny("moco")
        config.parallel.devices = 1
        config.method.queue_size = QUEUE
        config.method.update(method)
        return config

    return make


def train(config, batches, steps):
    """States before and after every step, and the metrics."""
    run = experiment.build(config, batches(0), examples=1437, signals=health.signals)
    state, states, rows = run.create(), [], []
    for step in range(steps):
        states.append(jax.device_get(state.replace(key=jax.random.key_data(state.key))))
        state, metrics = run.step(state, run.parallel.place(batches(step)))
        rows.append(jax.device_get(metrics))
    return run, state, states, rows


@pytest.fixture
def batches(tiny_batch):
    def batch(step):
        rows = tiny_batch(BATCH)
        images = np.random.default_rng(step).integers(0, 256, rows["image"].shape, dtype=np.uint8)
        return rows | {"image": images}

    return batch


def test_the_queue_is_a_ring_of_the_last_batches(moco, batches):
    run, last, states, rows = train(moco(), batches, 5)
    queues = [state.method["queue"] for state in states] + [np.asarray(last.method["queue"])]
    turn = QUEUE // BATCH
    for step in range(5):
        place = np.arange(step % turn * BATCH, (step % turn + 1) * BATCH)
        others = np.setdiff1d(np.arange(QUEUE), place)
        np.testing.assert_array_equal(queues[step][others], queues[step + 1][others])
        assert not np.any(np.all(queues[step][place] == queues[step + 1][place], axis=1))
        np.testing.assert_allclose(np.linalg.norm(queues[step + 1], axis=1), 1, rtol=1e-5)
    assert int(last.method["queue_pointer"]) == 5 % turn * BATCH
    np.testing.assert_array_equal(last.method["queue_step"], np.repeat([3, 4, 2], BATCH))
    # In turns of the queue: the oldest key is one turn old from the moment that the queue has filled up.
    np.testing.assert_allclose([row["queue_age"] for row in rows], [1 / 3, 2 / 3, 1, 1, 1], rtol=1e-6)


def by_hand(config, batch):
    """What one step hands on: outputs of `embed`, and the state of `objective`."""
    method = methods.build(config)
    example = {"image": jnp.asarray(batch["image"]), "index": jnp.asarray(batch["index"])}
    views = jax.jit(jax.vmap(method.views))(jax.random.split(jax.random.key(1), BATCH), example)
    params, state = jax.jit(method.init)(jax.random.key(0), views)
    progress = Progress(jnp.int32(7), 10)
    outputs, state = jax.jit(lambda *a: method.embed(*a, progress, None))(params, state, views, jax.random.key(2))
    loss, after, metrics = method.objective(params, outputs, state, progress, None)
    return outputs, state, after, loss, metrics


def unit(x):
    x = np.asarray(x, np.float64)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def cross_entropy(query, key, queue, temperature):
    logits = np.concatenate([np.sum(query * key, axis=1, keepdims=True), query @ queue.T], axis=1) / temperature
    return np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[:, 0])


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_loss_knows_the_queue_as_it_was_before_the_batch(moco, batches, symmetric):
    config = moco(symmetric=symmetric, queue_size=64)
    outputs, state, after, loss, metrics = by_hand(config, batches(0))
    q_0, k_1, queue = unit(outputs["z_a"]), unit(outputs["z_b"]), np.float64(state["queue"])
    t = config.method.temperature
    expected, came = cross_entropy(q_0, k_1, queue, t), k_1
    if symmetric:
        q_1, k_0 = unit(outputs["query_1"]), unit(outputs["key_0"])
        expected, came = expected + cross_entropy(q_1, k_0, queue, t), np.concatenate([k_0, k_1])
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(after["queue"][: len(came)], came, atol=1e-6)
    assert np.all(after["queue_step"][: len(came)] == 7) and np.all(after["queue_step"][len(came) :] == -1)
    assert float(metrics["chance_loss"]) == pytest.approx((1 + symmetric) * np.log(65), rel=1e-6)


def test_keys_change_with_their_groups_and_queries_do_not(moco, batches, x64):
    def outputs(**method):
        config = moco(**method)
        config.compute_dtype = "float64"
        return config, by_hand(config, batches(0))[0]

    (_, still), (config, shuffled) = outputs(shuffle_norm=False), outputs(shuffle_norm=True)
    np.testing.assert_allclose(still["z_a"], shuffled["z_a"], atol=1e-12)
    assert np.abs(still["z_b"] - shuffled["z_b"]).max() > 1e-3
    config.model.norm_groups = 1  # with one group there is nothing to shuffle
    one = by_hand(config, batches(0))[0]
    config.method.shuffle_norm = False
    np.testing.assert_allclose(one["z_b"], by_hand(config, batches(0))[0]["z_b"], atol=1e-12)


def test_teacher_keeps_its_own_statistics_and_gets_no_gradient(moco, batches):
    _, last, states, _ = train(moco(momentum=0.5), batches, 2)
    first = states[0].method
    for a, b in zip(jax.tree.leaves(first["teacher"]), jax.tree.leaves(states[0].params), strict=True):
        np.testing.assert_array_equal(a, b)
    one, two = states[1], jax.device_get(last.replace(key=jax.random.key_data(last.key)))
    for before, trained, after in zip(
        jax.tree.leaves(one.method["teacher"]), jax.tree.leaves(two.params), jax.tree.leaves(two.method["teacher"]),
        strict=True,
    ):  # fmt: skip
        np.testing.assert_allclose(after, 0.5 * before + 0.5 * trained, atol=1e-6)
    mean = [state["encoder"]["stem_norm"]["mean"] for state in (two.method["batch_stats"], two.method["teacher_stats"])]
    assert np.abs(mean[0] - mean[1]).max() > 1e-4


def test_signals_are_their_formulas(moco, batches):
    _, _, states, rows = train(moco(momentum=0.9), batches, 3)
    state, row = states[2], rows[2]
    queue = unit(state.method["queue"])
    cosine = queue @ queue.T
    assert row["queue_diversity"] == pytest.approx(1 - cosine[~np.eye(QUEUE, dtype=bool)].mean(), rel=1e-4)
    teacher, student = (
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])
        for tree in (state.method["teacher"], {name: state.params[name] for name in state.method["teacher"]})
    )
    distance = np.linalg.norm(teacher - student) / np.linalg.norm(teacher)
    assert row["teacher_distance"] == pytest.approx(distance, rel=1e-4) and distance > 0
    before = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(states[1].method["teacher"])])
    moved = np.linalg.norm(teacher - before) / np.linalg.norm(before)
    assert row["teacher_update"] == pytest.approx(moved, rel=1e-4) and moved > 0


def test_a_frozen_teacher_shows(moco, batches):
    _, _, _, rows = train(moco(momentum=1.0), batches, 3)
    assert rows[2]["teacher_update"] == 0 and rows[2]["teacher_distance"] > 0
    assert health.CAUSES["frozen teacher"][0](rows[2])


class Past:
    """The batches of a run by their step, as the pipeline gives them."""

    def __init__(self, batch):
        self.batch = batch

    def __getitem__(self, step):
        return self.batch(step)


@pytest.mark.parametrize("symmetric", [False, True])
def test_drift_is_nought_for_a_frozen_teacher_and_grows_as_it_moves(moco, batches, symmetric):
    drift = {}
    for momentum in (1.0, 0.9, 0.0):
        config = moco(momentum=momentum, symmetric=symmetric, queue_size=2 * BATCH * (1 + symmetric))
        run, state, _, _ = train(config, batches, 3)
        look = monitor.between(run, Past(batches))
        drift[momentum] = look(state, termination.Termination())["key_drift"]
        assert look(run.create(), termination.Termination()) == {}  # nothing of the past is in the queue yet
    # The batch is recalled with its views, its groups and its keys' place, or this would not be nought.
    assert abs(drift[1.0]) < 1e-5 < 1e-4 < drift[0.9] < drift[0.0]


def test_drift_recalls_the_right_batch_after_a_skipped_step(moco, batches, poison):
    poison(2)
    config = moco(momentum=1.0)
    config.train.on_nonfinite = "skip"
    run, state, _, _ = train(config, batches, 5)
    assert int(state.method["queue_pointer"]) == 4 % 3 * BATCH
    assert abs(monitor.between(run, Past(batches))(state, termination.Termination())["key_drift"]) < 1e-5


def test_drift_does_not_depend_on_the_devices(moco, batches, x64):
    found = []
    for devices in (1, 4):
        config = moco(momentum=0.5)
        config.compute_dtype, config.optim.name, config.parallel.devices = "float64", "sgd", devices
        run = experiment.build(config, batches(0), examples=1437)
        state = run.create()
        for step in range(4):
            state, _ = run.step(state, run.parallel.place(batches(step)))
        found.append(monitor.between(run, Past(batches))(state, termination.Termination())["key_drift"])
    assert found[0] == pytest.approx(found[1], rel=1e-6) and found[0] > 1e-6


def test_layers_are_features(moco, batches):
    config = moco()
    run = experiment.build(config, batches(0), examples=1437)
    inputs = {"image": jax.ShapeDtypeStruct((4, 8, 8, 1), jnp.uint8)}
    for layer, shape in ((None, (32,)), ("projection", (128,)), ("stage_2", (4, 4, 32))):
        found = jax.eval_shape(lambda *a, layer=layer: run.method.encode(*a, layer=layer),
                               run.abstract.params, run.abstract.method, inputs)  # fmt: skip
        assert found.shape == (4, *shape) and found.dtype == jnp.float32


def test_half_precision_is_for_the_networks_alone(moco, batches):
    config = moco()
    config.compute_dtype = "bfloat16"
    run = experiment.build(config, batches(0), examples=1437)
    state, metrics = run.step(run.create(), run.parallel.place(batches(0)))
    dtypes = {leaf.dtype for leaf in jax.tree.leaves((state.params, state.method))}
    assert dtypes == {jnp.dtype("float32"), jnp.dtype("int32")} and np.isfinite(float(metrics["loss"]))


def test_parameters_of_another_run_become_the_teacher_too(moco, batches):
    run, state, _, _ = train(moco(), batches, 1)
    params = jax.tree.map(lambda leaf: leaf + 1, state.params)
    state = state.replace(params=params, method=run.method.adopt(params, state.method))
    for a, b in zip(jax.tree.leaves(state.method["teacher"]), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(a, b)
    run.step(state, parallel.make("shard_map", 1, BATCH).place(batches(0)))  # teacher and parameters are donated apart


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method.queue_size": 100}, "queue_size is 100, which is no multiple of the 16 keys of a step .* use 96"),
        ({"method.queue_size": 8}, "queue_size is 8, .* use 16"),
        ({"method.queue_size": 48, "method.symmetric": True}, "multiple of the 32 keys of a step .*two keys an image"),
        ({"model.norm_groups": 32}, "norm_groups is 32 and config.train.batch_size 16; expected groups that share"),
        ({"model.norm_groups": 3}, "norm_groups is 3 and config.train.batch_size 16"),
        ({"model.norm_groups": 0}, "norm_groups is 0"),
        ({"method.momentum_schedule": "step"}, "momentum_schedule is 'step'; expected one of constant"),
        ({"model.init": "he"}, "config.model.init is 'he'; expected one of tensorflow, torch"),
        ({"model.projector.norm": "some"}, "projector.norm is 'some'; expected one of none, hidden, first_unscaled"),
        ({"model.name": "resnett"}, "config.model.name is 'resnett'; expected one of .* did you mean 'resnet'"),
        ({"model.name": "vit"}, "config.model has no size, heads, .*; start from a recipe of a vision"),
    ],
)
def test_wrong_use_gets_one_sentence(moco, change, message):
    config = moco()
    config.update_from_flattened_dict(change)
    with pytest.raises(ValueError, match=message) as error:
        methods.build(config)
    assert "\n" not in str(error.value)
