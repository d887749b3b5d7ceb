"""A method's loss and metrics on data that it was not trained on."""

from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.evaluation.labels import classes
from ssl_jax.methods.api import Method, Progress, take

WEIGHT = "_weight"  # the end of a metric that is the mean weight of the examples of another


def forward(method: Method, progress: Progress) -> Callable:
    """`(params, state, batch, key) -> metrics, correct [b] or None, baselines`, compiled: one batch without training.

    `correct` is the share of an example's `target` that the outputs `logits` tell, where the method has both.
    """

    @jax.jit
    def run(params, state, batch, key):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, batch["index"])
        viewed = jax.vmap(method.views)(keys, batch)
        params, _ = take(method, params, viewed)
        outputs, state = method.embed(params, state, viewed, key, progress, None, train=False)
        loss, _, metrics = method.objective(params, outputs, state, progress, None)
        correct = None
        if {"logits", "target"} <= outputs.keys():
            told = jnp.argmax(outputs["logits"], axis=-1) == outputs["target"]
            correct = jnp.mean(told.reshape(len(told), -1), axis=1)
        trivial = method.baselines(viewed, outputs) if method.baselines else {}
        return {"loss": loss, **metrics}, correct, trivial

    return run


def measure(run: Callable, params, state, batches: Iterable[dict], key) -> tuple[dict, dict, dict, int]:
    """The means of the metrics over batches of one size, the accuracy of each class, and the number of examples.

    Args:
      run: what `forward` returns.
      params, state: the method's.
      batches: dicts of arrays `[b, ...]` with `index`, and `label` int `[b]` where there are labels.
      key: batch k uses `fold_in(key, k)`.

    Returns:
      Metrics that are finite by name, a metric with a `..._weight` beside it divided by the mean of that; label ->
      accuracy, {} where the method tells no targets or there are no labels; what trivial predictions reach, by name;
      rows seen.
    """
    found, trivial, correct, labels, rows = [], [], [], [], 0
    for k, batch in enumerate(batches):
        metrics, told, reached = run(params, state, batch, jax.random.fold_in(key, k))
        found.append(jax.device_get(metrics))
        trivial.append(jax.device_get(reached))
        rows += len(batch["index"])
        if told is not None and "label" in batch:
            correct.append(np.asarray(told))
            labels.append(np.asarray(batch["label"]))

    def means(dicts):
        values = {name: float(np.mean([one[name] for one in dicts])) for name in dicts[0]}
        return {name: value for name, value in values.items() if np.isfinite(value)}

    measured = means(found)

    def weighted(values):
        weight = {name: measured.get(name.partition(" of ")[0] + WEIGHT) or 1.0 for name in values}
        return {name: value / weight[name] for name, value in values.items() if not name.endswith(WEIGHT)}

    by_class = {}
    if correct:
        correct, labels = np.concatenate(correct), np.concatenate(labels)
        by_class = {int(label): float(correct[labels == label].mean(dtype=np.float64)) for label in classes(labels)}
    return weighted(measured), by_class, weighted(means(trivial)), rows
