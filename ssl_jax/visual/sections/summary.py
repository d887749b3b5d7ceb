"""What a run is and what came of it, in a handful of figures."""

from html import escape

from ssl_jax.visual.page import number, percent

TITLE = "Summary"
FIGURES = (("loss", "last loss", number), ("knn_top1", "kNN on held-out rows", percent))


def show(run) -> str:
    keys, last = run.keys, {}
    for row in run.rows:
        last |= row
    tiles = [("method", keys["method.name"], _model(keys)), ("data", keys["data.source"], _devices(run.environment))]
    done = f"{last['step']:,}" if "step" in last else "0"
    tiles.append(("steps", done, _end(run.events)))
    for name, title, said in FIGURES:
        if isinstance(last.get(name), float | int):
            tiles.append((title, said(last[name]), ""))
    for row in run.evaluation:
        if row["protocol"] == "linear" and row["features"] == "encoder" and row["metric"] == "top1":
            tiles.append(("linear probe", percent(row["value"]), f"{row['n']:,} rows of {row['split']}"))
    warnings = sum(event["event"] == "warning" for event in run.events)
    tiles.append(("warnings", str(warnings), "see Health" if warnings else "none while it trained"))
    items = "".join(
        f"<div><dt>{escape(title)}</dt><dd>{escape(value)}<small>{escape(more)}</small></dd></div>"
        for title, value, more in tiles
    )
    return f'<dl class="tiles">{items}</dl>'


def _model(keys) -> str:
    parts = [keys.get(f"model.{name}") for name in ("name", "depth", "size", "dim")]
    return " ".join(str(part) for part in parts if part)


def _devices(environment) -> str:
    devices = environment.get("devices", {})
    return f"{devices['count']} x {devices['kind']}" if devices else ""


def _end(events) -> str:
    """How a run ended, as its last event says it."""
    ends = [event for event in events if event["event"] in ("finished", "interrupted")]
    return ends[-1]["event"] if ends else "not finished"
