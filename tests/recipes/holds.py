"""Comparing a config with a table of published values, whose names are paths in the config."""

import pytest

from ssl_jax.train import optim

ABSENT = object()  # as the value of a key that the config must not have


def plain(value):
    """Nested dicts and tuples, whatever the config holds."""
    if hasattr(value, "items"):
        return {name: plain(inner) for name, inner in value.items()}
    return tuple(value) if isinstance(value, list | tuple) else value


def agrees(held, published) -> bool:
    """Whether two values are equal; of dicts, what the published one names."""
    if isinstance(published, dict):
        return published.keys() <= held.keys() and all(agrees(held[name], published[name]) for name in published)
    return held == published


def assert_holds(config, published):
    """Every value of the table; "learning_rate" is the effective one."""
    for name, value in published.items():
        if name == "learning_rate":
            assert optim.scaled_learning_rate(config.optim, config.train.batch_size) == pytest.approx(value)
            continue
        *path, last = name.split(".")
        held = config
        for part in path:
            held = held[part]
        if value is ABSENT:
            assert last not in held, name
        else:
            assert agrees(plain(held[last]), plain(value)), (name, plain(held[last]), value)
