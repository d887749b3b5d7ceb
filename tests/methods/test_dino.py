"""DINO: who sees which crop, what is centred and stopped, what is frozen at first, which ablation collapses how."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.evaluation import health
from ssl_jax.methods import networks
from ssl_jax.methods.api import Progress
from ssl_jax.models import resnet
from ssl_jax.recipes import CONFIGS, config_module
from ssl_jax.train import experiment, optim
from tests.methods.by_hand import PROGRESS, loss_and_outputs, prepare, unit, watched

K = 16


@pytest.fixture
def small(tiny, unoptimized, monkeypatch):
    """On digits with two small crops: a ResNet of one block, or a vision transformer of two without any batch norm."""
    monkeypatch.setitem(resnet.BLOCKS, 10, (1,))
    monkeypatch.setitem(networks.SIZES, "test", dict(width=8, depth=2, heads=2))

    def make(model="resnet", **changes):
        config = tiny("dino")
        config.parallel.devices = 1
        if model == "vit":
            projector, last_layer = config.model.projector, config.model.last_layer
            projector.norm = "none"
            config.model = config_module(CONFIGS / "dino.py").get_config("imagenet_vits16_100ep_code").model
            config.model.update(size="test", patch_size=4, projector=projector, last_layer=last_layer)
        config.update_from_flattened_dict(changes)
        return config

    return make


def softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


def logits(z, kernel):
    """Bottlenecks `[b, crops, D]` times columns of unit length."""
    kernel = np.asarray(kernel, np.float64)
    return np.asarray(z, np.float64) @ (kernel / np.linalg.norm(kernel, axis=0))


def test_the_loss_is_that_of_all_other_crops_with_the_centre_of_before(small, tiny_batch):
    config = small()
    method, views, params, state = prepare(config, tiny_batch())
    assert {name for name in views if name.startswith("view")} == {f"view_{i}" for i in range(4)}
    centre = np.random.default_rng(0).normal(size=K).astype(np.float32)
    state = state | {"centre": jnp.asarray(centre)}
    # Of another teacher than the student, whose last layer has its own kernel.
    state["teacher"] = jax.tree.map(lambda leaf: leaf * 1.1 + 0.01, state["teacher"])

    @jax.jit
    def run(params, state):
        def loss(params, teacher):
            return loss_and_outputs(method, views, params, state | {"teacher": teacher})

        (value, (out, new)), slopes = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(params, state["teacher"])
        return value, out, slopes, method.objective(params, out, new, PROGRESS, None)[1]

    value, out, (slope, teacher_slope), after = run(params, state)
    assert out["student"].shape == (16, 4, 8) and out["teacher"].shape == (16, 2, 8)
    for z in (out["student"], out["teacher"]):
        np.testing.assert_allclose(np.linalg.norm(z, axis=-1), 1, rtol=1e-5)
    s = logits(out["student"], params["last_layer"]["kernel"]) / 0.1
    t = logits(out["teacher"], state["teacher"]["last_layer"]["kernel"])
    pairs = [
        -np.sum(softmax((t[:, g] - centre) / 0.04) * np.log(softmax(s[:, v])), axis=-1).mean()
        for g in (0, 1) for v in range(4) if v != g
    ]  # fmt: skip
    assert len(pairs) == 6 and float(value) == pytest.approx(np.mean(pairs), rel=1e-4)
    np.testing.assert_allclose(after["centre"], 0.9 * centre + 0.1 * t.mean(axis=(0, 1)), atol=1e-5)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(teacher_slope))
    assert all(np.any(leaf) for name in ("projector", "last_layer") for leaf in jax.tree.leaves(slope[name]))


def test_crops_of_one_size_share_a_pass_and_the_teacher_sees_the_large_ones(small, tiny_batch):
    method, views, params, state = prepare(config := small(), tiny_batch())
    state["teacher"] = jax.tree.map(lambda leaf: leaf * 1.1, state["teacher"])
    out, new = jax.jit(lambda *a: method.embed(*a, jax.random.key(2), PROGRESS, None))(params, state, views)

    @jax.jit
    def by_hand(params, state, views):
        make = networks.make_networks(config, "projector")()
        encoder, projector = {"encoder": make["encoder"]}, {"projector": make["projector"]}
        images = [jnp.concatenate([views[f"view_{i}"] for i in pair]) for pair in ((0, 1), (2, 3))]
        large, first = networks.forward(encoder, params, state["batch_stats"], images[0])
        small, second = networks.forward(encoder, params, first, images[1])
        features = jnp.concatenate([large["encoder"], small["encoder"]])
        z, third = networks.forward(projector, params, state["batch_stats"], features)
        taught = networks.forward(encoder | projector, state["teacher"], state["teacher_stats"], images[0])
        return z["projector"], {**second, **third}, *taught

    z, stats, taught, teacher_stats = by_hand(params, state, views)
    np.testing.assert_allclose(
        np.swapaxes(out["student"], 0, 1).reshape(-1, 8), unit(z), atol=1e-4
    )  # first all of view 0, then of view 1, ...
    np.testing.assert_allclose(np.swapaxes(out["teacher"], 0, 1).reshape(-1, 8), unit(taught["projector"]), atol=1e-4)
    np.testing.assert_allclose(out["features"], taught["encoder"][:16], atol=1e-4)
    for own, expected in ((new["batch_stats"], stats), (new["teacher_stats"], teacher_stats)):
        for name in ("encoder", "projector"):
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), own[name], expected[name])
    np.testing.assert_array_equal(out["z_a"], out["student"][:, 0])
    np.testing.assert_array_equal(out["z_b"], out["teacher"][:, 1])


def test_drop_path_is_for_the_student_alone(small, tiny_batch):
    method, views, params, state = prepare(small("vit", **{"model.drop_path": 0.5}), tiny_batch())
    embed = jax.jit(lambda key: method.embed(params, state, views, key, PROGRESS, None)[0])
    one, two = embed(jax.random.key(2)), embed(jax.random.key(3))
    assert np.abs(one["student"] - two["student"]).max() > 1e-3
    np.testing.assert_array_equal(one["teacher"], two["teacher"])
    still, *_ = prepare(small("vit", **{"model.drop_path": 0.0}), tiny_batch())
    out, _ = jax.jit(lambda: still.embed(params, state, views, jax.random.key(2), PROGRESS, None))()
    np.testing.assert_allclose(out["teacher"], one["teacher"], atol=1e-6)
    # Student and teacher start out equal.
    np.testing.assert_allclose(out["student"][:, :2], out["teacher"], atol=1e-5)


def train(config, batch, steps):
    """The parameters and the method's state before and after every step."""
    run = experiment.build(config, batch, examples=1437)
    state, states = run.create(), []
    for _ in range(steps + 1):
        states.append(jax.device_get((state.params, state.method)))
        state, _ = run.step(state, run.parallel.place(batch))
    return states


