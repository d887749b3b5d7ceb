"""Protocols by file name, the rows of `evaluation.json` that they give, and the table that is printed.

`evaluation/protocols/<name>.py` has a `TITLE`, says what it `NEEDS` (batch keys of the data, or a "text tower" of the
method), and offers `run(context) -> rows`. An `INPUT` is what the baseline of the input itself is called.
"""

import dataclasses
import difflib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ssl_jax.evaluation.labels import numbered

KINDS = {
    "chance": "chance",
    "input": "input pixels",
    "vectors": "input vectors",
    "random_initial": "random, initial",
    "random": "random encoder",
    "encoder": "trained encoder",
}
PROBES = (  # the columns of the table
    "knn", "linear", "linear_paper", "linear_norm", "mlp", "few_label", "speaker", "unseen_speaker", "finetune",
)  # fmt: skip
FILES = ("analogies", "similarities")  # of questions about words: keys of `config.eval`
WORDS = {"words", *FILES}  # what protocols of words need, and no features
NAMES = tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Context:
    """What a protocol may use.

    Attributes:
      has: batch keys that the training and the test split both have, such as "label"; "text tower", if the method has.
      features: kind of `KINDS` -> (train, test), each `features` float32 `[N, F]` and the keys that are kept, such as
        `label` int32 `[N]`; what is tuned is tuned on rows held out of train.
      held_out: kind -> (metrics of the method on the test split, accuracy of each class by its label, what trivial
        predictions reach, examples seen).
      words: kind -> (words, vectors float32 `[V, D]`), for methods that have a vocabulary.
      files: name of `FILES` -> path, "" for none.
      towers: kind -> `towers.Towers`, for methods with a text tower; of "input" words as mean pixels.
      finetune: `() -> finetune.Task`, the networks themselves and their data.
      inner: `(layer, pool, keep, whole) -> pairs of kind and (train, test)`, as `features`, of `pool(maps, share)` of
        an inner layer, with the keys `keep`; `share`: the part of a sound that is no padding; `whole`: images are not
        cropped.
      layers: names of the inner layers that are probed.
      train, test: the splits.
      classes, prompts: names of the labels, and texts with {} in place of a name.
      num_classes: the number of classes that names are wanted for; probes count those that occur.
      split: the name of the test split.
      layer: the layer that the features come from; None is the encoder's output.
      pool: the pooling of tokens that was asked for, "" for the encoder's own.
      labels_per_class: of the protocol `few_label`.
      unlabelled: the value of pixels of a `mask` that do not count.
      seed: of whatever is drawn; the same for every kind, so that differences are paired.
      input_title: what the features of the input itself are called.
    """

    has: frozenset = frozenset({"label"})
    features: Callable[[], dict] = dict
    held_out: Callable | None = None
    words: Callable | None = None
    files: dict = dataclasses.field(default_factory=dict)
    towers: Callable[[], dict] = dict
    finetune: Callable | None = None
    inner: Callable | None = None
    layers: tuple[str, ...] = ()
    train: Any = None
    test: Any = None
    classes: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    num_classes: int | None = None
    split: str
    layer: str | None = None
    pool: str = ""
    labels_per_class: int = 10
    unlabelled: int = 255
    seed: int = 0
    input_title: str = KINDS["input"]

    def row(self, protocol: str, kind: str, value: float, n: int, **changes) -> dict:
        """A row of `evaluation.json`."""
        common = {"protocol": protocol, "features": kind, "metric": "top1", "value": value, "std": None, "n": n}
        layer = self.layer or (f"pool {self.pool}" if self.pool else None)
        layer = None if kind in ("chance", "input", "vectors") else layer
        common |= {"split": self.split, "layer": layer, "labels_per_class": None}
        return common | changes

    def probe(self, protocol: str, score: Callable, label: str = "label") -> list[dict]:
        """Rows of `score(train, test, num_classes) -> value`, or changes of the row, for every kind of features.

        `score` gets the rows that have a `label`, numbered as `evaluation.labels.numbered` does. A kind that it refuses
        is left out, with a line that says why.

        Raises:
          ValueError: all kinds are refused.
        """
        rows, refused = [], {}
        for kind, (train, test) in self.features().items():
            try:
                train, test, num_classes = numbered(train, test, label)
                found = score(train, test, num_classes)
            except ValueError as error:
                refused.setdefault(str(error), []).append(KINDS[kind])
                continue
            found = found if isinstance(found, dict) else {"value": found}
            rows.append(self.row(protocol, kind, None, len(test["features"])) | found)
        if not rows:
            raise ValueError("; ".join(refused))
        for sentence, kinds in refused.items():
            print(f"{protocol} of {', '.join(kinds)} is left out: {sentence}")
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
            way = [f"config.eval.{key}" for key in FILES if key in missing]
            said = f"no file was given; set {', '.join(way)}" if way else "the data has none; set config.eval.source"
            said = "the encoder names none; set config.eval.layers" if missing == ["layers"] else said
            print(f"{name} is left out: it needs {', '.join(missing)}, and {said}")
        else:
            kept.append(name)
    return tuple(kept)


