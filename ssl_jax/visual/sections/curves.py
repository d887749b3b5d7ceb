"""What was logged while the run trained, as curves; a dotted line stands where a warning was given."""

import re

from ssl_jax.visual.charts import chart
from ssl_jax.visual.sections import Missing

TITLE = "Curves"
GROUPS = (  # title, metrics, whether they are shares
    ("Loss", ("loss", "chance_loss"), False),
    ("Learning rate", ("learning_rate",), False),
    ("Top-1 of labels", ("probe_top1", "knn_top1"), True),
    ("Cosine of two embeddings", ("positive_cosine", "negative_cosine"), False),
    ("Batch: nearest is the right one", ("in_batch_top1",), True),
)
NAMES = {
    "loss": "loss", "chance_loss": "loss of a guess", "probe_top1": "online linear probe", "knn_top1": "kNN",
    "positive_cosine": "of the same example", "negative_cosine": "of different ones",
}  # fmt: skip
LAST = ("examples_per_second", "data_wait")  # of speed: they come last


def show(run) -> str:
    curves = series(run.rows)
    if not curves:
        raise Missing("metrics.jsonl holds no rows; train the run first.")
    warnings = [event["step"] for event in run.events if event["event"] == "warning"]
    groups = [(title, [name for name in names if name in curves], shares) for title, names, shares in GROUPS]
    grouped = {name for _, names, _ in groups for name in names}
    groups += [(_title(base), names, _are_shares(names)) for base, names in _numbered(curves, grouped).items()]
    return '<div class="charts">' + "".join(
        chart(title, {NAMES.get(name, _title(name)): curves[name] for name in names}, warnings=warnings, shares=shares)
        for title, names, shares in groups if names
    ) + "</div>"  # fmt: skip


def series(rows: list[dict]) -> dict[str, tuple[list, list]]:
    """Metric -> (steps, values), of what is a finite number.

    >>> series([{"step": 1, "loss": 2.0}, {"step": 2, "loss": "nan", "knn_top1": 0.5}])
    {'loss': ([1], [2.0]), 'knn_top1': ([2], [0.5])}
    """
    found = {}
    for row in rows:
        for name, value in row.items():
            if name != "step" and isinstance(value, int | float):  # what is not finite is written as text
                steps, values = found.setdefault(name, ([], []))
                steps.append(row["step"])
                values.append(value)
    return found


def _numbered(curves, grouped) -> dict[str, list[str]]:
    """The other metrics; those that differ in a last number alone share a chart."""
    found = {}
    for name in sorted(set(curves) - grouped, key=lambda name: (name in LAST, _parts(name))):
        found.setdefault(_parts(name)[0], []).append(name)
    return found


def _parts(name: str) -> tuple[str, int]:
    base, digits = re.fullmatch(r"(.*?)_?(\d*)", name).groups()
    return (base, int(digits)) if base and digits and not base.endswith("top") else (name, 0)


def _title(name: str) -> str:
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def _are_shares(names) -> bool:
    return all(re.search(r"top1|accuracy", name) for name in names)
