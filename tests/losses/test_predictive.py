"""CPC's loss against the paper's formula in float64 NumPy: negatives, padding, groups, drawn negatives, devices."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import losses
from ssl_jax.losses.predictive import cpc_positions

B, T, K, D = 4, 7, 3, 5
S = T - K
VALID = np.arange(T)[None] < np.array([7, 5, 7, 4])[:, None]
SPEAKERS = np.array([0, 1, 0, 0])


def reference(predictions, targets, valid, allowed, scale=1.0):
    """Losses, accuracies and numbers of negatives by step; `allowed(i, j, t, u)` says which frames are negatives."""
    found = []
    for k in range(1, K + 1):
        rows = []
        for i in range(B):
            for t in range(S):
                if not (valid[i, t] and valid[i, t + k]):
                    continue
                logit = lambda j, u, i=i, t=t, k=k: scale * predictions[i, k - 1, t] @ targets[j, u]  # noqa: E731
                negatives = [
                    logit(j, u) for j in range(B) for u in range(T)
                    if valid[j, u] and (j, u) != (i, t + k) and allowed(i, j, t, u)
                ]  # fmt: skip
                positive = logit(i, t + k)
                loss = np.log(np.sum(np.exp(np.array([positive, *negatives])))) - positive
                rows.append((loss, positive > max(negatives), 1 / (1 + len(negatives))))
        found.append(np.mean(rows, axis=0))
    return np.array(found)


@pytest.fixture
def frames():
    numbers = np.random.default_rng(0)
    return numbers.normal(size=(B, K, S, D)), numbers.normal(size=(B, T, D))


CASES = {
    "both": ({}, lambda i, j, t, u: True),
    "sequence": ({"negatives": "sequence"}, lambda i, j, t, u: i == j),
    "batch": ({"negatives": "batch"}, lambda i, j, t, u: i != j),
    "groups": ({"group_size": 2}, lambda i, j, t, u: i // 2 == j // 2),
    "speakers": ({"kinds": jnp.array(SPEAKERS)}, lambda i, j, t, u: SPEAKERS[i] == SPEAKERS[j]),
    "speakers in groups": (
        {"kinds": jnp.array(SPEAKERS), "group_size": 2, "negatives": "both"},
        lambda i, j, t, u: SPEAKERS[i] == SPEAKERS[j] and i // 2 == j // 2,
    ),
    "scale": ({"scale": 0.2}, lambda i, j, t, u: True),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("padded", [False, True])
def test_the_loss_is_the_papers(case, padded, frames, x64):
    options, allowed = CASES[case]
    valid = VALID if padded else np.ones((B, T), bool)
    expected = reference(*frames, valid, allowed, options.get("scale", 1.0))
    found = losses.cpc_terms(*frames, jnp.array(valid), **options)
    np.testing.assert_allclose(found["loss"], expected[:, 0], rtol=1e-12)
    np.testing.assert_allclose(found["accuracy"], expected[:, 1], rtol=1e-12)
    np.testing.assert_allclose(found["chance_accuracy"], expected[:, 2], rtol=1e-12)
    assert losses.cpc(*frames, jnp.array(valid), **options) == pytest.approx(expected[:, 0].mean(), rel=1e-12)


def test_drawn_negatives_count_as_often_as_they_are_drawn_and_never_as_positives(frames, x64):
    predictions, targets = frames
    drawn = np.random.default_rng(1).integers(0, B * T, (B, S, 6))
    drawn[0, 0, :2] = 1  # the positive of its first step
    found = cpc_positions(predictions, targets, jnp.array(VALID), drawn=jnp.array(drawn))
    for k, i, t in ((1, 0, 0), (2, 0, 0), (3, 2, 1), (1, 3, 2)):
        places = [
            (j, u) for j, u in zip(*np.divmod(drawn[i, t], T), strict=True) if VALID[j, u] and (j, u) != (i, t + k)
        ]
        logits = [predictions[i, k - 1, t] @ targets[j, u] for j, u in [(i, t + k), *places]]
        assert found["loss"][k - 1, i, t] == pytest.approx(np.log(np.sum(np.exp(logits))) - logits[0], rel=1e-12)
        assert found["chance_accuracy"][k - 1, i, t] == pytest.approx(1 / len(logits))


def test_padding_is_neither_predicted_nor_a_negative(frames, x64):
    loss = lambda predictions, targets: losses.cpc(predictions, targets, jnp.array(VALID))  # noqa: E731
    predictions, targets = map(np.abs, jax.grad(loss, argnums=(0, 1))(*frames))
    np.testing.assert_array_equal(targets.max(-1) > 0, VALID)
    told = np.stack([VALID[:, :S] & VALID[:, k : k + S] for k in range(1, K + 1)], axis=1)
    np.testing.assert_array_equal(predictions.max(-1) > 0, told)


def test_a_row_without_negatives_has_loss_and_gradient_0(frames):
    predictions, targets = (jnp.float32(x[:2]) for x in frames)
    valid = jnp.array([[True] * T, [False] * T])
    loss = lambda *arrays: losses.cpc(*arrays, valid, negatives="batch")  # noqa: E731
    value, gradients = jax.value_and_grad(loss, argnums=(0, 1))(predictions, targets)
    assert value == 0 and all((gradient == 0).all() for gradient in gradients)


@pytest.mark.parametrize(
    "options", [{}, {"group_size": 2}, {"group_size": 1, "negatives": "sequence"}, {"drawn": True}]
)
def test_devices_change_nothing(options, frames, x64):
    if "drawn" in options:
        options = {"drawn": jnp.array(np.random.default_rng(1).integers(0, B * T, (B, S, 6)))}
    per_row = {"kinds": jnp.array(SPEAKERS)} | {name: x for name, x in options.items() if name == "drawn"}
    others = {name: x for name, x in options.items() if name != "drawn"}

    def loss(rows, axis_name=None):
        predictions, targets, valid, own = rows
        return losses.cpc(predictions, targets, valid, **own, **others, axis_name=axis_name)

    rows = (*frames, jnp.array(VALID), per_row)
    whole, gradients = jax.value_and_grad(lambda x: loss((*x, *rows[2:])))(frames)
    for devices in (2, 4):
        cut = jax.tree.map(lambda x, n=devices: jnp.reshape(x, (n, -1, *x.shape[1:])), rows)

        def mean(x, cut=cut):
            return jnp.mean(jax.vmap(partial(loss, axis_name="data"), axis_name="data")((*x, *cut[2:])))

        value, found = jax.value_and_grad(mean)(cut[:2])
        assert float(value) == pytest.approx(float(whole), rel=1e-12)
        for a, b in zip(found, gradients, strict=True):
            np.testing.assert_allclose(a.reshape(b.shape), b, atol=1e-14)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"negatives": "all"}, "negatives is 'all', but must be 'both', 'sequence' or 'batch': pass"),
        ({"group_size": 3}, "group_size is 3 and a device has 4 sequences"),
    ],
)
def test_wrong_arguments_are_refused(options, message, frames):
    with pytest.raises(ValueError, match=message):
        losses.cpc(*frames, **options)
    with pytest.raises(ValueError, match="predict from all frames but the last K"):
        losses.cpc(frames[0], frames[1][:, 1:])
