"""DINO: who sees which crop, what is centred and stopped, what is frozen at first, which ablation collapses how."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import methods
from ssl_jax.evaluation import health
from ssl_jax.methods.api import Progress
from ssl_jax.methods.parts import networks
from ssl_jax.models import resnet, vit
from ssl_jax.recipes import CONFIGS, config_module
from ssl_jax.train import experiment, optim
from tests.methods.by_hand import PROGRESS, prepare, unit, watched

K = 16
CENTRE = np.random.default_rng(0).normal(size=K).astype(np.float32)
MADE = {}  # what `made` has made


@pytest.fixture
def small(tiny, monkeypatch):
    """On digits with two small crops: a ResNet of one block, or a vision transformer of two without any batch norm."""
    monkeypatch.setitem(resnet.BLOCKS, 6, (1,))
    monkeypatch.setitem(vit.SIZES, "test", dict(width=8, depth=2, heads=2))

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


@pytest.fixture
def made(small, tiny_batch):
    """A method with one batch of views, and what `embed` makes of it with a teacher unlike the student, centred."""

    def make(model="resnet", **changes):
        name = model, *sorted(changes.items())
        if name not in MADE:
            config = small(model, **changes)
            method, views, params, state = prepare(config, tiny_batch())
            other = jax.tree.map(lambda leaf: leaf * 1.1 + 0.01, state["teacher"])
            state = state | {"teacher": other, "centre": jnp.asarray(CENTRE)}

            @jax.jit
            def embed(params, state, key):
                return method.embed(params, state, views, key, PROGRESS, None)

            out, new = embed(params, state, jax.random.key(2))
            MADE[name] = SimpleNamespace(
                config=config, method=method, views=views, params=params, state=state, embed=embed, out=out, new=new
            )
        return MADE[name]

    return make


def softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


def logits(z, kernel):
    """Bottlenecks `[b, crops, D]` times columns of unit length."""
    kernel = np.asarray(kernel, np.float64)
    return np.asarray(z, np.float64) @ (kernel / np.linalg.norm(kernel, axis=0))


def test_the_loss_is_that_of_all_other_crops_with_the_centre_of_before(made):
    case = made()
    assert {name for name in case.views if name.startswith("view")} == {f"view_{i}" for i in range(4)}
    out = case.out
    assert out["student"].shape == (16, 4, 8) and out["teacher"].shape == (16, 2, 8)
    for z in (out["student"], out["teacher"]):
        np.testing.assert_allclose(np.linalg.norm(z, axis=-1), 1, rtol=1e-5)

    loss, after, _ = case.method.objective(case.params, out, case.new, PROGRESS, None)
    s = logits(out["student"], case.params["last_layer"]["kernel"]) / 0.1
    t = logits(out["teacher"], case.state["teacher"]["last_layer"]["kernel"])
    targets = softmax((t - CENTRE) / 0.04)
    pairs = [
        -np.sum(targets[:, g] * np.log(softmax(s[:, v])), axis=-1).mean() for g in (0, 1) for v in range(4) if v != g
    ]
    assert len(pairs) == 6 and float(loss) == pytest.approx(np.mean(pairs), rel=1e-4)
    np.testing.assert_allclose(after["centre"], 0.9 * CENTRE + 0.1 * t.mean(axis=(0, 1)), atol=1e-5)
    # The paper's figure 7: entropy and divergence, in units of log K.
    found = case.method.signals(case.params, out, case.new, PROGRESS)
    entropy = -np.sum(targets * np.log(targets), axis=-1).mean()
    assert float(found["teacher_entropy"]) == pytest.approx(entropy / np.log(K), rel=1e-4)
    assert float(found["teacher_divergence"]) == pytest.approx((float(loss) - entropy) / np.log(K), rel=1e-4)
    assert float(found["teacher_distance"]) > 0


def test_no_gradient_reaches_the_teacher(made):
    case = made()

    @jax.jit
    @jax.grad
    def slope(trees):
        out, new = case.embed(trees["params"], case.state | {"teacher": trees["teacher"]}, jax.random.key(2))
        return case.method.objective(trees["params"], out, new, PROGRESS, None)[0]

    found = slope({"params": case.params, "teacher": case.state["teacher"]})
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(found["teacher"]))
    for name in ("projector", "last_layer"):
        assert all(np.any(leaf) for leaf in jax.tree.leaves(found["params"][name]))


def test_crops_of_one_size_share_a_pass_and_the_teacher_sees_the_large_ones(made):
    case = made()
    make = networks.make_networks(case.config, "projector")()
    encoder, projector = {"encoder": make["encoder"]}, {"projector": make["projector"]}

    @jax.jit
    def by_hand(params, state, views):
        images = [jnp.concatenate([views[f"view_{i}"] for i in pair]) for pair in ((0, 1), (2, 3))]
        large, first = networks.forward(encoder, params, state["batch_stats"], images[0])
        small, second = networks.forward(encoder, params, first, images[1])
        features = jnp.concatenate([large["encoder"], small["encoder"]])
        z, third = networks.forward(projector, params, state["batch_stats"], features)
        taught = networks.forward(encoder | projector, state["teacher"], state["teacher_stats"], images[0])
        return z["projector"], {**second, **third}, *taught

    z, stats, taught, teacher_stats = by_hand(case.params, case.state, case.views)
    out = case.out
    for name, expected in (("student", z), ("teacher", taught["projector"])):
        np.testing.assert_allclose(np.swapaxes(out[name], 0, 1).reshape(-1, 8), unit(expected), atol=1e-4)
    np.testing.assert_allclose(out["features"], taught["encoder"][:16], atol=1e-4)
    for own, expected in ((case.new["batch_stats"], stats), (case.new["teacher_stats"], teacher_stats)):
        for name in ("encoder", "projector"):
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), own[name], expected[name])
    np.testing.assert_array_equal(out["z_a"], out["student"][:, 0])
    np.testing.assert_array_equal(out["z_b"], out["teacher"][:, 1])


def test_drop_path_is_for_the_student_alone(made):
    case = made("vit", **{"model.drop_path": 0.5})
    again, _ = case.embed(case.params, case.state, jax.random.key(3))
    assert np.abs(case.out["student"] - again["student"]).max() > 1e-3
    np.testing.assert_array_equal(case.out["teacher"], again["teacher"])
    still = made("vit", **{"model.drop_path": 0.0})
    np.testing.assert_allclose(still.out["teacher"], case.out["teacher"], atol=1e-6)
    # Of the same parameters the large crops of the student are then the teacher's.
    out, _ = still.embed(still.params, still.state | {"teacher": still.params}, jax.random.key(2))
    np.testing.assert_allclose(out["student"][:, :2], out["teacher"], atol=1e-5)


def moved(before, after):
    return [bool(np.any(a != b)) for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)]


def test_what_is_frozen_at_first_how_the_teacher_follows_and_warms_up(small, tiny_batch):
    config = small(**{
        "optim.groups.last_layer.frozen_steps": 2, "model.last_layer.learn_gain": True, "method.momentum": 0.5,
        "method.warmup_teacher_temperature_epochs": 2, "method.warmup_teacher_temperature": 0.02,
    })  # fmt: skip
    batch = tiny_batch()
    run = experiment.build(config, batch, examples=32)  # two steps an epoch
    state, states, temperatures = run.create(), [], []
    for _ in range(4):
        states.append(jax.device_get((state.params, state.method)))
        state, metrics = run.step(state, run.parallel.place(batch))
        temperatures.append(float(metrics["teacher_temperature"]))
    np.testing.assert_allclose(temperatures, [0.02, 0.02, 0.04, 0.04], rtol=1e-5)

    layers = [params["last_layer"] for params, _ in states]
    assert np.all(layers[0]["gain"] == 1) and layers[0]["gain"].shape == (1, K)
    assert not any(moved(layers[0], layers[2])) and all(moved(layers[2], layers[3]))
    assert all(moved(states[0][0]["projector"], states[1][0]["projector"]))

    assert not any(moved(states[0][1]["teacher"], states[0][0]))
    for k in range(3):  # at the end of step k with the momentum of step k
        momentum = 1 - 0.5 * (1 + np.cos(np.pi * k / config.train.steps)) / 2
        before, (params, after) = states[k][1], states[k + 1]
        assert set(after["teacher"]) == set(params) == {"encoder", "projector", "last_layer"}
        for t, p, new in zip(*map(jax.tree.leaves, (before["teacher"], params, after["teacher"])), strict=True):
            np.testing.assert_allclose(new, momentum * t + (1 - momentum) * p, atol=1e-6)


def test_a_gain_that_is_not_learned_is_no_parameter(made):
    """So nothing can move it from 1, weight decay included."""
    assert set(made().params["last_layer"]) == {"kernel"}


@pytest.mark.parametrize(("epochs", "official"), [(4, np.linspace(0.04, 0.07, 4)), (1, [0.04]), (0, [])])
def test_the_temperature_of_the_teacher_rises_from_epoch_to_epoch(made, epochs, official):
    case = made()
    config = case.config.copy_and_resolve_references()
    config.method.update(
        teacher_temperature=0.07, warmup_teacher_temperature=0.04, warmup_teacher_temperature_epochs=epochs
    )
    method = methods.build(config)

    @jax.jit
    def temperature(step):
        progress = Progress(step, 30, steps_per_epoch=5.0)
        return method.objective(case.params, case.out, case.new, progress, None)[2]["teacher_temperature"]

    held = [float(temperature(jnp.int32(step))) for step in range(30)]
    # The official code: linspace over the epochs of the warm-up, then the final temperature.
    expected = np.repeat([*official, *[0.07] * (6 - epochs)], 5)
    np.testing.assert_allclose(held, expected, rtol=1e-5)


def test_without_centring_the_centre_stays_as_it_is(made):
    case = made()
    config = case.config.copy_and_resolve_references()
    config.method.centre = False
    _, after, _ = methods.build(config).objective(case.params, case.out, case.new, PROGRESS, None)
    np.testing.assert_array_equal(after["centre"], CENTRE)


def test_vectors_do_not_decay_and_tokens_do(made):
    case = made("vit", **{"model.drop_path": 0.0})
    gain = {"gain": jnp.ones((1, K))}  # as where it is learned: official code decays it, which has two axes
    params = case.params | {"last_layer": case.params["last_layer"] | gain}
    names = case.method.groups(params)
    assert names["encoder"]["class_token"] == names["encoder"]["position_embedding"] == "default"
    assert names["last_layer"] == {"kernel": "last_layer", "gain": "last_layer"}
    assert names["encoder"]["norm"] == {"scale": "vectors", "bias": "vectors"}
    assert names["projector"]["dense_1"] == {"kernel": "default", "bias": "vectors"}
    # What a gradient of nought does is weight decay alone: on its way from 0.04 to 0.4, and nought where frozen.
    options = dict(config_module(CONFIGS / "dino.py").get_config("imagenet_vits16_300ep").optim)
    options |= {"warmup_epochs": 0.0, "schedule": "constant"}
    options["groups"] = {"vectors": {"weight_decay": 0.0}, "last_layer": {"frozen_steps": 1}}
    transform, rate = optim.build(options, params, names, batch_size=256, steps=2, steps_per_epoch=1)
    zeros, state = jax.tree.map(jnp.zeros_like, params), transform.init(params)
    for step, decay in ((0, 0.04), (1, 0.22)):
        updates, state = transform.update(zeros, state, params)
        shrunk = jax.tree.map(lambda u, p: float(jnp.max(jnp.abs(u / jnp.where(p == 0, 1, p)))), updates, params)
        expected = pytest.approx(float(rate(0)) * decay, rel=1e-4)
        assert all(shrunk["encoder"][name] == expected for name in ("class_token", "position_embedding"))
        assert shrunk["encoder"]["norm"] == {"scale": 0, "bias": 0} and shrunk["projector"]["dense_1"]["bias"] == 0
        assert all(leaf == (expected if step else 0) for leaf in shrunk["last_layer"].values())


@pytest.mark.parametrize(("model", "changes"), [("resnet", {}), ("vit", {"model.drop_path": 0.5})])
def test_features_are_the_teachers(made, tiny_batch, model, changes):
    case = made(model, **changes)
    images = {"image": jnp.asarray(tiny_batch()["image"])}
    encode = jax.jit(case.method.encode, static_argnames="layer")
    features = encode(case.params, case.state, images)
    nothing = jax.tree.map(jnp.zeros_like, case.params)
    np.testing.assert_array_equal(encode(nothing, case.state, images), features)
    # A student that is adopted, as from another run, becomes the teacher.
    adopted = case.method.adopt(case.params, case.state)
    assert not any(moved(adopted["teacher"], case.params))
    assert np.abs(encode(case.params, adopted, images) - features).max() > 1e-3
    projected = jax.eval_shape(lambda *a: case.method.encode(*a, layer="projection"), case.params, case.state, images)
    assert projected.shape == (16, 8)


@pytest.fixture
def ablation(tiny, monkeypatch):
    """`ablation(**changes)`: the warnings of a short run on digits, small but with outputs to choose from."""
    monkeypatch.setitem(resnet.BLOCKS, 6, (1,))

    def run(**changes):
        config = tiny("dino")
        config.train.batch_size, config.optim.warmup_steps, config.method.momentum = 32, 5, 0.9
        config.model.width = 1 / 4
        config.model.last_layer.output_dim = 64
        config.model.projector.update(hidden_dims=(64, 64), output_dim=32)
        config.augment.local.count = 0
        config.update_from_flattened_dict(changes)
        return watched(config, 45)

    return run


def test_a_healthy_run_is_given_no_warning(ablation):
    given, row = ablation()
    assert not given and row["teacher_divergence"] > 0.05


@pytest.mark.parametrize(
    ("changes", "cause", "entropy"),
    [({"method.centre": False}, "one output", 0), ({"method.teacher_temperature": 0.2}, "uniform outputs", 1)],
)
def test_each_ablation_collapses_in_its_own_way_and_is_named(ablation, changes, cause, entropy):
    given, row = ablation(**changes)
    assert row["teacher_entropy"] == pytest.approx(entropy, abs=0.03)
    named = [name for name, (_, _, text) in health.CAUSES.items() if any(text in warning for warning in given)]
    assert cause in named