def moved(before, after):
    return [bool(np.any(a != b)) for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)]


@pytest.mark.parametrize("learn_gain", [False, True])
def test_the_last_layer_stands_still_at_first_and_its_gain_for_ever(small, tiny_batch, learn_gain):
    config = small(**{"optim.groups.last_layer.frozen_steps": 2, "model.last_layer.learn_gain": learn_gain})
    states = train(config, tiny_batch(), 3)
    layers = [params["last_layer"] for params, _ in states]
    # Not learned, the gain is no parameter: nothing can move or decay it.
    assert set(layers[0]) == ({"kernel", "gain"} if learn_gain else {"kernel"})
    assert not any(moved(layers[0], layers[2])) and all(moved(layers[2], layers[3]))
    assert all(moved(states[0][0]["projector"], states[1][0]["projector"]))
    if learn_gain:
        assert np.all(layers[0]["gain"] == 1) and layers[0]["gain"].shape == (1, K)


def test_the_teacher_follows_at_the_end_of_a_step_with_its_momentum(small, tiny_batch):
    config = small(**{"method.momentum": 0.5, "optim.groups.last_layer.frozen_steps": 0})
    states = train(config, tiny_batch(), 2)
    for a, b in zip(jax.tree.leaves(states[0][1]["teacher"]), jax.tree.leaves(states[0][0]), strict=True):
        np.testing.assert_array_equal(a, b)
    for k in (0, 1):
        momentum = 1 - 0.5 * (1 + np.cos(np.pi * k / config.train.steps)) / 2
        before, (params, after) = states[k][1], states[k + 1]
        assert set(after["teacher"]) == set(params) == {"encoder", "projector", "last_layer"}
        for t, p, new in zip(*map(jax.tree.leaves, (before["teacher"], params, after["teacher"])), strict=True):
            np.testing.assert_allclose(new, momentum * t + (1 - momentum) * p, atol=1e-6)


