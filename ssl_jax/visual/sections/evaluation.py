"""What the features are good for, beside the input itself and the network before training."""

from html import escape

from ssl_jax.evaluation import protocols
from ssl_jax.visual.page import number, percent
from ssl_jax.visual.sections import Missing

TITLE = "Evaluation"
OURS = "encoder"
PERCENT = ("zero_shot", "retrieval", "analogy", "similarity")


def show(run) -> str:
    if not run.evaluation:
        raise Missing("evaluation.json is not there; python -m ssl_jax.evaluate --workdir=... writes it.")
    probes = [row for row in run.evaluation if row["protocol"] in protocols.PROBES]
    others = [row for row in run.evaluation if row["protocol"] not in protocols.PROBES]
    titles = protocols.KINDS | {"input": run.input_title}
    parts = [_probes(probes, titles) if probes else ""]
    parts += [_others([r for r in others if r["protocol"] == name], titles) for name in _in_order(others, "protocol")]
    return "".join(parts)


def _probes(rows, titles) -> str:
    """A line for each kind of features, a column for each probe."""
    columns = _in_order(rows, "protocol", "layer")
    head = "".join(f'<th scope="col" class="number">{escape(_column(column))}</th>' for column in columns)
    lines = []
    for kind in _kinds(rows, titles):
        cells = []
        for protocol, layer in columns:
            found = [r for r in rows if (r["protocol"], r["layer"], r["features"]) in {
                (protocol, layer, kind), (protocol, None, kind) if kind in ("chance", "input") else None
            }]  # fmt: skip
            cells.append(_cell(found[-1]) if found else '<td class="number">-</td>')
        ours = ' class="ours"' if kind == OURS else ""
        lines.append(f'<tr{ours}><th scope="row">{escape(titles[kind])}</th>{"".join(cells)}</tr>')
    count = ", ".join(sorted({f"{row['n']:,} rows of {row['split']}" for row in rows}))
    gain = protocols.gains(rows)
    return (
        f'<div class="scroll"><table><caption>Top-1 accuracy, {escape(count)}</caption><thead><tr>'
        f'<th scope="col">features</th>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
        + (f"<p>In points, {escape(gain)}.</p>" if gain else "")
    )


def _cell(row) -> str:
    spread = f' <span class="soft">± {100 * row["std"]:.1f}</span>' if row["std"] is not None else ""
    bar = f'<span class="bar" style="width:{100 * max(0.0, min(1.0, row["value"])):.0f}%"></span>'
    return f'<td class="number">{percent(row["value"])}{spread}{bar}</td>'


def _others(rows, titles) -> str:
    """A line for each metric, a column for each kind; of the method's own task, trivial predictions on their own."""
    name, kinds = rows[0]["protocol"], _kinds(rows, titles)
    if name == "pretext":
        titles = titles | {"input": "trivial prediction", "random": "untrained network", OURS: "trained network"}
    said = percent if name in PERCENT else number
    head = "".join(f'<th scope="col" class="number">{escape(titles[kind])}</th>' for kind in kinds)
    value = {(row["metric"], row["layer"], row["features"]): row["value"] for row in rows}
    metrics = dict.fromkeys((row["metric"], row["layer"]) for row in rows if row["features"] not in ("chance", "input"))
    metrics |= dict.fromkeys((row["metric"], row["layer"]) for row in rows)
    lines = []
    for metric, layer in metrics:
        found = [value.get((metric, layer, kind)) for kind in kinds]
        if layer and not any(value.get((metric, layer, kind)) is not None for kind in (OURS, "random")):
            continue
        cells = "".join(f'<td class="number">{"-" if v is None else said(v)}</td>' for v in found)
        title = f"{metric} ({layer})" if layer else metric
        lines.append(f'<tr><th scope="row">{escape(title)}</th>{cells}</tr>')
    caption = "The method's own task on held-out data" if name == "pretext" else protocols.load(name).TITLE
    caption = f"{caption}, {rows[0]['n']:,} of {rows[0]['split']}"
    return (
        f'<div class="scroll"><table><caption>{escape(caption)}</caption>'
        f'<thead><tr><th scope="col">metric</th>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
    )


def _column(column) -> str:
    protocol, layer = column
    return protocols.load(protocol).TITLE + (f", {layer}" if layer else "")


def _kinds(rows, titles) -> list[str]:
    there = {row["features"] for row in rows}
    return [kind for kind in titles if kind in there]


def _in_order(rows, *keys) -> list:
    """The distinct values of some keys, as they first come; baselines, which have no layer, begin no column."""
    rows = [row for row in rows if row["features"] not in ("chance", "input")] or rows
    found = dict.fromkeys(tuple(row[key] for key in keys) for row in rows)
    return list(found) if len(keys) > 1 else [value for (value,) in found]
