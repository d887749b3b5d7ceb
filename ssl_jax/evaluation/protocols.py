"""Protocols by name, the rows of `evaluation.json` that they give, and the table that is printed."""

import difflib

import numpy as np

from ssl_jax.evaluation.few_label import few_label
from ssl_jax.evaluation.knn import knn_predict, sensible_k
from ssl_jax.evaluation.linear_probe import PAPER, linear_probe

NAMES = ("knn", "linear", "linear_paper", "few_label")
KINDS = {"input": "input pixels", "random": "random encoder", "encoder": "trained encoder"}
LABELS_PER_CLASS = 10


def check(names) -> tuple[str, ...]:
    """The protocols asked for.

    Raises:
      ValueError: there is none of that name; names the nearest.
    """
    for name in names:
        if name not in NAMES:
            nearest = difflib.get_close_matches(name, NAMES, n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            raise ValueError(f"There is no protocol {name!r}; the protocols are {', '.join(NAMES)}{hint}")
    return tuple(names)


def run(name: str, train: dict, test: dict, *, num_classes: int, seed: int = 0) -> dict:
    """One protocol on one kind of features.

    Args:
      name: one of `NAMES`: "linear" sweeps learning rates and weight decays on rows held out of train, "linear_paper"
        is SimCLR's protocol with its one learning rate.
      train: `features` float32 [N, F] and `label` int32 [N]; what is tuned is tuned on rows held out of these.
      test: likewise; read once, at the end.
      num_classes: the number of labels.
      seed: of whatever is drawn.

    Returns:
      `value`, `std` (None for one run), `n` (test examples) and `labels_per_class` (None for all).
    """
    x, y, test_x, test_y = train["features"], train["label"], test["features"], test["label"]
    row = {"value": None, "std": None, "n": len(test_y), "labels_per_class": None}
    if name == "knn":
        predicted = knn_predict(x, y, test_x, k=sensible_k(len(y), num_classes), num_classes=num_classes)
        return row | {"value": float(np.mean(predicted == test_y))}
    if name in ("linear", "linear_paper"):
        settings = PAPER if name == "linear_paper" else {}
        return row | {"value": linear_probe(x, y, test_x, test_y, num_classes=num_classes, seed=seed, **settings).top1}
    result = few_label(
        x, y, test_x, test_y, num_classes=num_classes, labels_per_class=LABELS_PER_CLASS, seed=seed
    )
    return row | {"value": result.mean, "std": result.std, "labels_per_class": LABELS_PER_CLASS}


def evaluate(features: dict, names, *, num_classes: int, split: str, layer: str | None = None, seed: int = 0) -> list:
    """Every protocol on every kind of features, as rows of `evaluation.json`.

    Args:
      features: kind -> (train, test), each as `run` takes them; kinds are those of `KINDS`.
      names: protocols.
      num_classes: the number of labels.
      split: the name of the test split.
      layer: the layer that the features come from; None is the encoder's output.
      seed: of whatever is drawn; the same for every kind, so that differences are paired.
    """
    rows = []
    for name in check(names):
        for kind, (train, test) in features.items():
            found = run(name, train, test, num_classes=num_classes, seed=seed)
            place = {"split": split, "layer": None if kind == "input" else layer}
            rows.append({"protocol": name, "features": kind, "metric": "top1", **found, **place})
    return rows


def merge(old: list, new: list) -> list:
    """`old` without the rows that `new` measured again, then `new`."""

    def identity(row):
        return tuple(row[key] for key in ("protocol", "features", "metric", "split", "layer", "labels_per_class"))

    again = {identity(row) for row in new}
    return [row for row in old if identity(row) not in again] + new


def table(rows: list) -> str:
    """Rows as a small table: a line for each kind of features, a column for each protocol, in percent."""
    titles = {
        "knn": "kNN",
        "linear": "linear",
        "linear_paper": "linear (paper)",
        "few_label": f"{LABELS_PER_CLASS} labels a class",
    }
    names = [name for name in NAMES if any(row["protocol"] == name for row in rows)]
    lines = [f"{'top-1, %':<18}" + "".join(f"{titles[name]:>20}" for name in names)]
    for kind, title in KINDS.items():
        cells = []
        for name in names:
            found = [row for row in rows if row["protocol"] == name and row["features"] == kind]
            cell = f"{100 * found[-1]['value']:.1f}" if found else "-"
            if found and found[-1]["std"] is not None:
                cell += f" +- {100 * found[-1]['std']:.1f}"
            cells.append(f"{cell:>20}")
        lines.append(f"{title:<18}" + "".join(cells))
    return "\n".join(lines)
