"""The config of a run: keys that differ from the defaults first, those set on the command line before all."""

import json
import re
from html import escape

from ssl_jax import defaults
from ssl_jax.visual.page import table

TITLE = "Config"


def show(run) -> str:
    usual = defaults.experiment("")
    changed = {
        name: value for name, value in run.keys.items()
        if not defaults.is_default(name, value) and ("." in name or usual.get(name) != value)
    }  # fmt: skip
    others = {name: value for name, value in run.keys.items() if name not in changed}
    command = run.environment.get("command", "")
    named = set(re.findall(r"--config\.([\w.]+)=", command))
    first = {name: value for name, value in run.keys.items() if name in named}
    parts = []
    if first:
        parts.append("<h3>Set on the command line</h3>" + _list(first))
    rest = {name: value for name, value in changed.items() if name not in first}
    parts.append("<h3>Other than the defaults, or of this method alone</h3>" + _list(rest))
    parts.append(f"<details><summary>{len(others)} keys at their defaults</summary>{_list(others)}</details>")
    if run.environment:
        parts.append(f"<details><summary>Environment</summary>{_environment(run.environment)}</details>")
    return "\n".join(parts)


def _list(keys: dict) -> str:
    rows = (f"<div><dt>{escape(name)}</dt><dd><code>{_value(value)}</code></dd></div>" for name, value in keys.items())
    return f'<dl class="keys">{"".join(rows)}</dl>'


def _value(value) -> str:
    return escape(json.dumps(value) if not isinstance(value, str) else value or '""')


def _environment(held: dict) -> str:
    rows = [("command", held.get("command", "")), ("commit", held.get("commit") or "-"), ("begun", held.get("started"))]
    rows += [(name, version or "not installed") for name, version in held.get("versions", {}).items()]
    return table(("", ""), rows)
