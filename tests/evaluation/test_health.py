"""Health signals against their formulas in float64, and the watch on constructed collapses and a healthy run."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.evaluation import health
from ssl_jax.evaluation.health import CAUSES, PATIENCE, WARM_UP, signals, update

B, D = 48, 16
RNG = np.random.default_rng(0)
HEALTHY_A = RNG.normal(size=(B, D))
HEALTHY_B = HEALTHY_A + 0.5 * RNG.normal(size=(B, D))
SIGNALS = jax.jit(signals)


def reference(z_a, z_b):
    a, b = (np.float64(z) / np.linalg.norm(np.float64(z), axis=1, keepdims=True) for z in (z_a, z_b))
    n, d = a.shape
    singular = np.linalg.svd(a, compute_uv=False)
    share = singular / singular.sum()
    pairs = [np.exp(-2 * np.sum((a[i] - a[j]) ** 2)) for i in range(n) for j in range(n) if i != j]
    cosine = a @ b.T
    return {
        "std": a.std(0).mean() * np.sqrt(d),
        "effective_rank": np.exp(-np.sum(share * np.log(share))),
        "alignment": np.mean([np.sum((a[i] - b[i]) ** 2) for i in range(n)]),
        "uniformity": np.log(np.mean(pairs)),
        "positive_cosine": np.mean([a[i] @ b[i] for i in range(n)]),
        "negative_cosine": np.mean([a[i] @ b[j] for i in range(n) for j in range(n) if i != j]),
        "in_batch_top1": np.mean(cosine.argmax(1) == np.arange(n)),
    }


@pytest.mark.parametrize("width", [16, 80])  # fewer and more dimensions than rows
def test_signals_equal_their_formulas(width, x64):
    z_a = RNG.normal(size=(B, width))
    z_b = z_a + 0.4 * np.sqrt(width) * RNG.normal(size=(B, width))
    found = signals(3 * jnp.asarray(z_a), jnp.asarray(z_b))
    expected = reference(z_a, z_b)
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-7, err_msg=name)
    assert 0.1 < expected["in_batch_top1"] < 1


def test_pairs_in_blocks_are_all_pairs(monkeypatch, x64):
    monkeypatch.setattr(health, "ROWS", 20)  # 48 anchors: two blocks and a part of one
    found, expected = health.signals(jnp.asarray(HEALTHY_A), jnp.asarray(HEALTHY_B)), reference(HEALTHY_A, HEALTHY_B)
    for name in expected.keys() - {"effective_rank"}:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-7, err_msg=name)


def test_signals_are_float32_for_half_precision_and_carry_no_gradient():
    found = SIGNALS(jnp.bfloat16(HEALTHY_A), jnp.bfloat16(HEALTHY_B))
    assert {leaf.dtype for leaf in found.values()} == {jnp.dtype("float32")}
    slope = jax.grad(lambda z: sum(signals(z, jnp.float32(HEALTHY_B)).values()))(jnp.float32(HEALTHY_A))
    assert not np.any(slope)


def measured(z_a, z_b, **metrics):
    return {name: float(value) for name, value in SIGNALS(np.float32(z_a), np.float32(z_b)).items()} | metrics


DIRECTION = RNG.normal(size=(1, D))
MOMENTUM = {"teacher_distance": 0.1, "teacher_update": 1e-3, "queue_age": 1.0, "queue_diversity": 0.98}
WELL = {"loss": 2.0, "chance_loss": 4.55, "gradient_norm": 0.3, "prototypes_used": 30.0} | MOMENTUM
WELL |= {"teacher_entropy": 0.5, "teacher_divergence": 0.1}
WELL |= {"invariance": 0.2, "variance": 0.4, "redundancy": 0.05}
PATTERNS = {
    "healthy": measured(HEALTHY_A, HEALTHY_B, **WELL),
    "frozen teacher": measured(HEALTHY_A, HEALTHY_B, **WELL | {"teacher_update": 0.0}),
    "stuck queue": measured(HEALTHY_A, HEALTHY_B, **WELL | {"queue_age": 1.6}),
    "constant keys": measured(HEALTHY_A, HEALTHY_B, **WELL | {"queue_diversity": 5e-3}),
    "collapse": measured(
        DIRECTION + 1e-4 * HEALTHY_A, DIRECTION + 1e-4 * HEALTHY_B, loss=4.3, chance_loss=4.55, gradient_norm=0.3
    ),
    "dimensions": measured(
        RNG.normal(size=(B, 1)) * DIRECTION, RNG.normal(size=(B, 1)) * DIRECTION,
        loss=3.5, chance_loss=4.55, gradient_norm=0.3,
    ),
    "identical views": measured(HEALTHY_A, HEALTHY_A, loss=0.01, chance_loss=4.55, gradient_norm=0.3),
    "chance": measured(HEALTHY_A, HEALTHY_B, loss=4.54, chance_loss=4.55, gradient_norm=0.3),
    "one output": measured(HEALTHY_A, HEALTHY_B, **WELL | {"teacher_entropy": 0.01, "teacher_divergence": 0.001}),
    "uniform outputs": measured(HEALTHY_A, HEALTHY_B, **WELL | {"teacher_entropy": 0.99, "teacher_divergence": 0.001}),
    "few prototypes": measured(HEALTHY_A, HEALTHY_B, **WELL | {"prototypes_used": 1.5}),
    "small embeddings": measured(HEALTHY_A, HEALTHY_B, **WELL | {"variance": 0.97}),
    "repeated dimensions": measured(HEALTHY_A, HEALTHY_B, **WELL | {"redundancy": 0.3}),
    "no gradient": measured(HEALTHY_A, HEALTHY_B, loss=2.0, chance_loss=4.55, gradient_norm=0.0),
}  # fmt: skip


def watch(rows, history=None):
    """(row number, warning) of every warning over the rows, and the last history."""
    history, given = history or {}, []
    for number, row in enumerate(rows):
        history, warnings = update(history, row)
        given += [(number, warning) for warning in warnings]
    return given, history


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_pattern_gives_the_warning_of_its_cause_alone(pattern):
    given, _ = watch([PATTERNS[pattern]] * 60)
    if pattern == "healthy":
        assert given == []
        return
    ((number, warning),) = given  # once
    assert warning.startswith(CAUSES[pattern][2])
    assert number == WARM_UP + PATIENCE - 1
    for key in CAUSES[pattern][1]:
        assert f"{key} " in warning


def test_a_constant_embedding_is_a_collapse():
    constant = measured(np.ones((B, D)), np.ones((B, D)))
    assert constant["std"] < 1e-3 and constant["in_batch_top1"] == 0
    (warning,) = [warning for _, warning in watch([constant] * 30)[0]]
    assert "complete collapse" in warning


def test_a_teacher_without_memory_is_not_frozen():
    """At momentum 0 it is the encoder itself, and before the first update nothing has moved."""
    start = measured(HEALTHY_A, HEALTHY_B, **WELL | {"teacher_distance": 0.0, "teacher_update": 0.0})
    assert watch([start] * 60)[0] == []


def test_a_run_that_starts_collapsed_and_recovers_is_healthy():
    # The first rows of a healthy contrastive run: chance and a narrow cone, then learning.
    start = {**PATTERNS["collapse"], "loss": 4.55}
    assert watch([start] * (WARM_UP + PATIENCE - 1) + [PATTERNS["healthy"]] * 50)[0] == []


def test_short_spells_are_forgiven_and_a_relapse_is_said_again():
    ill, well = [PATTERNS["chance"]], [PATTERNS["healthy"]]
    assert watch(well * 20 + (ill * (PATIENCE - 1) + well) * 10)[0] == []
    given, _ = watch(well * 20 + ill * 20 + well + ill * 20)
    assert [number for number, _ in given] == [19 + PATIENCE, 40 + PATIENCE]


def test_absent_metrics_are_not_judged():
    assert watch([{"loss": 4.55}, {"gradient_norm": 1.0}, {}] * 20)[0] == []


def test_history_survives_json_at_every_row():
    rows = [PATTERNS["chance"]] * 20 + [PATTERNS["healthy"]] * 3 + [PATTERNS["collapse"]] * 20
    whole, _ = watch(rows)
    history, resumed = {}, []
    for number, row in enumerate(rows):
        history, warnings = update(json.loads(json.dumps(history)), row)
        resumed += [(number, warning) for warning in warnings]
    assert resumed == whole and len(whole) == 2
    assert all(isinstance(count, int) for count in history.values())


def test_update_leaves_the_history_it_was_given():
    history = {"seen": 12}
    update(history, PATTERNS["chance"])
    assert history == {"seen": 12}