def test_the_temperature_of_the_teacher_rises_from_epoch_to_epoch(small, tiny_batch):
    warm, final, epochs = 0.04, 0.07, 4
    config = small(**{
        "method.teacher_temperature": final, "method.warmup_teacher_temperature": warm,
        "method.warmup_teacher_temperature_epochs": epochs,
    })  # fmt: skip
    method, views, params, state = prepare(config, tiny_batch())
    out, state = method.embed(params, state, views, jax.random.key(2), PROGRESS, None)
    # numpy.linspace, as the official code has it; the last of the epochs has the final temperature.
    expected = np.concatenate([np.linspace(warm, final, epochs), [final, final]])

    @jax.jit
    def temperature(step):
        return method.objective(params, out, state, Progress(step, 30, steps_per_epoch=5.0), None)[2]

    held = [float(temperature(jnp.int32(step))["teacher_temperature"]) for step in range(30)]
    np.testing.assert_allclose(held, np.repeat(expected, 5), rtol=1e-5)


def test_epochs_reach_the_method(small, tiny_batch):
    config = small(**{
        "method.teacher_temperature": 0.07, "method.warmup_teacher_temperature": 0.04,
        "method.warmup_teacher_temperature_epochs": 2,
    })  # fmt: skip
    run = experiment.build(config, tiny_batch(), examples=32)  # two steps
    state, held = run.create(), []
    for _ in range(4):
        state, metrics = run.step(state, run.parallel.place(tiny_batch()))
        held.append(float(metrics["teacher_temperature"]))
    np.testing.assert_allclose(held, [0.04, 0.04, 0.07, 0.07], rtol=1e-5)


def test_vectors_do_not_decay_and_tokens_do(small, tiny_batch):
    config = small("vit", **{"model.last_layer.learn_gain": True})
    method, _, params, _ = prepare(config, tiny_batch())
    names = method.groups(params)
    assert names["encoder"]["class_token"] == names["encoder"]["position_embedding"] == "default"
    assert set(jax.tree.leaves(names["last_layer"])) == {"last_layer"}
    assert names["encoder"]["norm"] == {"scale": "vectors", "bias": "vectors"}
    assert names["projector"]["dense_1"] == {"kernel": "default", "bias": "vectors"}
    # What a gradient of nought does is weight decay alone: at first that of the start, in the end that of the end.
    optimizer = dict(config_module(CONFIGS / "dino.py").get_config("imagenet_vits16_300ep").optim)
    optimizer |= {"warmup_epochs": 0.0, "schedule": "constant", "groups": {
        "vectors": {"weight_decay": 0.0}, "last_layer": {"frozen_steps": 1},
    }}  # fmt: skip
    transform, rate = optim.build(optimizer, params, names, batch_size=256, steps=2, steps_per_epoch=1)
    zeros, state, shrunk = jax.tree.map(jnp.zeros_like, params), transform.init(params), []
    for _ in range(2):
        updates, state = transform.update(zeros, state, params)
        shrunk.append(jax.tree.map(lambda u, p: float(jnp.max(jnp.abs(u / jnp.where(p == 0, 1, p)))), updates, params))
    for step, decay in ((0, 0.04), (1, 0.22)):
        found, expected = shrunk[step], pytest.approx(float(rate(0)) * decay, rel=1e-4)
        assert found["encoder"]["class_token"] == found["encoder"]["position_embedding"] == expected
        assert found["encoder"]["norm"] == {"scale": 0, "bias": 0} and found["projector"]["dense_1"]["bias"] == 0
        frozen = 0 if step == 0 else expected
        assert found["last_layer"] == {"kernel": frozen, "gain": frozen}


