"""A method outside of the train step: its parts on one batch, and what the health watch says of a short run."""

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax import methods
from ssl_jax.data import pipeline, sources
from ssl_jax.evaluation import health
from ssl_jax.methods.api import Progress
from ssl_jax.train import experiment

PROGRESS = Progress(jnp.int32(0), 10)


def prepare(config, batch, facts=None):
    """The method of a config, the views of one batch, parameters and state."""
    method = methods.build(config, facts)
    example = {name: jnp.asarray(rows) for name, rows in batch.items() if name != "label"}
    views = jax.jit(jax.vmap(method.views))(jax.random.split(jax.random.key(1), len(batch["index"])), example)
    params, state = jax.jit(method.init)(jax.random.key(0), views)
    return method, views, params, state


def loss_and_outputs(method, views, params, state):
    """The loss of one batch, and (outputs of `embed`, the state that it hands on)."""
    outputs, new = method.embed(params, state, views, jax.random.key(2), PROGRESS, None)
    return method.objective(params, outputs, new, PROGRESS, None)[0], (outputs, new)


def unit(x):
    """Rows of unit length, float64."""
    x = np.asarray(x, np.float64)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def watched(config, steps):
    """The warnings that a run on digits is given, and the last row of metrics; `config.train.log_every` counts."""
    config.train.steps, config.parallel.devices = steps, 1
    source = sources.load("digits", "train")
    batches = pipeline.Batches(source, batch_size=config.train.batch_size, seed=0)
    run = experiment.build(config, batches[0], examples=len(source), signals=health.signals)
    state, history, given = run.create(), {}, []
    for step in range(steps):
        state, metrics = run.step(state, run.parallel.place(batches[step]))
        if (step + 1) % config.train.log_every == 0:
            row = {name: float(value) for name, value in jax.device_get(metrics).items()}
            history, warnings = health.update(history, row)
            given += warnings
    return given, row
