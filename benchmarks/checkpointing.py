"""What checkpoints cost: the training loop's wait at a save, and the digests beside the steps of a save interval.

    python benchmarks/checkpointing.py [--config=configs/simclr.py:digits] [--output=checkpointing.json]

Steps are timed in a loop without saves, saves alone between them; medians. The digests run in the background; their
share is their time over that of the steps between two saves, as if nothing ran beside them.
"""

import json
import statistics
import tempfile
import time
from pathlib import Path

import jax
from absl import app, flags
from ml_collections import config_flags

from ssl_jax import monitor
from ssl_jax.data import pipeline, sources
from ssl_jax.evaluation import health
from ssl_jax.run import checkpoint, manifest, restore
from ssl_jax.train import experiment

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file("config", "configs/simclr.py:digits", "Recipe.", lock_config=True)
flags.DEFINE_string("output", None, "A JSON file for the figures.")
flags.DEFINE_integer("repeats", 10, "Saves to time.")


def seconds(function, *arguments):
    """The time of one call, and what it returned."""
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def measure(config, repeats: int) -> dict:
    """The figures of one recipe."""
    source = sources.load(config.data.source, config.data.split)
    batches = pipeline.Batches(source, batch_size=config.train.batch_size, seed=config.seed)
    run = experiment.build(
        config, batches[0], examples=len(source), probe=monitor.probe(source), signals=health.signals
    )
    state, steps, waits, writes, digests, checks = run.create(), [], [], [], [], []

    def step(state, k):
        state, _ = run.step(state, run.parallel.place(batches[k]))
        return jax.block_until_ready(state)

    state = step(state, 0)
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "checkpoints"
        with checkpoint.Checkpoints(directory) as checkpoints:
            for k in range(1, repeats + 1):
                for i in range(5):
                    elapsed, state = seconds(step, state, 5 * k + i)
                    steps.append(elapsed)
                waited, _ = seconds(checkpoints.save, k, state, {})
                written, _ = seconds(checkpoints.save, k, state, {})  # nothing new: waits for the one before
                waits.append(waited)
                writes.append(written)
                tree = checkpoint.to_host(state)
                path = directory / str(k)
                described = manifest.read(path, k)
                (path / manifest.NAME).unlink()
                digests.append(seconds(manifest.write, path, k, manifest.by_name(tree), {}, "")[0])
                checks.append(seconds(manifest.check_files, path, described, tuple(restore.ITEMS))[0])
    times = {"step": steps, "wait": waits, "write": writes, "digests": digests, "check": checks}
    figures = {name: 1e3 * statistics.median(values) for name, values in times.items()}
    interval = config.train.checkpoint_every
    return {
        "milliseconds": figures,
        "state_bytes": sum(leaf.nbytes for leaf in jax.tree.leaves(tree)),
        "interval_steps": interval,
        "wait_in_steps": figures["wait"] / figures["step"],
        "digest_share_of_steps": figures["digests"] / (interval * figures["step"]),
        "jax": jax.__version__,
        "devices": f"{run.parallel.size} x {jax.devices()[0].device_kind}",
    }


def main(_):
    figures = measure(FLAGS.config, FLAGS.repeats)
    for name, value in figures["milliseconds"].items():
        print(f"{name:<10}{value:10.2f} ms")
    print(f"state     {figures['state_bytes'] / 2**20:10.2f} MiB, saved every {figures['interval_steps']} steps")
    print(f"a save holds the loop up for {figures['wait_in_steps']:.2f} steps")
    print(f"digests take {figures['digest_share_of_steps']:.3%} of the time of the steps between two saves")
    if FLAGS.output:
        Path(FLAGS.output).write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
