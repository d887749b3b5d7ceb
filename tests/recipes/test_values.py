"""Every recipe keeps the values it had before a refactoring: `values.json` is what 73 recipes held on 2026-11-27.

What a source was later found to say otherwise is corrected there too, and recipes of ours that did not learn.
"""

import json
from pathlib import Path

import pytest

from ssl_jax import defaults
from ssl_jax.recipes import CONFIGS, config_module

VALUES = json.loads((Path(__file__).parent / "values.json").read_text())
DROPPED = {"augment.name", "augment.second.name", "augment.local.name"}  # nothing read it


def flatten(config: dict, prefix: str = "") -> dict:
    """Nested dicts as one dict of dotted keys; an empty dict keeps its key with a dot behind."""
    flat = {}
    for name, value in config.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.") if value else {f"{prefix}{name}.": {}}
        else:
            flat[prefix + name] = value
    return flat


@pytest.mark.parametrize("recipe", VALUES)
def test_a_recipe_keeps_its_values(recipe):
    method, name = recipe.split(":")
    held = flatten(json.loads(config_module(CONFIGS / f"{method}.py").get_config(name).to_json()))
    wanted = {key: value for key, value in VALUES[recipe].items() if key not in DROPPED}
    # An empty group has no keys to compare; with options at their defaults it is no longer empty.
    missing = object()
    differing = {
        key: (held.get(key), value)
        for key, value in wanted.items()
        if held.get(key, missing) != value and not (value == {} and any(name.startswith(key) for name in held))
    }
    assert differing == {}
    # What came later is at its default, which changes nothing.
    later = {key: value for key, value in held.items() if key not in VALUES[recipe]}
    assert {key: value for key, value in later.items() if not defaults.is_default(key, value)} == {}
