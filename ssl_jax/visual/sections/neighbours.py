"""Test examples and those whose features have the largest cosine with theirs."""

from html import escape

import numpy as np

from ssl_jax.visual import images, maps
from ssl_jax.visual.page import percent, sheet
from ssl_jax.visual.sections import Missing

TITLE = "Nearest neighbours"
QUERIES, NEAREST = 8, 6
TEXT_NEAREST, LETTERS = 3, 90


def show(run) -> str:
    features, labels, examples = run.features, run.labels, run.examples
    if len(features) < 2:
        raise Missing("one example has no neighbours; give more test data.")
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    queries = _spread(labels, len(unit))
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    picture = images.example(examples[0], "") is not None
    count = min(NEAREST if picture else TEXT_NEAREST, len(unit) - 1)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    width = 72 if "audio" not in examples[0] else 110
    cells = [_title("example"), *(_title(f"{i + 1}.") for i in range(count))]
    for query in queries:
        kind = "begin" if picture else "begin text"
        cells.append(f'<div class="{kind}">{_shown(run, query, "example", width)}</div>')
        for near in order[query]:
            told = labels is not None and labels[near] >= 0 and labels[query] >= 0
            right = labels[near] == labels[query] if told else None
            said = f"{_mark(right)} {_name(run, near)} <span class='soft'>{cosines[query, near]:.2f}</span>"
            alt = "neighbour" + ("" if right is None else " of the same class" if right else " of another class")
            kind = "" if picture else ' class="text"'
            cells.append(f"<div{kind}>{_shown(run, near, alt, width)}<br>{said}</div>")
    agree = ""
    if labels is not None and (labels >= 0).any():
        both = (labels >= 0) & (labels[order[:, 0]] >= 0)
        share = np.mean((labels[order[:, 0]] == labels)[both]) if both.any() else 0.0
        chance = np.sum((np.bincount(labels[labels >= 0]) / np.sum(labels >= 0)) ** 2)
        agree = f" The first neighbour has the label of its example in {percent(share)}; by chance {percent(chance)}."
    return (
        f'<p class="soft">Among {run.source.name}; figures are cosines.{agree}</p>'
        + sheet(count + 1, cells)
    )  # fmt: skip


def _spread(labels, count: int) -> list[int]:
    """Examples of different classes where there are labels, else the first."""
    if labels is None:
        return list(range(min(QUERIES, count)))
    known, first = np.unique(labels, return_index=True)
    first = first[known >= 0]  # a label of -1 is none
    others = [i for i in range(count) if i not in set(first)]
    return [*first[:QUERIES].tolist(), *others][: min(QUERIES, count)]


def _title(text: str) -> str:
    return f'<div class="title">{text}</div>'


def _shown(run, i: int, alt: str, width: int) -> str:
    named = f"{alt}: {_name(run, i)}" if run.labels is not None else alt
    held = images.example(run.examples[i], named, width=width)
    return held or escape(maps.cut(np.ravel(run.examples[i]["text"])[0], LETTERS))


def _name(run, i: int) -> str:
    label = -1 if run.labels is None else int(run.labels[i])
    if label < 0:
        return ""
    return escape(maps.cut(run.classes[label] if label < len(run.classes) else str(label), 14))


def _mark(right) -> str:
    if right is None:
        return ""
    return '<b class="good">✓</b>' if right else '<b class="bad">✗</b>'
