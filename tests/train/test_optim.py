"""Optimizers against float64 NumPy transcriptions of the official update rules, over 20 steps of changing gradients."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import serialization
from ml_collections import ConfigDict

from ssl_jax.methods.api import matrices_and_vectors
from ssl_jax.train import optim

STEPS = 20
RUN = dict(batch_size=256, steps=STEPS, steps_per_epoch=5)
EXCLUDED = {"vectors": {"weight_decay": 0.0, "trust_ratio": False}}


def make_params(dtype=np.float64):
    random = np.random.default_rng(0)
    return {
        "dense": {"kernel": random.normal(size=(4, 3)).astype(dtype), "bias": random.normal(size=3).astype(dtype)},
        "norm": {"scale": np.ones(3, dtype)},
        "zero": np.zeros((2, 2), dtype),
    }


def make_gradients(steps=STEPS, dtype=np.float64):
    random = np.random.default_rng(1)
    draw = lambda leaf: random.normal(size=leaf.shape).astype(dtype)  # noqa: E731
    gradients = [jax.tree.map(draw, make_params()) for _ in range(steps)]
    gradients[0]["zero"] = np.zeros((2, 2), dtype)  # norms of 0: the trust ratio is 1
    return gradients


def train(config, *, names=matrices_and_vectors, gradients=None, dtype=np.float64, **run):
    """Parameters after every step (the first entry: before), and the last optimizer state."""
    params = make_params(dtype)
    gradients = gradients or make_gradients(dtype=dtype)
    optimizer, _ = optim.build(ConfigDict(config), params, names(params), **(RUN | run))

    @jax.jit
    def step(params, state, gradient):
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    state, history = optimizer.init(params), [params]
    for gradient in gradients:
        params, state = step(params, state, gradient)
        history.append(jax.device_get(params))
    return history, state


def transcribe(update, slots, gradients=None):
    """Apply `update(k, w, g, *slots) -> w, *slots` to every leaf; the slots begin as zeros."""
    params = make_params()
    leaves, tree = jax.tree.flatten(params)
    buffers = [[np.zeros_like(w) for _ in range(slots)] for w in leaves]
    for k, gradient in enumerate(gradients or make_gradients()):
        for i, g in enumerate(jax.tree.leaves(gradient)):
            leaves[i], *buffers[i] = update(k, leaves[i], g, *buffers[i])
    return jax.tree.unflatten(tree, leaves)


def assert_close(ours, expected, rtol=1e-10):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-12), ours, expected)


def rate(k, peak, warmup=4):
    return k / warmup * peak if k < warmup else peak * 0.5 * (1 + math.cos(math.pi * (k - warmup) / (STEPS - warmup)))


def trust(w, g, eta=1e-3):
    w_norm, g_norm = np.sqrt((w**2).sum()), np.sqrt((g**2).sum())
    return eta * w_norm / g_norm if w_norm > 0 and g_norm > 0 else 1.0


LARS = dict(
    name="lars", learning_rate=2.0, scaling="none", weight_decay=0.01, momentum=0.9, warmup_steps=4, groups=EXCLUDED
)


@pytest.mark.parametrize("nesterov", [False, True])
def test_lars_with_the_rate_inside_is_that_of_simclr(x64, nesterov):
    """tf2/lars_optimizer.py with classic_momentum; biases and norm layers excluded from decay and adaptation."""

    def update(k, w, g, v):
        scaled = rate(k, 2.0)
        if w.ndim > 1:
            g = g + 0.01 * w
            scaled = scaled * trust(w, g)
        v = 0.9 * v + scaled * g
        return w - (0.9 * v + scaled * g if nesterov else v), v

    history, _ = train(LARS | {"nesterov": nesterov})
    assert_close(history[-1], transcribe(update, slots=1))


def moco_v3(k, w, g, v):
    if w.ndim > 1:
        g = g + 0.01 * w
        g = g * trust(w, g)
    v = 0.9 * v + g
    return w - rate(k, 2.0) * v, v


def test_lars_with_the_rate_outside_is_that_of_byol_and_moco_v3(x64):
    """byol/utils/optimizers.py and moco-v3 moco/optimizer.py."""
    outside, _ = train(LARS | {"momentum_form": "lr_outside"})
    assert_close(outside[-1], transcribe(moco_v3, slots=1))
    inside, _ = train(LARS)
    assert np.abs(inside[-1]["dense"]["bias"] - outside[-1]["dense"]["bias"]).max() > 0.01


def test_the_two_forms_of_lars_agree_while_the_rate_is_constant(x64):
    config = LARS | {"schedule": "constant", "warmup_steps": 0}
    inside, outside = train(config)[0], train(config | {"momentum_form": "lr_outside"})[0]
    assert_close(inside[-1], outside[-1])


@pytest.mark.parity
def test_lars_with_the_rate_outside_in_torch(x64):
    torch = pytest.importorskip("torch")
    tensors = [torch.tensor(w) for w in jax.tree.leaves(make_params())]
    buffers = [torch.zeros_like(w) for w in tensors]
    for k, gradient in enumerate(make_gradients()):
        for w, v, g in zip(tensors, buffers, map(torch.tensor, jax.tree.leaves(gradient)), strict=True):
            if w.ndim > 1:
                g = g.add(w, alpha=0.01)
                w_norm, g_norm = torch.linalg.vector_norm(w), torch.linalg.vector_norm(g)
                if w_norm > 0 and g_norm > 0:
                    g = g * (1e-3 * w_norm / g_norm)
            v.mul_(0.9).add_(g)
            w.add_(v, alpha=-rate(k, 2.0))
    history, _ = train(LARS | {"momentum_form": "lr_outside"})
    assert_close(jax.tree.leaves(history[-1]), [w.numpy() for w in tensors])


def test_parameters_outside_lars_move_at_the_full_rate():
    """SimCLR at batch 4096: a bias moves by 4.8 g in the first step, a kernel by 4.8e-3 of its own norm."""
    config = LARS | {"learning_rate": 0.3, "scaling": "linear", "schedule": "constant", "warmup_steps": 0}
    gradients = make_gradients(1)
    (before, after), _ = train(config, gradients=gradients, batch_size=4096, dtype=np.float32)
    moved = jax.tree.map(np.subtract, before, after)
    np.testing.assert_allclose(moved["norm"]["scale"], 4.8 * gradients[0]["norm"]["scale"], rtol=1e-5)
    kernel = before["dense"]["kernel"]
    np.testing.assert_allclose(np.linalg.norm(moved["dense"]["kernel"]), 4.8e-3 * np.linalg.norm(kernel), rtol=1e-4)


def sgd(nesterov):
    def update(k, w, g, v):
        g = g + 0.01 * w
        v = 0.9 * v + g
        return w - rate(k, 0.1) * (g + 0.9 * v if nesterov else v), v

    return update


def adam(decoupled):
    def update(k, w, g, m, v):
        if decoupled:
            w = w * (1 - rate(k, 0.1) * 0.01)
        else:
            g = g + 0.01 * w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        m_hat, v_hat = m / (1 - 0.9 ** (k + 1)), v / (1 - 0.999 ** (k + 1))
        return w - rate(k, 0.1) * m_hat / (np.sqrt(v_hat) + 1e-8), m, v

    return update


PLAIN = dict(learning_rate=0.1, scaling="none", weight_decay=0.01, warmup_steps=4, groups={"vectors": {}})
OTHERS = {
    "sgd": (dict(name="sgd"), sgd(False), 1),
    "sgd_nesterov": (dict(name="sgd", nesterov=True), sgd(True), 1),
    "adam": (dict(name="adam"), adam(False), 2),
    "adamw": (dict(name="adamw"), adam(True), 2),
}


@pytest.mark.parametrize("case", OTHERS)
def test_sgd_and_adam_are_those_of_torch(x64, case):
    """The algorithm boxes of torch.optim.SGD, Adam and AdamW, transcribed: decay is coupled in the first two."""
    config, update, slots = OTHERS[case]
    assert_close(train(PLAIN | config)[0][-1], transcribe(update, slots))


@pytest.mark.parity
@pytest.mark.parametrize("case", OTHERS)
def test_sgd_and_adam_beside_torch(x64, case):
    torch = pytest.importorskip("torch")
    config, _, _ = OTHERS[case]
    tensors = [torch.tensor(w, requires_grad=True) for w in jax.tree.leaves(make_params())]
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config["name"]]
    extra = dict(momentum=0.9, nesterov=config.get("nesterov", False)) if config["name"] == "sgd" else {}
    optimizer = kind(tensors, lr=0.1, weight_decay=0.01, **extra)
    for k, gradient in enumerate(make_gradients()):
        optimizer.param_groups[0]["lr"] = rate(k, 0.1)
        for w, g in zip(tensors, jax.tree.leaves(gradient), strict=True):
            w.grad = torch.tensor(g)
        optimizer.step()
    ours = jax.tree.leaves(train(PLAIN | config)[0][-1])
    assert_close(ours, [w.detach().numpy() for w in tensors])


@pytest.mark.parametrize(
    ("base", "scaling", "batch_size", "expected"),
    [
        (0.3, "linear", 4096, 4.8),  # SimCLR, two rules that agree at 4096 only
        (0.075, "sqrt", 4096, 4.8),
        (0.075, "sqrt", 512, 1.697056),
        (0.1, "sqrt", 4096, 6.4),  # SimCLR v2
        (0.6, "linear", 4096, 9.6),  # MoCo v3, 100 epochs
        (0.2, "linear", 4096, 3.2),  # BYOL
        (0.05, "linear", 512, 0.1),  # SimSiam
        (0.2, "linear", 2048, 1.6),  # Barlow Twins
        (0.0048, "linear", 2048, 0.0384),  # Barlow Twins, biases and norm layers
        (0.03, "none", 4096, 0.03),
    ],
)
def test_scaling_rules_give_the_published_rates(base, scaling, batch_size, expected):
    config = ConfigDict(dict(learning_rate=base, scaling=scaling))
    assert optim.scaled_learning_rate(config, batch_size) == pytest.approx(expected, rel=1e-6)


def schedule(steps=1000, steps_per_epoch=10, **config):
    config = dict(learning_rate=1.0, scaling="none", groups=EXCLUDED) | config
    params = make_params()
    run = dict(batch_size=1, steps=steps, steps_per_epoch=steps_per_epoch)
    return optim.build(ConfigDict(config), params, matrices_and_vectors(params), **run)[1]


def test_schedules_and_warm_ups_of_the_config():
    per_epoch = schedule(schedule="cosine_epoch")
    assert per_epoch(19) == per_epoch(10) > per_epoch(20)
    assert schedule()(19) < schedule()(10)
    decayed = schedule(schedule="step", boundaries=(30, 60), decay_factor=0.1)
    np.testing.assert_allclose([decayed(k) for k in (299, 300, 600)], [1, 0.1, 0.01], rtol=1e-6)
    assert schedule(schedule="constant", warmup_steps=10)(5) == 0.5
    # ImageNet at batch 4096, as the official code counts: int(round(10 * 1281167 // 4096)) = 3127.
    imagenet = schedule(steps=31279, steps_per_epoch=1281167 / 4096, warmup_epochs=10)
    np.testing.assert_allclose(imagenet(jnp.arange(3)), np.arange(3) / 3127, rtol=1e-6)
    assert imagenet(3127) == 1.0 > imagenet(3126)
    # A product of floats just below a whole number still counts as that number.
    assert schedule(steps_per_epoch=100, warmup_epochs=0.29)(28) == np.float32(28 / 29)


def test_the_schedule_counts_the_optimizer_steps():
    gradients = [jax.tree.map(np.ones_like, make_params()) for _ in range(3)]
    history, state = train(
        PLAIN | {"momentum": 0.0, "weight_decay": 0.0, "nesterov": False}, gradients=gradients, dtype=np.float32
    )
    moved = [float(a["zero"][0, 0] - b["zero"][0, 0]) for a, b in zip(history, history[1:], strict=False)]
    np.testing.assert_allclose(moved, [0.0, 0.025, 0.05], rtol=1e-5)
    assert optax.tree.get(state, "count") == 3


def group_kernel(params):
    return jax.tree.map(lambda _: "default", params) | {"dense": {"kernel": "kernel", "bias": "default"}}


@pytest.mark.parametrize("config", [LARS, LARS | {"momentum_form": "lr_outside"}, PLAIN | {"name": "sgd"}])
@pytest.mark.parametrize("frozen_steps", [6, -1])
def test_frozen_parameters_stay_and_leave_no_momentum(config, frozen_steps):
    groups = {"kernel": {"frozen_steps": frozen_steps}}
    history, state = train(
        config | {"groups": groups}, names=group_kernel, gradients=make_gradients(8, np.float32), dtype=np.float32
    )
    kernels = [params["dense"]["kernel"] for params in history]
    for kernel in kernels[: 7 if frozen_steps == 6 else 9]:
        np.testing.assert_array_equal(kernel, kernels[0])
    assert np.abs(kernels[7] - kernels[6]).max() > 0 or frozen_steps == -1
    assert np.abs(history[4]["dense"]["bias"] - history[3]["dense"]["bias"]).max() > 0
    if frozen_steps == -1:
        assert not np.any(optax.tree.get(state, "trace")["dense"]["kernel"])


def test_thawed_parameters_start_like_fresh_ones(x64):
    """The first step after the freeze has no momentum, Adam's bias correction of a first step, and today's rate."""
    kernel = make_params()["dense"]["kernel"]
    gradient = make_gradients()[6]["dense"]["kernel"]
    groups = {"kernel": {"frozen_steps": 6}}
    run = lambda name: train(PLAIN | {"name": name, "groups": groups}, names=group_kernel)[0][7]  # noqa: E731
    np.testing.assert_allclose(
        run("sgd")["dense"]["kernel"], kernel - rate(6, 0.1) * (gradient + 0.01 * kernel), rtol=1e-10
    )
    direction = gradient / (np.abs(gradient) + 1e-8) + 0.01 * kernel
    np.testing.assert_allclose(run("adamw")["dense"]["kernel"], kernel - rate(6, 0.1) * direction, rtol=1e-10)


def test_groups_scale_the_rate_and_set_their_own_decay(x64):
    """Barlow Twins: biases and norm layers at .0048 / .2 of the rate, without decay."""
    groups = {"vectors": {"learning_rate_factor": 0.024, "weight_decay": 0.0}, "default": {"weight_decay": 0.5}}

    def update(k, w, g, v):
        v = 0.9 * v + g + (0.5 * w if w.ndim > 1 else 0.0)
        return w - rate(k, 0.1) * (1.0 if w.ndim > 1 else 0.024) * v, v

    assert_close(train(PLAIN | {"groups": groups})[0][-1], transcribe(update, slots=1))


def test_clipping_sees_the_norm_of_all_moving_gradients():
    config = dict(name="sgd", learning_rate=1.0, scaling="none", schedule="constant", momentum=0.0)
    gradients = make_gradients(1)
    flat = np.concatenate([g.ravel() for g in jax.tree.leaves(gradients[0])])

    def moved(config, names):
        (before, after), _ = train(config, names=names, gradients=gradients, dtype=np.float32)
        return np.concatenate([g.ravel() for g in jax.tree.leaves(jax.tree.map(np.subtract, before, after))])

    everything = lambda params: jax.tree.map(lambda _: "default", params)  # noqa: E731
    np.testing.assert_allclose(
        moved(config | {"clip_norm": 0.5}, everything), flat * 0.5 / np.linalg.norm(flat), atol=1e-6
    )
    for off in (None, 0.0, 1e3):
        np.testing.assert_allclose(moved(config | {"clip_norm": off}, everything), flat, atol=1e-6)
    # What is frozen does not count: the rest is clipped to the whole of 0.5.
    frozen = config | {"clip_norm": 0.5, "groups": {"kernel": {"frozen_steps": -1}}}
    assert np.linalg.norm(moved(frozen, group_kernel)) == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize("name", ["sgd", "lars", "adamw"])
def test_the_state_is_a_tree_of_arrays_that_serialises(name):
    groups = EXCLUDED | {"unused": {"frozen_steps": 3}}
    config = PLAIN | {"name": name, "clip_norm": 1.0, "groups": groups}
    _, state = train(config, gradients=make_gradients(2, np.float32), dtype=np.float32)
    leaves = jax.tree.leaves(state)
    assert leaves and all(isinstance(leaf, jax.Array) for leaf in leaves)
    assert all(leaf.dtype in (jnp.float32, jnp.int32) for leaf in leaves)
    restored = serialization.from_bytes(jax.tree.map(jnp.zeros_like, state), serialization.to_bytes(state))
    jax.tree.map(np.testing.assert_array_equal, state, restored)
