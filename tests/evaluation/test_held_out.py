"""The held-out loss and metrics of a method: no training mode, fixed draws, the accuracy of each class."""

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.evaluation import held_out, protocols
from ssl_jax.methods.api import Method, Progress


def embed(params, state, batch, key, progress, axis_name, train=True):
    assert not train
    return {"logits": batch["logits"] + params, "target": batch["target"], "noise": batch["noise"]}, state


def objective(params, outputs, state, progress, axis_name):
    return jnp.mean(outputs["noise"]), state, {"never": jnp.array(jnp.nan)}


def views(key, example):
    return {
        "logits": example["logits"], "target": example["label"][None], "noise": jax.random.normal(key),
        "index": example["index"],
    }  # fmt: skip


METHOD = Method(
    init=None, views=views, embed=embed, objective=objective, encode=None,
    baselines=lambda batch, outputs: {"loss of zero": jnp.float32(2.0)},
)  # fmt: skip


def test_metrics_are_means_over_batches_and_classes_have_their_own():
    labels = np.array([0, 1, 1, 0, 1, 1, 0, 1])
    told = np.array([0, 1, 0, 0, 1, 0, 1, 0])  # class 0: 2 of 3; class 1: 2 of 5
    batches = [
        {
            "logits": np.eye(2, dtype=np.float32)[told[i : i + 4], None], "label": labels[i : i + 4],
            "index": np.arange(4, dtype=np.int32),
        }
        for i in (0, 4)
    ]  # fmt: skip
    run = held_out.forward(METHOD, Progress(0, 1))
    metrics, by_class, trivial, rows = held_out.measure(run, jnp.float32(0), {}, batches, jax.random.key(0))
    assert rows == 8 and trivial == {"loss of zero": 2.0} and by_class == {0: 2 / 3, 1: 0.4}
    assert set(metrics) == {"loss"}  # what is not finite is no metric
    again = held_out.measure(run, jnp.float32(0), {}, batches, jax.random.key(0))
    assert again[0] == metrics and held_out.measure(run, jnp.float32(0), {}, batches, jax.random.key(1))[0] != metrics


def test_a_metric_with_a_weight_is_divided_by_its_mean():
    found = iter([({"right": 0.2, "right_weight": 0.5, "loss": 1.0}, None, {"right of all": 0.1}),
                  ({"right": 0.4, "right_weight": 1.0, "loss": 3.0}, None, {"right of all": 0.2})])  # fmt: skip
    batches = [{"index": np.arange(4)}] * 2
    metrics, _, trivial, _ = held_out.measure(lambda *_: next(found), {}, {}, batches, jax.random.key(0))
    assert metrics == {"right": (0.2 + 0.4) / 1.5, "loss": 2.0} and trivial == {"right of all": (0.1 + 0.2) / 1.5}


def test_pretext_needs_no_labels_and_stands_beside_the_untrained_network():
    zero = {"loss of zero": 1.0}
    found = {"random": ({"loss": 1.4}, {}, zero, 8), "encoder": ({"loss": 0.5}, {3: 0.25}, zero, 8)}
    rows = protocols.evaluate(protocols.Context(has=frozenset(), held_out=found.get, split="test"), ("pretext",))
    assert [(row["features"], row["metric"], row["value"], row["n"]) for row in rows] == [
        ("random", "loss", 1.4, 8), ("encoder", "loss", 0.5, 8), ("encoder", "top1 of class 3", 0.25, 8),
        ("input", "loss of zero", 1.0, 8),
    ]  # fmt: skip
    lines = protocols.held_out_lines(rows).splitlines()
    assert lines[0].split() == ["held-out", "loss", "0.5", "untrained", "1.4"] and len(lines) == 3
    assert lines[2].split() == ["trivial", "loss", "of", "zero", "1"]