@pytest.mark.parametrize("model", ["resnet", "vit"])
def test_features_are_the_teachers(small, tiny_batch, model):
    method, _, params, state = prepare(small(model), tiny_batch())
    images = {"image": jnp.asarray(tiny_batch()["image"])}
    encode = jax.jit(method.encode, static_argnames="layer")
    features = encode(params, state, images)
    nothing = jax.tree.map(jnp.zeros_like, params)
    np.testing.assert_array_equal(encode(nothing, state, images), features)
    other = state | {"teacher": jax.tree.map(lambda leaf: leaf * 1.5 + 0.1, state["teacher"])}
    assert np.abs(encode(params, other, images) - features).max() > 1e-3
    assert encode(params, state, images, layer="projection").shape == (16, 8)


def test_parameters_of_another_run_become_the_teacher_too(small, tiny_batch):
    method, _, params, state = prepare(small(), tiny_batch())
    params = jax.tree.map(lambda leaf: leaf + 1, params)
    adopted = method.adopt(params, state)["teacher"]
    assert not any(moved(adopted, params))


def test_signals_are_their_formulas(small, tiny_batch):
    method, views, params, state = prepare(small(), tiny_batch())
    state["teacher"] = jax.tree.map(lambda leaf: leaf * 1.1 + 0.01, state["teacher"])
    loss, (out, new) = loss_and_outputs(method, views, params, state)
    found = method.signals(params, out, new, PROGRESS)
    targets = softmax(logits(out["teacher"], state["teacher"]["last_layer"]["kernel"]) / 0.04)
    entropy = -np.sum(targets * np.log(targets), axis=-1).mean()
    assert float(found["teacher_entropy"]) == pytest.approx(entropy / np.log(K), rel=1e-4)
    assert float(found["teacher_divergence"]) == pytest.approx((float(loss) - entropy) / np.log(K), rel=1e-4)
    assert float(found["teacher_distance"]) > 0


def test_without_centring_the_centre_stays_nought(small, tiny_batch):
    for centring in (True, False):
        method, views, params, state = prepare(small(**{"method.centre": centring}), tiny_batch())
        outputs, new = method.embed(params, state, views, jax.random.key(2), PROGRESS, None)
        after = method.objective(params, outputs, new, PROGRESS, None)[1]
        assert np.any(after["centre"]) == centring


@pytest.fixture
def ablation(tiny, unoptimized, monkeypatch):
    """`ablation(**changes)`: the warnings of a short run on digits, small but with outputs to choose from."""
    monkeypatch.setitem(resnet.BLOCKS, 10, (1,))

    def run(**changes):
        config = tiny("dino")
        config.train.batch_size, config.optim.warmup_steps, config.method.momentum = 32, 5, 0.9
        config.model.width = 1 / 4
        config.model.last_layer.output_dim = 64
        config.model.projector.update(hidden_dims=(64, 64), output_dim=32)
        config.update_from_flattened_dict(changes)
        return watched(config, 45)

    return run


def test_a_healthy_run_is_given_no_warning(ablation):
    given, row = ablation()
    assert not given and row["teacher_divergence"] > 0.05


@pytest.mark.parametrize(
    ("changes", "cause", "entropy"),
    [({"method.centre": False}, "one output", 0), ({"method.teacher_temperature": 0.1}, "uniform outputs", 1)],
)
def test_each_ablation_collapses_in_its_own_way_and_is_named(ablation, changes, cause, entropy):
    given, row = ablation(**changes)
    assert row["teacher_entropy"] == pytest.approx(entropy, abs=0.03)
    named = [name for name, (_, _, text) in health.CAUSES.items() if any(text in warning for warning in given)]
    assert cause in named and set(named) <= {cause, "dimensions", "collapse"}
