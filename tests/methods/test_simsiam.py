"""SimSiam: what is predicted from what, what is stopped, which rates stay constant, its collapse where nothing is."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import defaults
from ssl_jax.methods.parts import networks
from ssl_jax.models import resnet
from ssl_jax.recipes import CONFIGS, config_module
from ssl_jax.train import optim
from tests.methods.by_hand import loss_and_outputs, prepare, unit, watched
from tests.recipes.holds import plain


@pytest.fixture
def prepared(tiny, tiny_batch, monkeypatch):
    monkeypatch.setitem(resnet.BLOCKS, 6, (1,))

    def make(**changes):
        config = tiny("simsiam")
        config.update_from_flattened_dict(changes)
        return config, *prepare(config, tiny_batch())

    return make


def by_hand(config, views, params, state):
    """Outputs by view of networks in a row, the second view after the first, and the statistics after both."""
    make, stats, out = networks.make_networks(config, "projector", "predictor")(), state["batch_stats"], []
    for view in (0, 1):
        found, stats = networks.forward(make, params, stats, views[f"view_{view}"])
        out.append(found)
    return out, stats


def test_every_view_is_predicted_from_the_other_and_projections_are_stopped(prepared):
    config, method, views, params, state = prepared()

    def loss(params):
        return loss_and_outputs(method, views, params, state)

    def against_constants(params, targets):  # algorithm 1 with z.detach() written out
        out, _ = by_hand(config, views, params, state)
        return -sum(
            jnp.sum(p * t, axis=1) / jnp.linalg.norm(p, axis=1) / jnp.linalg.norm(t, axis=1)
            for p, t in ((out[0]["predictor"], targets[1]), (out[1]["predictor"], targets[0]))
        ).mean() / 2  # fmt: skip

    @jax.jit
    def both(params):
        out, stats = by_hand(config, views, params, state)
        targets = [found["projector"] for found in out]
        return jax.value_and_grad(loss, has_aux=True)(params), jax.grad(against_constants)(params, targets), out, stats

    ((value, (held, new)), slope), expected_slope, out, stats = both(params)
    cosines = [np.sum(unit(held[p]) * unit(held[t]), axis=1) for p, t in (("z_a", "z_b"), ("prediction_1", "target_0"))]
    assert float(value) == pytest.approx(-np.mean(cosines), abs=1e-6)
    for name, expected in (
        ("z_a", out[0]["predictor"]), ("prediction_1", out[1]["predictor"]), ("features", out[0]["encoder"]),
        ("z_b", out[1]["projector"]), ("target_0", out[0]["projector"]),
    ):  # fmt: skip
        np.testing.assert_allclose(held[name], expected, atol=1e-5, err_msg=name)
    for a, b in zip(jax.tree.leaves(new["batch_stats"]), jax.tree.leaves(stats), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    for (path, a), b in zip(jax.tree.leaves_with_path(slope), jax.tree.leaves(expected_slope), strict=True):
        assert np.abs(a - b).max() <= 1e-3 * np.abs(b).max() + 1e-7, jax.tree_util.keystr(path)


def test_a_stop_gradient_that_is_switched_off_lets_projections_move(prepared):
    slopes = {}
    for stop in (True, False):
        _, method, views, params, state = prepared(**{"method.stop_gradient": stop})
        loss = partial(lambda method, views, state, params: loss_and_outputs(method, views, params, state)[0], method)
        found = jax.jit(jax.grad(loss, argnums=2))(views, state, params)
        slopes[stop] = np.asarray(found["projector"]["dense_1"]["kernel"])
        assert all(np.any(leaf) for leaf in jax.tree.leaves(found["predictor"]))
    assert np.abs(slopes[True] - slopes[False]).max() > 0.1 * np.abs(slopes[True]).max()


def test_heads_are_the_official_ones(prepared):
    """builder.py: no biases in the projector, whose last norm has no parameters; one in the predictor's output."""
    _, _, _, params, state = prepared(
        **{"model.projector.hidden_dims": (24, 24), "model.projector.output_dim": 24,
           "model.predictor.hidden_dims": (6,), "model.predictor.output_dim": 24}
    )  # fmt: skip
    shapes = {head: jax.tree.map(lambda leaf: leaf.shape, params[head]) for head in ("projector", "predictor")}
    norm = {"scale": (24,), "bias": (24,)}
    assert shapes["projector"] == {
        "dense_1": {"kernel": (16, 24)}, "norm_1": norm, "dense_2": {"kernel": (24, 24)}, "norm_2": norm,
        "dense_3": {"kernel": (24, 24)},
    }  # fmt: skip
    assert set(state["batch_stats"]["projector"]) == {"norm_1", "norm_2", "norm_3"}
    assert shapes["predictor"] == {
        "dense_1": {"kernel": (24, 6)}, "norm_1": {"scale": (6,), "bias": (6,)},
        "dense_2": {"kernel": (6, 24), "bias": (24,)},
    }  # fmt: skip
    assert "norm_2" not in state["batch_stats"]["predictor"]


def test_the_predictor_keeps_its_rate_and_everything_decays(prepared):
    """main_simsiam.py, `adjust_learning_rate` with --fix-pred-lr, and torch.optim.SGD over all parameters."""
    _, method, _, params, _ = prepared()
    config = config_module(CONFIGS / "simsiam.py").get_config("imagenet_r50").optim
    config.momentum = 0.0  # so that a move is that of its step
    names = method.groups(params)
    optimizer, _ = optim.build(config, params, names, batch_size=512, steps=100, steps_per_epoch=1)
    state, moves = optimizer.init(params), []
    zeros, ones = (jax.tree.map(fill, params) for fill in (jnp.zeros_like, jnp.ones_like))
    step = jax.jit(optimizer.update)
    for _ in range(100):
        updates, state = step(zeros, state, ones)
        moves.append(updates)
    for epoch in (0, 50, 99):
        rate = 0.05 * 512 / 256
        scheduled = rate * 0.5 * (1 + math.cos(math.pi * epoch / 100))
        for name, subtree in moves[epoch].items():
            for leaf in jax.tree.leaves(subtree):
                expected = -1e-4 * (rate if name == "predictor" else scheduled)
                np.testing.assert_allclose(leaf, expected, rtol=1e-3, err_msg=f"{name} {epoch}")


def test_without_stop_gradient_it_collapses_and_the_watch_says_so(tiny):
    def run(stop, steps):
        config = tiny("simsiam")
        config.method.stop_gradient, config.train.batch_size, config.optim.learning_rate = stop, 64, 1.0
        return watched(config, steps)

    warnings, row = run(False, 200)
    assert any("complete collapse" in warning for warning in warnings) and row["std"] < 0.05
    warnings, row = run(True, 50)
    assert warnings == [] and row["std"] > 0.2


@pytest.mark.parametrize("recipe", ["imagenet_r50", "cifar10_r18"])
def test_views_are_those_of_moco_v2(recipe):
    """main_simsiam.py has the augmentation of MoCo v2, which is tested against the official code."""
    held, moco = config_module(CONFIGS / "simsiam.py").get_config(recipe).augment, defaults.views("moco_v2")
    changed = {"size", "blur_probability", "mean", "std"} if recipe == "cifar10_r18" else set()
    assert {name for name in moco if plain(held[name]) != plain(moco[name])} == changed
