"""Labels as users have them: any numbers, rows without one, classes too small, features that are not finite."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_digits

from ssl_jax import monitor
from ssl_jax.data import sources
from ssl_jax.data.arrays import from_arrays
from ssl_jax.evaluation import inputs, labels, protocols
from ssl_jax.evaluation.linear_probe import linear_probe
from ssl_jax.evaluation.online_probe import OnlineProbe

DIGITS = load_digits()
X, Y = np.asarray(DIGITS.data / 16, np.float32), DIGITS.target.astype(np.int32)
N, M = 300, 200  # training and test rows
NAMES = ("knn", "linear", "few_label")


def evaluate(y=Y, test_y=None, x=X, names=NAMES, **others):
    """The rows of the protocols on digits with other labels or features; `others` are more kinds of features."""
    test_y = y[-M:] if test_y is None else test_y
    kinds = {
        kind: ({"features": x[:N], "label": y[:N]}, {"features": x[-M:], "label": test_y})
        for kind, x in ({"input": x} | others).items()
    }
    return protocols.evaluate(protocols.Context(features=lambda: kinds, split="test"), names)


def values(rows):
    return {(row["protocol"], row["features"]): (row["value"], row["n"]) for row in rows}


@pytest.fixture(scope="module")
def ordinary():
    return values(evaluate())


@pytest.mark.parametrize("numbers", [np.arange(1, 11), np.array([2, 3, 5, 8, 13, 21, 34, 55, 89, 2**31 - 1])])
def test_other_numbers_of_the_classes_change_no_value(ordinary, numbers):
    assert len(ordinary) == 3 and values(evaluate(numbers[Y].astype(np.int32))) == ordinary


def test_rows_without_a_label_are_in_no_probe(ordinary, capsys):
    y, x = Y.copy(), np.concatenate([X[:N], X[N : N + 100], X[-M:]])
    y = np.concatenate([Y[:N], -np.ones(100, np.int32), Y[-M:]])
    kinds = {"input": ({"features": x[: N + 100], "label": y[: N + 100]}, {"features": X[-M:], "label": Y[-M:].copy()})}
    kinds["input"][1]["label"][:50] = -1
    found = protocols.evaluate(protocols.Context(features=lambda: kinds, split="test"), ("knn",))
    kinds = {"input": ({"features": X[:N], "label": Y[:N]}, {"features": X[-M + 50 :], "label": Y[-M + 50 :]})}
    assert found == protocols.evaluate(protocols.Context(features=lambda: kinds, split="test"), ("knn",))
    assert found[0]["n"] == M - 50 and capsys.readouterr().out == ""


def test_withheld_labels_are_no_accuracy(capsys):
    assert evaluate(test_y=-np.ones(M, np.int32)) == []
    said = "No test row has a label: all are -1; give data with a label in both splits\n"
    assert capsys.readouterr().out == "".join(f"{name} is left out: {said}" for name in NAMES)


def test_a_test_row_of_an_unknown_class_is_wrong(ordinary):
    test_y = Y[-M:].copy()
    test_y[:100] = 11
    _, known = values(evaluate(names=("knn",), test_y=test_y)).popitem()
    kept = evaluate(names=("knn",), x=np.concatenate([X[:N], X[-M:]]), y=np.concatenate([Y[:N], Y[-M:]]))
    assert known[1] == M and known[0] <= kept[0]["value"] - 0.3


def test_a_protocol_that_cannot_run_leaves_the_others(ordinary, capsys):
    y = np.where(Y[:N] == 7, np.cumsum(Y[:N] == 7), 100) > 5  # all but five of the sevens
    kept = np.flatnonzero((Y[:N] != 7) | ~y)
    kinds = {"input": ({"features": X[kept], "label": Y[kept]}, {"features": X[-M:], "label": Y[-M:]})}
    rows = protocols.evaluate(protocols.Context(features=lambda: kinds, split="test"), ("few_label", "knn"))
    assert [row["protocol"] for row in rows] == ["knn"] and rows[0]["value"] > 0.75
    assert capsys.readouterr().out == (
        "few_label is left out: labels_per_class=10 was asked of training data whose rarest class has 5 rows; ask for "
        "at most that many, or give more training data\n"
    )


def test_twenty_labels_and_one_class_get_a_line(capsys):
    few = np.concatenate([np.flatnonzero(Y[:N] == label)[:2] for label in range(10)])
    kinds = {"input": ({"features": X[few], "label": Y[few]}, {"features": X[-M:], "label": Y[-M:]})}
    rows = protocols.evaluate(protocols.Context(features=lambda: kinds, split="test"), NAMES)
    assert [row["protocol"] for row in rows] == ["knn"] and rows[0]["value"] > 0.5
    linear, few_label = capsys.readouterr().out.splitlines()
    assert linear.startswith("linear is left out: A sweep needs validation rows") and "has 2 rows" in few_label
    assert evaluate(np.full_like(Y, 4)) == []
    assert capsys.readouterr().out.splitlines() == [
        f"{name} is left out: All training rows have one label, 4; a classifier needs two or more" for name in NAMES
    ]


def test_a_kind_of_features_that_is_not_finite_leaves_the_others(ordinary, capsys):
    bad = X.copy()
    bad[5, 3] = np.nan
    rows = evaluate(names=("knn",), random=bad)
    assert values(rows) == {("knn", "input"): ordinary["knn", "input"]}
    said = capsys.readouterr().out
    assert said.startswith("knn of random encoder is left out: The training features are not finite in 1 of 64 columns")


def test_rows_are_kept_before_the_next_protocol_runs(monkeypatch):
    kept, run = [], protocols.load("knn").run

    def fails(context):
        raise RuntimeError("memory")

    monkeypatch.setattr(protocols.load("linear"), "run", fails)
    kinds = {"input": ({"features": X[:N], "label": Y[:N]}, {"features": X[-M:], "label": Y[-M:]})}
    context = protocols.Context(features=lambda: kinds, split="test")
    with pytest.raises(RuntimeError, match="memory"):
        protocols.evaluate(context, ("knn", "linear"), kept.extend)
    assert kept == run(context)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"train_y": Y[:7]}, r"8 training rows and labels int32 \[7\]"),
        ({"train_y": np.float32(Y[:8])}, r"labels float32 \[8\]"),
        ({"test_y": Y[:3]}, r"4 test rows and labels int32 \[3\]"),
        ({"test_x": X[:4, :1]}, r"\(8, 64\) and test features \(4, 1\)"),
        ({"train_x": X[:0], "train_y": Y[:0]}, "no training rows"),
        ({"test_x": np.full((4, 64), np.inf)}, "test features are not finite in 64 of 64 columns"),
        ({"train_y": Y[:8] + 3}, "training labels go from 3 to 10; pass 0 to 9"),
        ({"test_y": Y[:4] - 2}, "test labels go from -2 to 1; pass -1 to 9"),
    ],
)
def test_what_no_classifier_takes_is_refused(change, sentence):
    given = {"train_x": X[:8], "train_y": Y[:8], "test_x": X[:4], "test_y": Y[:4]}
    labels.check(*given.values(), num_classes=10)
    with pytest.raises(ValueError, match=sentence):
        linear_probe(**(given | change), num_classes=10, epochs=1)


def test_the_online_probe_learns_from_labelled_rows_alone(key):
    """Its update is that of the labelled rows by themselves, on one device and on two."""
    features = jax.random.normal(key, (8, 5))
    given, own = jnp.array([5, -1, 3, 5, -1, -1, 3, 5]), np.array([0, 2, 3, 6, 7])
    probe, plain = OnlineProbe(2, numbers=(3, 5)), OnlineProbe(2)
    state = plain.init(5)
    state["params"]["kernel"] = jax.random.normal(key, (5, 2))
    wanted, metrics = plain.update(state, features[own], jnp.array([1, 0, 1, 0, 1]), None)
    alone = probe.update(state, features, given, None)
    across = jax.vmap(lambda x, y: probe.update(state, x, y, "data"), axis_name="data")(
        features.reshape(2, 4, 5), given.reshape(2, 4)
    )
    for found in (alone, jax.tree.map(lambda leaf: leaf[1], across)):
        for got, expected in zip(jax.tree.leaves(found), jax.tree.leaves((wanted, metrics)), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)
    unlabelled, metrics = probe.update(state, features, -jnp.ones(8, int), None)
    assert all(np.isnan(value) for value in metrics.values())
    assert optax.tree.norm(optax.tree.sub(unlabelled["params"], state["params"])) == 0


def images(numbers):
    return sources.from_arrays({"image": np.uint8(DIGITS.images[:N, :, :, None] * 15), "label": numbers})


@dataclasses.dataclass(frozen=True)
class Pixels:
    """An encoder that gives pixels as they are, in place of a trained one."""

    params: dict
    state: dict

    def rows(self, source, watch):
        return inputs.pixel_rows(source)


def test_a_run_looks_at_labelled_rows_and_the_classes_that_occur(monkeypatch):
    from types import SimpleNamespace

    monkeypatch.setattr(monitor, "make_encoder", lambda *_: Pixels({}, {}))
    asked = SimpleNamespace(params={}, method={}), SimpleNamespace(until_requested=iter)
    run = SimpleNamespace(method=None, parallel=None)
    top1 = monitor.knn(run, images(Y[:N]))(*asked)
    assert top1["knn_top1"] > 0.7 and monitor.knn(run, images(7 * Y[:N] + 3))(*asked) == top1
    some = np.where(np.arange(N) % 3 == 0, -1, Y[:N])
    asked_of_some = monitor.knn(run, images(some))(*asked)
    rows = np.flatnonzero(some >= 0)
    assert asked_of_some == monitor.knn(run, sources.Subset(images(Y[:N]), rows))(*asked)
    for none in (-np.ones(N, int), np.zeros(N, int), np.where(np.arange(N) < 5, Y[:N], -1), np.arange(N)):
        assert monitor.knn(run, images(none)) is None

    assert monitor.probe(images(Y[:N])) == OnlineProbe(10) and monitor.probe(images(np.zeros(N, int))) is None
    assert monitor.probe(images(some)) == OnlineProbe(10, numbers=tuple(range(10)))
    assert monitor.probe(images(999 * (Y[:N] % 2))) == OnlineProbe(2, numbers=(0, 999))
    assert monitor.labels_said(images(Y[:N])) == ""
    said = "200 of 300 rows; the others, labelled -1, are in no probe, and trained on"
    assert monitor.labels_said(images(some)) == said
    assert monitor.labels_said(images(-np.ones(N, int))).endswith("unlabelled: the online probe and kNN are off")


def test_a_source_of_labelled_rows_numbers_its_labels():
    pixels = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1)
    source = from_arrays({"image": pixels, "label": np.array([7, -1, 3, 9, 7], np.int32)}, "five")
    found = labels.Labelled(source, np.array([3, 7]))
    assert (len(found), found.num_classes, found.name) == (4, 2, source.name)
    assert [int(found[i]["label"]) for i in range(4)] == [1, 0, -1, 1]  # 9 is no class of the training rows
    rows = found.rows(np.array([3, 0]))
    assert rows["image"].ravel().tolist() == [4, 0] and rows["label"].tolist() == [1, 1]
