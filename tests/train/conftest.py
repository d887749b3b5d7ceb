"""A method that breaks at will."""

import dataclasses

import jax.numpy as jnp
import pytest

from ssl_jax import methods


@pytest.fixture
def poison(monkeypatch):
    """`poison(2, 3)`: the loss and all gradients of these steps, counted from 1, are nan."""
    build = methods.build

    def poison(*steps):
        def build_poisoned(config):
            method = build(config)

            def objective(params, outputs, state, progress, axis_name):
                loss, state, metrics = method.objective(params, outputs, state, progress, axis_name)
                bad = jnp.isin(progress.step + 1, jnp.array(steps, jnp.int32))
                return loss * jnp.where(bad, jnp.nan, 1.0).astype(loss.dtype), state, metrics

            return dataclasses.replace(method, objective=objective)

        monkeypatch.setattr(methods, "build", build_poisoned)

    return poison
