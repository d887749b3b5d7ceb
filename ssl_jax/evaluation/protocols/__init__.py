"""Protocols by file name, the rows of `evaluation.json` that they give, and the table that is printed.

`evaluation/protocols/<name>.py` has a `TITLE`, says what it `NEEDS` (batch keys of the data), and offers
`run(context) -> rows`.
"""

import dataclasses
import difflib
import importlib
from collections.abc import Callable
from pathlib import Path

KINDS = {
    "input": "input pixels",
    "random_initial": "random, initial",
    "random": "random encoder",
    "encoder": "trained encoder",
}
NAMES = tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Context:
    """What a protocol may use.

    Attributes:
      has: batch keys that the training and the test split both have, such as "label".
      features: kind of `KINDS` -> (train, test), each `features` float32 `[N, F]` and the keys that are kept, such as
        `label` int32 `[N]`; what is tuned is tuned on rows held out of train.
      held_out: kind -> (metrics of the method on the test split, accuracy of each class by its label, what trivial
        predictions reach, examples seen).
      words: kind -> (words, vectors float32 `[V, D]`), for methods that have a vocabulary.
      files: what is asked of words: the paths of `analogies` and `similarities`, "" for none.
      num_classes: the number of labels, None without.
      split: the name of the test split.
      layer: the layer that the features come from; None is the encoder's output.
      seed: of whatever is drawn; the same for every kind, so that differences are paired.
    """

    has: frozenset = frozenset({"label"})
    features: Callable[[], dict] = dict
    held_out: Callable | None = None
    words: Callable | None = None
    files: dict = dataclasses.field(default_factory=dict)
    num_classes: int | None = None
    split: str
    layer: str | None = None
    seed: int = 0

    def row(self, protocol: str, kind: str, value: float, n: int, **changes) -> dict:
        """A row of `evaluation.json`."""
        common = {"protocol": protocol, "features": kind, "metric": "top1", "value": value, "std": None, "n": n}
        common |= {"split": self.split, "layer": None if kind == "input" else self.layer, "labels_per_class": None}
        return common | changes

    def probe(self, protocol: str, score: Callable) -> list[dict]:
        """Rows of `score(train, test) -> value`, or a dict of changes of the row, for every kind of features."""
        rows = []
        for kind, (train, test) in self.features().items():
            found = score(train, test)
            found = found if isinstance(found, dict) else {"value": found}
            rows.append(self.row(protocol, kind, None, len(test["label"])) | found)
        return rows


def load(name: str):
    """The module of a protocol."""
    check([name])
    return importlib.import_module(f"ssl_jax.evaluation.protocols.{name}")


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


def possible(names, has) -> tuple[str, ...]:
    """Those of the protocols whose needs the data meets; says in a line which are left out, and why."""
    kept = []
    for name in check(names):
        missing = sorted(load(name).NEEDS - has)
        if missing:
            way = [f"config.eval.{key}" for key in ("analogies", "similarities") if key in missing]
            said = f"the data has none; set {', '.join(way) or 'config.eval.source'}"
            print(f"{name} is left out: it needs {', '.join(missing)}, and {said}")
        else:
            kept.append(name)
    return tuple(kept)


def evaluate(context: Context, names) -> list[dict]:
    """The rows of every protocol."""
    return [row for name in check(names) for row in load(name).run(context)]


def merge(old: list, new: list) -> list:
    """`old` without the rows that `new` measured again, then `new`."""

    def identity(row):
        return tuple(row[key] for key in ("protocol", "features", "metric", "split", "layer", "labels_per_class"))

    again = {identity(row) for row in new}
    return [row for row in old if identity(row) not in again] + new


def table(rows: list) -> str:
    """The probes as a small table in percent, a line for each kind of features, a column for each protocol."""
    names = [name for name in ("knn", "linear", "linear_paper", "few_label") if _of(rows, name)]
    lines = [f"{'top-1, %':<18}" + "".join(f"{load(name).TITLE:>20}" for name in names)]
    for kind, title in KINDS.items():
        cells = []
        for name in names:
            found = [row for row in _of(rows, name) if row["features"] == kind]
            cell = f"{100 * found[-1]['value']:.1f}" if found else "-"
            if found and found[-1]["std"] is not None:
                cell += f" +- {100 * found[-1]['std']:.1f}"
            cells.append(f"{cell:>20}")
        if any(cell.strip() != "-" for cell in cells):
            lines.append(f"{title:<18}" + "".join(cells))
    return "\n".join(lines)


def gains(rows: list) -> str:
    """How far the trained encoder is above the better of the random ones, in points; "" where there is no such pair."""
    said = []
    for name in ("knn", "linear", "linear_paper", "few_label"):
        value = {row["features"]: row["value"] for row in _of(rows, name)}
        random = [value[kind] for kind in ("random", "random_initial") if kind in value]
        if random and "encoder" in value:
            said.append(f"{load(name).TITLE} {100 * (value['encoder'] - max(random)):+.1f}")
    return f"against the better random encoder: {', '.join(said)}" if said else ""


def held_out_lines(rows: list) -> str:
    """The method's own metrics on held-out data, beside those of the untrained network, a line for each."""
    lines = []
    for row in _of(rows, "pretext"):
        if row["features"] == "encoder":
            other = [r["value"] for r in _of(rows, "pretext")
                     if r["features"] == "random" and r["metric"] == row["metric"]]  # fmt: skip
            untrained = f"   untrained {other[-1]:.4g}" if other else ""
            lines.append(f"held-out {row['metric']:<36}{row['value']:.4g}{untrained}")
        elif row["features"] == "input":
            lines.append(f"trivial  {row['metric']:<36}{row['value']:.4g}")
    return "\n".join(lines)


def word_lines(rows: list) -> str:
    """What is known of words, in percent, trained and untrained vectors side by side, a line for each metric."""
    lines = []
    for name in ("analogy", "similarity"):
        values = {(row["features"], row["metric"]): row for row in _of(rows, name)}
        for kind, metric in values:
            if kind == "encoder":
                row, other = values[kind, metric], values.get(("random", metric))
                untrained = f"   random {100 * other['value']:.1f}" if other else ""
                lines.append(f"{name:<11}{metric:<30}{100 * row['value']:6.1f}{untrained}   of {row['n']:,}")
    return "\n".join(lines)


def _of(rows: list, protocol: str) -> list:
    return [row for row in rows if row["protocol"] == protocol]
