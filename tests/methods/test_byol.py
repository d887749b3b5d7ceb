"""BYOL: what is predicted from what, what carries gradient, how the target moves, its collapse without predictor."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.methods.api import Progress
from ssl_jax.methods.parts import networks
from ssl_jax.models import resnet
from tests.methods.by_hand import loss_and_outputs, prepare, unit, watched


@pytest.fixture
def prepared(tiny, tiny_batch, monkeypatch):
    monkeypatch.setitem(resnet.BLOCKS, 6, (1,))

    def make(**changes):
        config = tiny("byol")
        config.update_from_flattened_dict(changes)
        return config, *prepare(config, tiny_batch())

    return make


def test_every_view_is_predicted_from_the_other_and_the_target_gets_no_gradient(prepared):
    config, method, views, params, state = prepared(**{"method.target_init": "own", "method.loss_scale": 0.5})

    @jax.jit
    def by_hand(params, state):
        def loss(params, teacher):
            return loss_and_outputs(method, views, params, state | {"teacher": teacher})

        (value, (out, new)), slopes = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(params, state["teacher"])
        # Other running statistics of the target would change nothing: it normalises with those of its batch.
        other = jax.tree.map(lambda leaf: leaf + 1, state["teacher_stats"])
        make = networks.make_networks(config, "projector", "predictor")()
        followed = {name: make[name] for name in ("encoder", "projector")}
        online, target = {}, {}
        for view in (0, 1):
            images = views[f"view_{view}"]
            online[view] = networks.forward(make, params, state["batch_stats"], images)[0]
            target[view] = networks.forward(followed, state["teacher"], other, images)[0]
        return value, out, new, slopes, online, target

    value, out, new, (slope, teacher_slope), online, target = by_hand(params, state)
    # Equation 2 and the symmetric loss after it: two directions, summed.
    distances = [(unit(out[p]) - unit(out[t])) ** 2 for p, t in (("z_a", "z_b"), ("prediction_1", "target_0"))]
    assert float(value) == pytest.approx(0.5 * sum(d.sum(axis=1).mean() for d in distances), rel=1e-5)
    for name, expected in (
        ("z_a", online[0]["predictor"]), ("prediction_1", online[1]["predictor"]), ("features", online[0]["encoder"]),
        ("z_b", target[1]["projector"]), ("target_0", target[0]["projector"]),
    ):  # fmt: skip
        np.testing.assert_allclose(out[name], expected, atol=1e-3 * np.abs(expected).max(), err_msg=name)

    assert not any(np.any(leaf) for leaf in jax.tree.leaves(teacher_slope))
    for head in ("projector", "predictor"):
        assert all(np.any(slope[head][layer]["kernel"]) for layer in ("dense_1", "dense_2"))
    # Statistics of its own: of other parameters, from the same images.
    means = [new[stats]["encoder"]["stem_norm"]["mean"] for stats in ("batch_stats", "teacher_stats")]
    assert np.abs(means[0] - means[1]).max() > 1e-3


def test_the_target_starts_as_a_copy_or_as_a_network_of_its_own(prepared):
    def differing(how):
        _, _, _, params, state = prepared(**{"method.target_init": how})
        assert set(state["teacher"]) == {"encoder", "projector"}
        kernels = [tree["projector"]["dense_1"]["kernel"] for tree in (params, state["teacher"])]
        return np.mean(kernels[0] != kernels[1])

    assert differing("copy") == 0 and differing("own") > 0.99
    with pytest.raises(ValueError, match="target_init is 'random'; expected 'copy' or 'own'"):
        differing("random")


def test_the_target_moves_after_a_step_with_the_momentum_of_that_step(prepared):
    """byol_experiment.py, `_update_fn`: `target_ema(global_step)` of the parameters that the optimizer just made."""
    _, method, _, params, state = prepared(**{"method.momentum": 0.6})
    moved = jax.tree.map(lambda leaf: leaf + 1, params)
    followed = {name: moved[name] for name in state["teacher"]}
    for step in (0, 3, 9):
        momentum = 1 - (1 - 0.6) * 0.5 * (1 + math.cos(math.pi * step / 10))
        kept, new = method.after_update(moved, state, Progress(jnp.int32(step), 10))
        assert kept is moved
        for before, trained, after in zip(
            *(jax.tree.leaves(tree) for tree in (state["teacher"], followed, new["teacher"])), strict=True
        ):
            np.testing.assert_allclose(after, momentum * before + (1 - momentum) * trained, rtol=1e-5, atol=1e-6)


def test_heads_are_the_official_ones(prepared):
    """networks.py, `MLP`: the first layer has a bias although a norm follows, the second none; Haiku's first values."""
    _, _, _, params, _ = prepared(
        **{"model.projector.hidden_dims": (300,), "model.predictor.hidden_dims": (300,), "model.width": 0.5,
           "model.init": "haiku"}
    )  # fmt: skip
    for head in ("projector", "predictor"):
        held = {layer: set(leaves) for layer, leaves in params[head].items()}
        assert held == {"dense_1": {"kernel", "bias"}, "norm_1": {"scale", "bias"}, "dense_2": {"kernel"}}
        assert not params[head]["dense_1"]["bias"].any()
    for layer in (params["predictor"]["dense_1"], params["encoder"]["stage_1"]["block_1"]["conv_2"]):
        # 0.8796: the standard deviation that is left of a normal distribution of 1 cut off at 2.
        kernel, std = layer["kernel"], 1 / np.sqrt(np.prod(layer["kernel"].shape[:-1]))
        assert np.abs(kernel).max() <= 2 * std and kernel.std() == pytest.approx(0.8796 * std, rel=0.01)


def test_without_predictor_it_collapses_and_the_watch_says_so(tiny, monkeypatch):
    monkeypatch.setitem(resnet.BLOCKS, 6, (1, 1))

    def run(predictor, steps):
        config = tiny("byol")
        config.method.predictor, config.train.batch_size, config.model.width = predictor, 64, 1 / 16
        if not predictor:
            config.model.projector.norm = "hidden"  # as published: a norm at its end would hold the embeddings apart
        return watched(config, steps)

    warnings, row = run(False, 80)
    assert any("complete collapse" in warning for warning in warnings) and row["std"] < 0.05
    warnings, row = run(True, 50)
    assert warnings == [] and row["std"] > 0.2
