"""What the optimizers of SwAV, DINO, SimSiam and Barlow Twins add, against transcriptions of the official code."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import serialization

from ssl_jax.train import nonfinite, transforms
from tests.train.test_optim import (
    PLAIN,
    STEPS,
    adam,
    assert_close,
    group_kernel,
    make_gradients,
    make_params,
    rate,
    schedule,
    train,
    transcribe,
)

SWAV = PLAIN | dict(name="larc", learning_rate=2.0, trust_coefficient=1e-3)
DINO = PLAIN | dict(name="adamw", weight_decay=0.04, weight_decay_end=0.4)


def norm(x):
    return np.sqrt((x**2).sum())


def larc(k, w, g, v):
    """apex at 0bfb830, LARC.py, lines 84 to 97 with clip=False, then torch.optim.SGD without weight decay."""
    if norm(w) != 0 and norm(g) != 0:
        g = (g + 0.01 * w) * (1e-3 * norm(w) / (norm(g) + norm(w) * 0.01 + 1e-8))
    v = 0.9 * v + g
    return w - rate(k, 2.0) * v, v


def test_larc_is_that_of_apex(x64):
    gradients = make_gradients()
    gradients[7]["dense"]["kernel"][:] = 0  # no gradient: no weight decay either
    history, _ = train(SWAV, gradients=gradients)
    assert_close(history[-1], transcribe(larc, slots=1, gradients=gradients))
    lars, _ = train(SWAV | {"name": "lars", "momentum_form": "lr_outside"}, gradients=gradients)
    assert np.abs(lars[-1]["dense"]["kernel"] - history[-1]["dense"]["kernel"]).max() > 1e-6


def test_clipped_larc_is_the_lars_of_solo_learn(x64):
    """solo/utils/lars.py at 9187ea3 with clip_lars_lr and exclude_bias_n_norm_lars; the warm-up starts above 0."""
    rates = [rate(k, 0.3) if k >= 4 else 3e-5 + k / 4 * (0.3 - 3e-5) for k in range(STEPS)]
    clipped = []

    def update(k, w, g, v):
        if w.ndim != 1 and norm(w) != 0 and norm(g) != 0:
            adaptive = 0.02 * norm(w) / (norm(g) + norm(w) * 1e-2 + 1e-8)
            clipped.append(adaptive > rates[k])
            g = (g + 1e-2 * w) * min(adaptive / rates[k], 1)
        v = 0.9 * v + g
        return w - rates[k] * v, v

    config = dict(name="larc", learning_rate=0.3, trust_coefficient=0.02, trust_clip=True, start_learning_rate=3e-5)
    excluded = {"vectors": {"weight_decay": 0.0, "trust_ratio": False}}
    history, _ = train(PLAIN | config | {"groups": excluded})
    assert_close(history[-1], transcribe(update, slots=1))
    assert 0.05 < np.mean(clipped) < 0.95


@pytest.mark.parity
def test_larc_in_torch(x64):
    torch = pytest.importorskip("torch")
    tensors = [torch.tensor(w, requires_grad=True) for w in jax.tree.leaves(make_params())]
    optimizer = torch.optim.SGD(tensors, lr=1.0, momentum=0.9)
    for k, gradient in enumerate(make_gradients()):
        optimizer.param_groups[0]["lr"] = rate(k, 2.0)
        for w, g in zip(tensors, map(torch.tensor, jax.tree.leaves(gradient)), strict=True):
            w.grad, w_norm, g_norm = g, torch.norm(w.data), torch.norm(g)
            if w_norm != 0 and g_norm != 0:
                w.grad = (g + 0.01 * w.data) * (1e-3 * w_norm / (g_norm + w_norm * 0.01 + 1e-8))
        optimizer.step()
    assert_close(jax.tree.leaves(train(SWAV)[0][-1]), [w.detach().numpy() for w in tensors])


def test_larc_leaves_groups_without_a_trust_ratio_to_sgd(x64):
    excluded = {"groups": {"vectors": {"weight_decay": 0.0, "trust_ratio": False}}}
    with_larc, sgd = (train(SWAV | excluded | {"name": name})[0][-1] for name in ("larc", "sgd"))
    assert_close(with_larc["norm"], sgd["norm"])
    assert np.abs(with_larc["dense"]["kernel"] - sgd["dense"]["kernel"]).max() > 0.1


def test_gradients_are_clipped_each_by_itself(x64):
    """dino/utils.py, clip_gradients: the norms of these parameters are about 3.1, 1.4, 2.1 and 2.3."""

    def update(k, w, g):
        coefficient = 2.0 / (norm(g) + 1e-6)
        return (w - 0.1 * (g * coefficient if coefficient < 1 else g),)

    config = dict(name="sgd", learning_rate=0.1, scaling="none", schedule="constant", momentum=0.0, clip_norm=2.0)
    each, _ = train(config | {"clip_per_parameter": True, "groups": {"vectors": {}}})
    assert_close(each[-1], transcribe(update, slots=0))
    together, _ = train(config | {"groups": {"vectors": {}}})
    assert np.abs(each[-1]["norm"]["scale"] - together[-1]["norm"]["scale"]).max() > 0.01


def decay(k):
    """dino/utils.py, cosine_scheduler: final + (base - final) (1 + cos(pi k / K)) / 2."""
    return 0.4 + 0.5 * (0.04 - 0.4) * (1 + np.cos(np.pi * k / STEPS))


@pytest.mark.parametrize("name", ["adamw", "sgd", "larc"])
def test_weight_decay_moves_along_a_cosine(x64, name):
    def sgd(k, w, g, v):
        v = 0.9 * v + g + (decay(k) * w if w.ndim > 1 else 0)
        return w - rate(k, 0.1) * v, v

    def swav(k, w, g, v):
        if norm(w) != 0 and norm(g) != 0:
            wd = decay(k) if w.ndim > 1 else 0.0
            g = (g + wd * w) * (1e-3 * norm(w) / (norm(g) + norm(w) * wd + 1e-8))
        v = 0.9 * v + g
        return w - rate(k, 0.1) * v, v

    def dino(k, w, g, m, v):
        plain, m, v = adam(True)(k, w, g, m, v)
        return plain + rate(k, 0.1) * (0.01 - (decay(k) if w.ndim > 1 else 0)) * w, m, v

    update, slots = {"adamw": (dino, 2), "sgd": (sgd, 1), "larc": (swav, 1)}[name]
    history, _ = train(DINO | {"name": name, "groups": {"vectors": {"weight_decay": 0.0}}})
    assert_close(history[-1], transcribe(update, slots))
    assert_close(train(DINO | {"weight_decay_end": 0.04})[0][-1], train(DINO | {"weight_decay_end": None})[0][-1])


def test_weight_decay_of_thawed_parameters_is_that_of_the_day(x64):
    history, _ = train(DINO | {"name": "sgd", "groups": {"kernel": {"frozen_steps": 6}}}, names=group_kernel)
    before, after = (params["dense"]["kernel"] for params in history[6:8])
    gradient = make_gradients()[6]["dense"]["kernel"]
    np.testing.assert_allclose(after, before - rate(6, 0.1) * (gradient + decay(6) * before), rtol=1e-10)


def test_weight_decay_goes_on_where_steps_are_skipped():
    config, everything = DINO | {"groups": {}}, lambda params: jax.tree.map(lambda _: "default", params)
    old, new = (
        train(config, names=everything, gradients=make_gradients(steps, np.float32), dtype=np.float32)[1]
        for steps in (2, 3)
    )
    kept = nonfinite.advance_counts(old, new)
    assert kept[0] == new[0] and int(kept[0].count) == 3  # the clock of the weight decay
    assert int(kept[1][-1].count) == 3  # and of the learning rate; Adam's moments stay
    for moment in ("mu", "nu"):
        jax.tree.map(np.testing.assert_array_equal, optax.tree.get(kept, moment), optax.tree.get(old, moment))
    restored = serialization.from_bytes(jax.tree.map(np.zeros_like, old), serialization.to_bytes(old))
    jax.tree.map(np.testing.assert_array_equal, old, restored)


@pytest.mark.parametrize("name", ["sgd", "adamw", "lars"])
def test_a_group_may_stay_at_the_peak_rate(x64, name):
    """SimSiam, --fix-pred-lr: the rate of the predictor does not follow the cosine, whatever the momentum holds."""
    config = PLAIN | {"name": name, "momentum_form": "lr_outside"}
    history, _ = train(config | {"groups": {"kernel": {"constant_learning_rate": True}}}, names=group_kernel)
    constant, _ = train(config | {"groups": {"kernel": {}}, "schedule": "constant", "warmup_steps": 0},
                        names=group_kernel)  # fmt: skip
    moving, _ = train(config | {"groups": {"kernel": {}}}, names=group_kernel)
    for ours, at_peak, scheduled in zip(history, constant, moving, strict=True):
        assert_close(ours["dense"]["kernel"], at_peak["dense"]["kernel"])
        assert_close(ours["norm"], scheduled["norm"])
    assert np.abs(constant[-1]["norm"]["scale"] - moving[-1]["norm"]["scale"]).max() > 1e-3


def test_rates_start_and_end_where_the_config_says():
    swav = schedule(warmup_steps=100, start_learning_rate=0.3, end_learning_rate=0.0048, learning_rate=4.8)
    np.testing.assert_allclose([swav(k) for k in (0, 50, 100, 1000)], [0.3, 2.55, 4.8, 0.0048], rtol=1e-5)
    barlow = schedule(warmup_steps=100, end_learning_rate=0.0016, learning_rate=1.6)
    # main.py, adjust_learning_rate: base q + 0.001 base (1 - q) with q = (1 + cos(pi k / K)) / 2.
    q = 0.5 * (1 + np.cos(np.pi * 200 / 900))
    np.testing.assert_allclose([barlow(k) for k in (0, 300)], [0, 1.6 * q + 0.0016 * (1 - q)], rtol=1e-5)
    staircase = schedule(schedule="cosine_epoch", end_learning_rate=0.5)
    assert staircase(999) == staircase(990) and 0.5 < float(staircase(999)) < 0.501
    constant = schedule(schedule="constant", warmup_steps=10, start_learning_rate=0.5)
    stairs = schedule(schedule="step", boundaries=(50,), warmup_steps=10, start_learning_rate=0.5)
    np.testing.assert_allclose([constant(5), stairs(5), stairs(500)], [0.75, 0.75, 0.1], rtol=1e-6)


def test_adam_without_bias_correction():
    """Two steps by hand, and beside optax's, whose moments are the same."""
    gradients = [np.array([0.3, -2.0]), np.array([-0.1, 0.5])]
    transform = transforms.scale_by_uncorrected_adam(0.9, 0.999, 1e-6)
    state, reference = transform.init(jnp.zeros(2)), optax.scale_by_adam(0.9, 0.999).init(jnp.zeros(2))
    m = v = np.zeros(2)
    for gradient in gradients:
        updates, state = transform.update(jnp.asarray(gradient, jnp.float32), state)
        _, reference = optax.scale_by_adam(0.9, 0.999).update(jnp.asarray(gradient, jnp.float32), reference)
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        np.testing.assert_allclose(updates, m / (np.sqrt(v) + 1e-6), rtol=1e-4)
    np.testing.assert_allclose(state.mu, reference.mu, rtol=1e-6)
    assert abs(float(updates[0])) > 1.5  # with correction about 0.5
