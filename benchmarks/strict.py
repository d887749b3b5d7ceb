"""What strict mode costs: its step beside the plain one, in the same process, by turns.

    XLA_FLAGS=--xla_force_host_platform_device_count=2 python benchmarks/strict.py [--output=strict.json]
"""

import json
import statistics
import time
from pathlib import Path

import jax
from absl import app, flags
from ml_collections import config_flags

from ssl_jax import monitor
from ssl_jax.data import pipeline, sources
from ssl_jax.evaluation import health
from ssl_jax.train import experiment

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file("config", "configs/simclr.py:digits", "Recipe.", lock_config=True)
flags.DEFINE_string("output", None, "A JSON file for the figures.")
flags.DEFINE_integer("repeats", 10, "Steps of each kind to time.")


def main(_):
    config = FLAGS.config
    source = sources.load(config.data.source, config.data.split)
    batch = pipeline.Batches(source, batch_size=config.train.batch_size, seed=config.seed)[0]
    steps, states, times, compiled = {}, {}, {"plain": [], "strict": []}, {}
    for name in times:
        config.parallel.strict = name == "strict"
        run = experiment.build(
            config, batch, examples=len(source), probe=monitor.probe(source), signals=health.signals
        )  # fmt: skip
        steps[name], states[name], placed = run.step, run.create(), run.parallel.place(batch)
        start = time.perf_counter()
        states[name] = jax.block_until_ready(steps[name](states[name], placed)[0])
        compiled[name] = time.perf_counter() - start
    for _ in range(FLAGS.repeats):
        for name, step in steps.items():
            start = time.perf_counter()
            states[name] = jax.block_until_ready(step(states[name], placed)[0])
            times[name].append(time.perf_counter() - start)
    figures = {name: statistics.median(values) for name, values in times.items()}
    ratio = figures["strict"] / figures["plain"]
    for name, value in figures.items():
        print(f"{name:<8}{1e3 * value:9.1f} ms a step, first step {compiled[name]:.1f} s")
    print(f"strict / plain on {run.parallel.size} devices: {ratio:.2f}")
    if FLAGS.output:
        content = {"seconds": figures, "first_step": compiled, "ratio": ratio, "devices": run.parallel.size}
        Path(FLAGS.output).write_text(json.dumps(content | {"jax": jax.__version__}, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