def evaluate(context: Context, names, keep: Callable[[list[dict]], None] = lambda rows: None) -> list[dict]:
    """The rows of every protocol; one that the data do not allow is left out, with a line that says why.

    `keep` gets the rows of a protocol before the next one runs, so that none are lost whatever becomes of that.
    """
    rows = []
    for name in check(names):
        try:
            found = load(name).run(context)
        except ValueError as error:
            print(f"{name} is left out: {error}")
            continue
        keep(found)
        rows += found
    return rows


def merge(old: list, new: list) -> list:
    """`old` without the rows that `new` measured again, then `new`."""

    def identity(row):
        return tuple(row[key] for key in ("protocol", "features", "metric", "split", "layer", "labels_per_class"))

    again = {identity(row) for row in new}
    return [row for row in old if identity(row) not in again] + new


def told(rows: list, naive: str = KINDS["input"]) -> str:
    """All that is printed of an evaluation: the table of probes, and lines of what is no probe."""
    probes = table(rows, naive) if any(_of(rows, name) for name in PROBES) else ""
    parts = (probes, gains(rows), layer_lines(rows), tower_lines(rows), held_out_lines(rows), word_lines(rows))
    return "\n".join(part for part in parts if part)


def table(rows: list, naive: str = KINDS["input"]) -> str:
    """The probes as a small table in percent, a line for each kind of features, a column for each protocol.

    `naive` is what the baseline of the input itself is called.
    """
    names = [name for name in PROBES if _of(rows, name)]
    lines = [f"{'top-1, %':<18}" + "".join(f"{title(rows, name):>20}" for name in names)]
    for kind, said in (KINDS | {"input": naive}).items():
        cells = []
        for name in names:
            found = [row for row in _of(rows, name) if row["features"] == kind]
            cell = f"{100 * found[-1]['value']:.1f}" if found else "-"
            if found and found[-1]["std"] is not None:
                cell += f" +- {100 * found[-1]['std']:.1f}"
            cells.append(f"{cell:>20}")
        if any(cell.strip() != "-" for cell in cells):
            lines.append(f"{said:<18}" + "".join(cells))
    return "\n".join(lines)


def gains(rows: list) -> str:
    """How far the trained encoder is above the better of the random ones, in points; "" where there is no such pair."""
    said = []
    for name in PROBES:
        value = {row["features"]: row["value"] for row in _of(rows, name)}
        random = [value[kind] for kind in ("random", "random_initial") if kind in value]
        if random and "encoder" in value:
            said.append(f"{title(rows, name)} {100 * (value['encoder'] - max(random)):+.1f}")
    return f"against the better random encoder: {', '.join(said)}" if said else ""


def title(rows: list, name: str) -> str:
    """What the column of a protocol is called."""
    return load(name).TITLE.format(next((row["labels_per_class"] for row in _of(rows, name)), ""))


def layer_lines(rows: list) -> str:
    """Probes of inner layers and of pixels in percent, a line for each layer or metric, beside the baselines."""
    lines = []
    for protocol, key in (("layers", "layer"), ("segmentation", "metric"), ("frame", "metric")):
        held, module = _of(rows, protocol), load(protocol)
        kinds = KINDS | {"input": getattr(module, "INPUT", KINDS["input"])}
        for name in dict.fromkeys(row[key] for row in held):
            value = {row["features"]: row["value"] for row in held if row[key] == name}
            cells = [f"{said} {100 * value[kind]:.1f}" for kind, said in kinds.items() if kind in value]
            lines.append(f"{module.TITLE:<10} {name:<12}" + "   ".join(cells))
    return "\n".join(lines)


def tower_lines(rows: list) -> str:
    """Retrieval and zero-shot classification in percent, a line for each metric, beside chance and baselines."""
    lines = []
    for protocol in ("zero_shot", "retrieval"):
        held = _of(rows, protocol)
        for metric in dict.fromkeys(row["metric"] for row in held):
            value = {row["features"]: row["value"] for row in held if row["metric"] == metric}
            cells = [f"{KINDS[kind]} {100 * value[kind]:.1f}" for kind in (*KINDS,) if kind in value]
            lines.append(f"{load(protocol).TITLE:<10} {metric:<27}" + "   ".join(cells))
    return "\n".join(lines)


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
