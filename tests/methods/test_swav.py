"""SwAV: the objective is the official loop, queue and prototypes are kept as there, collapse is called by its name."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from ssl_jax import methods
from ssl_jax.evaluation import health
from ssl_jax.methods.api import Progress
from ssl_jax.recipes import CONFIGS, config_module
from ssl_jax.train import experiment, optim
from tests.losses.test_assignment import EPSILON, numpy_sinkhorn, numpy_swav
from tests.methods.by_hand import watched

BATCH, QUEUE, START, CROPS, WIDTH, COUNT, STEPS = 16, 32, 1, 4, 6, 8, 6


@pytest.fixture
def swav(tiny):
    def make(**method):
        config = tiny("swav")
        config.parallel.devices = 1
        config.method.update(method)
        return config

    return make


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def drawn(shape, step):
    return np.random.default_rng(step).normal(size=shape)


def official(steps):
    """Loss and queue of every step as `train` in main_swav.py has them, on embeddings drawn for it."""
    queue, found = None, []
    for step in range(steps):
        z, prototypes = unit(drawn((CROPS, BATCH, WIDTH), step)), unit(drawn((COUNT, WIDTH), 100 + step))
        scores, assignments = z @ prototypes.T, []
        if step >= START and queue is None:
            queue = np.zeros((2, QUEUE, WIDTH))
        for crop in (0, 1):
            out = scores[crop]
            if queue is not None:
                if not np.all(queue[crop, -1] == 0):
                    out = np.concatenate([queue[crop] @ prototypes.T, out])
                queue[crop, BATCH:] = queue[crop, :-BATCH].copy()
                queue[crop, :BATCH] = z[crop]
            assignments.append(numpy_sinkhorn(out)[-BATCH:])
        losses, _ = numpy_swav(scores.swapaxes(0, 1), np.stack(assignments, axis=1))
        found.append((losses.mean(), np.zeros((2, QUEUE, WIDTH)) if queue is None else queue.copy()))
    return found


@pytest.mark.parametrize("devices", [1, 4])
def test_the_objective_is_the_official_loop(swav, x64, devices):
    config = swav(epsilon=EPSILON, prototypes=COUNT, queue_size=QUEUE, queue_start_epoch=START)
    method, queue = methods.build(config), jnp.zeros((2, QUEUE, WIDTH))

    @jax.jit
    @partial(jax.vmap, axis_name="data", in_axes=(None, None, 0, None))
    def objective(prototypes, queue, z, step):
        loss, state, _ = method.objective(
            {"prototypes": prototypes}, {"z": z}, {"queue": queue}, Progress(step, STEPS, 1.0), "data"
        )
        return loss, state["queue"]

    for step, (expected, filled) in enumerate(official(STEPS)):
        z = 3 * unit(drawn((CROPS, BATCH, WIDTH), step)).swapaxes(0, 1)  # lengths do not matter
        z = z.reshape(devices, -1, CROPS, WIDTH)
        loss, queues = objective(unit(drawn((COUNT, WIDTH), 100 + step)), queue, z, step)
        assert float(loss.mean()) == pytest.approx(expected, rel=1e-12), step
        for queue in queues:  # the same on every device
            np.testing.assert_allclose(queue, filled, atol=1e-15)
    assert np.all(filled[:, -1] != 0)  # the queue has been full and in use


def test_the_gradient_takes_assignments_as_constants(swav, x64):
    method = methods.build(swav(epsilon=EPSILON, prototypes=COUNT, queue_size=QUEUE, queue_start_epoch=START))
    prototypes, z = jnp.asarray(unit(drawn((COUNT, WIDTH), 0))), jnp.asarray(drawn((BATCH, CROPS, WIDTH), 1))
    queue = jnp.asarray(unit(drawn((2, QUEUE, WIDTH), 2)))

    def objective(params):
        return method.objective(params, {"z": params["z"]}, {"queue": queue}, Progress(7, 10, 1.0), None)[0]

    found = jax.jit(jax.grad(objective))({"prototypes": prototypes, "z": z})
    # By the chain rule from the scores, whose gradient holds assignments fixed.
    length = np.linalg.norm(z, axis=-1, keepdims=True)
    unit_z = np.asarray(z / length)
    out = [np.concatenate([queue[i] @ prototypes.T, unit_z[:, i] @ prototypes.T]) for i in (0, 1)]
    assignments = np.stack([numpy_sinkhorn(x)[-BATCH:] for x in out], axis=1)
    _, slope = numpy_swav(unit_z @ np.asarray(prototypes).T, assignments)
    np.testing.assert_allclose(found["prototypes"], np.einsum("bvk,bvd->kd", slope, unit_z), atol=1e-12)
    slope = slope @ np.asarray(prototypes)
    slope = (slope - unit_z * np.sum(slope * unit_z, axis=-1, keepdims=True)) / length
    np.testing.assert_allclose(found["z"], slope, atol=1e-12)


def test_prototypes_are_unit_vectors_that_wait(swav, tiny_batch):
    config = swav()
    config.optim = ConfigDict(config.optim.to_dict() | {"name": "sgd", "learning_rate": 0.1})
    config.optim.groups.prototypes.frozen_steps = 2
    batch = tiny_batch(BATCH)
    run = experiment.build(config, batch, examples=1437)
    state = run.create()
    prototypes, kernels = [], []
    for _ in range(4):
        prototypes.append(np.asarray(state.params["prototypes"]))
        kernels.append(np.asarray(state.params["projector"]["dense_1"]["kernel"]))
        np.testing.assert_allclose(np.linalg.norm(prototypes[-1], axis=1), 1, rtol=1e-6)
        state, metrics = run.step(state, run.parallel.place(batch))
    moved = [[np.abs(b - a).max() for a, b in zip(x, x[1:], strict=False)] for x in (prototypes, kernels)]
    assert max(moved[0][:2]) < 1e-6 < 1e-4 < moved[0][2]  # but for the rounding of their norm
    assert min(moved[1]) > 1e-4
    assert float(metrics["chance_loss"]) == pytest.approx(np.log(config.method.prototypes))
    dtypes = {leaf.dtype for leaf in jax.tree.leaves((state.params, state.method))}
    assert dtypes == {jnp.dtype("float32")}


@pytest.fixture
def embed(swav):
    """`embed(change)`: outputs of a network in two groups of norms, after `change(views)`."""
    config = swav()
    config.model.norm_groups = 2
    config.augment.local = ConfigDict({"count": 2, "size": 4, "crop_scale": (0.05, 0.2)})
    method = methods.build(config)
    views = {f"view_{i}": drawn((BATCH, size, size, 1), i) for i, size in enumerate((8, 8, 4, 4))}
    views = {name: jnp.asarray(view, jnp.float32) for name, view in views.items()} | {"index": jnp.arange(BATCH)}
    params, state = jax.jit(method.init)(jax.random.key(0), views)
    run = jax.jit(lambda views: method.embed(params, state, views, jax.random.key(1), Progress(0, 5), None))

    def outputs(**change):
        return jax.device_get(run(views | {name: at(views[name]) for name, at in change.items()}))

    return outputs


def test_statistics_are_of_one_size_in_the_encoder_and_of_all_crops_in_the_projector(embed):
    outputs, _ = embed()
    assert outputs["z"].shape == (BATCH, 4, 128)
    np.testing.assert_array_equal(outputs["z"][:, 0], outputs["z_a"])
    np.testing.assert_array_equal(outputs["z"][:, 1], outputs["z_b"])
    small, _ = embed(view_3=lambda view: -view)
    np.testing.assert_array_equal(small["features"], outputs["features"])
    assert np.abs(small["z_a"] - outputs["z_a"]).max() > 1e-3
    large, _ = embed(view_1=lambda view: -view)
    assert np.abs(large["features"] - outputs["features"]).max() > 1e-3


def test_groups_of_norms_hold_all_crops_of_their_images(embed):
    outputs, _ = embed()
    half = BATCH // 2
    for name in ("view_0", "view_1", "view_2", "view_3"):
        changed, _ = embed(**{name: lambda view: view.at[half:].multiply(-1)})
        np.testing.assert_allclose(changed["z"][:half], outputs["z"][:half], atol=1e-5)
        assert np.abs(changed["z"][half:] - outputs["z"][half:]).max(axis=(0, 2)).min() > 1e-3


def test_running_statistics_take_a_step_for_every_size_of_crops(embed):
    """Without images the variance is 0, of which the running one takes a tenth: twice in the encoder, once behind."""
    _, state = embed(**{f"view_{i}": jnp.zeros_like for i in range(4)})
    stats = state["batch_stats"]
    np.testing.assert_allclose(stats["encoder"]["stem_norm"]["var"], 0.9**2, rtol=1e-5)
    np.testing.assert_allclose(stats["projector"]["norm_1"]["var"], 0.9, rtol=1e-5)


def test_the_learning_rate_is_the_official_one(x64):
    """np.linspace from 0.3 to 4.8 over the warm-up, then half a cosine to 0.0048."""
    config = config_module(CONFIGS / "swav.py").get_config("imagenet_r50_100ep")
    epoch, epochs = 312, 100
    params = {"w": np.ones((2, 2)), "prototypes": np.ones((2, 2))}
    names = {"w": "default", "prototypes": "prototypes"}
    options = dict(batch_size=4096, steps=epoch * epochs, steps_per_epoch=epoch)
    _, schedule = optim.build(config.optim, params, names, **options)
    warmup = np.linspace(0.3, 4.8, 10 * epoch)
    steps = np.arange(90 * epoch)
    decay = 0.0048 + 0.5 * (4.8 - 0.0048) * (1 + np.cos(np.pi * steps / (90 * epoch)))
    held = np.asarray(schedule(np.arange(100 * epoch)))
    np.testing.assert_allclose(held[10 * epoch :], decay, rtol=1e-12)
    # Here the peak is reached with the first step after the warm-up, there with its last.
    np.testing.assert_allclose(held[: 10 * epoch], warmup, atol=(4.8 - 0.3) / (10 * epoch))


@pytest.mark.parametrize("iterations", [3, 0])
def test_without_equal_shares_one_prototype_takes_all_and_the_watch_says_so(swav, iterations):
    config = swav(prototypes=32, iterations=iterations, queue_size=0)
    config.model.width, config.train.batch_size, config.train.log_every = 1 / 8, 64, 8
    config.optim.groups.prototypes.frozen_steps = 0
    given, row = watched(config, 160)
    if iterations:
        assert given == [] and row["prototypes_used"] > 8 and row["loss"] < 0.98 * row["chance_loss"]
    else:
        (warning,) = given
        assert warning.startswith(health.CAUSES["few prototypes"][2]) and row["prototypes_used"] < 1.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"queue_size": 40},
            "queue_size is 40, which is no multiple of config.train.batch_size 16; use 32, or another",
        ),
        ({"prototypes": 1}, "config.method.prototypes is 1; expected at least 2"),
    ],
)
def test_wrong_use_gets_one_sentence(swav, change, message):
    with pytest.raises(ValueError, match=message) as error:
        methods.build(swav(**change))
    assert "\n" not in str(error.value)
