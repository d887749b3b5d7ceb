"""Whether the run learned: every sign of collapse that its metrics can show, judged again from what was logged."""

from html import escape

from ssl_jax.evaluation import health
from ssl_jax.visual.page import number
from ssl_jax.visual.sections import Missing

TITLE = "Health"


def show(run) -> str:
    if not run.rows:
        raise Missing("metrics.jsonl holds no rows; train the run first.")
    needed, rows = health.WARM_UP + health.PATIENCE, verdicts(run.rows)
    said = []
    if len(run.rows) < needed:
        said.append(
            f"<p>{len(run.rows)} rows were logged; a verdict needs {needed}: the first {health.WARM_UP} judge nothing, "
            f"and a warning is given when a sign has shown for {health.PATIENCE} in a row.</p>"
        )
    bad = [name for name, found in rows.items() if found["first"] is not None]
    shown = escape(", ".join(bad))
    if not rows:
        said.append("<p>The metrics of this method show none of the signs that are known.</p>")
    elif len(run.rows) >= needed:
        said.append(
            f'<p class="bad"><b>✗ Look at: {shown}</b></p>' if bad
            else f'<p class="good"><b>✓ None of {len(rows)} signs of a run that learns nothing has shown.</b></p>'
        )  # fmt: skip
    cells = "".join(_row(name, found) for name, found in rows.items())
    table = (
        '<div class="scroll"><table><thead><tr><th scope="col">sign</th><th scope="col">verdict</th>'
        f'<th scope="col">last values</th></tr></thead><tbody>{cells}</tbody></table></div>'
    )
    warnings = [event for event in run.events if event["event"] == "warning"]
    items = "".join(f"<li>Step {event['step']:,}: {escape(event['text'])}</li>" for event in warnings)
    said.append(table if rows else "")
    said.append(f"<h3>Warnings while it trained</h3><ul>{items}</ul>" if warnings else "")
    return "".join(said)


def verdicts(rows: list[dict]) -> dict[str, dict]:
    """For every cause of `health.CAUSES` that the rows can show: when it was first said, whether it holds at the end.

    Returns:
      name -> `first`, a step or None; `holds`; `values` of the metrics that it reads; `text`, what it means.
    """
    history, first, last = {}, {}, {}
    for row in rows:
        row = {name: value for name, value in row.items() if isinstance(value, int | float)}  # finite ones
        last |= row
        history, _ = health.update(history, row)
        for name in health.CAUSES:
            if history.get(name) == health.PATIENCE:
                first.setdefault(name, row["step"])
    return {
        name: {
            "first": first.get(name), "holds": history[name] >= health.PATIENCE,
            "values": {key: last[key] for key in keys}, "text": text,
        }
        for name, (_, keys, text) in health.CAUSES.items() if name in history
    }  # fmt: skip


def _row(name: str, found: dict) -> str:
    if found["first"] is None:
        verdict, kind = "✓ not seen", "good"
    else:
        verdict = f"✗ from step {found['first']:,}" + (", to the end" if found["holds"] else ", later over")
        kind = "bad"
    values = ", ".join(f"{key.replace('_', ' ')} {number(value)}" for key, value in found["values"].items())
    more = f'<br><span class="soft">{escape(found["text"])}</span>' if found["first"] is not None else ""
    return (
        f'<tr><th scope="row">{escape(name)}{more}</th><td class="{kind}">{verdict}</td>'
        f'<td class="soft">{escape(values)}</td></tr>'
    )
