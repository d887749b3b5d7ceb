"""What negatives are worth: the accuracy of SimCLR, and the memory of its step, as the batch grows.

    XLA_FLAGS=--xla_force_host_platform_device_count=2 python -m benchmarks.negatives --runs=runs/negatives \\
      --source=npz:data/cifar10 --figure=negatives.png

Trains `configs/simclr.py:cifar10_cpu` once for each of `--batches`, all for as many epochs, and prints a table; a run
that is finished is not trained again. A batch of B has 2B - 2 negatives for an image, from both devices by the ring of
`losses/tiled/`. It is encoded in microbatches of 32 images, which is also the group of batch norm, so that nothing but
negatives, steps and rate change; the rate grows with the square root of the batch. Memory is the temporary memory of
the compiled step on each device, in microbatches and without. The figure needs matplotlib.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
from pathlib import Path

import jax

from benchmarks.microbatches import build, compiled

ROWS = 32  # images in a microbatch, and in a group of batch norm
BASE_BATCH, BASE_RATE = 256, 0.004  # of the recipe
CONFIG = "configs/simclr.py:cifar10_cpu"
COLUMNS = ("batch", "negatives", "microbatches", "steps", "kNN", "linear", "MiB", "MiB, whole", "images a second")


def settings(batch: int, epochs: int, source: str, devices: int) -> dict[str, object]:
    """The config values of a run, dotted key -> value.

    >>> found = settings(1024, 3, "digits", 2)
    >>> found["train.microbatches"], found["model.norm_groups"], found["optim.learning_rate"]
    (32, 32, 0.008)
    """
    count = max(1, batch // ROWS)
    return {
        "data.source": source, "train.batch_size": batch, "train.microbatches": count, "train.epochs": epochs,
        "train.eval_every": 0, "train.log_every": max(1, 4096 // batch), "model.norm_groups": count,
        "optim.learning_rate": round(BASE_RATE * math.sqrt(batch / BASE_BATCH), 6), "optim.warmup_steps": 0,
        "optim.warmup_epochs": 0.2, "parallel.devices": devices, "eval.protocols": ("knn", "linear"),
    }  # fmt: skip


def train(directory: Path, values: dict) -> None:
    """One run, in a process of its own."""
    command = [sys.executable, "-m", "ssl_jax.pretrain", f"--config={CONFIG}", f"--workdir={directory}"]
    subprocess.run([*command, *(f"--config.{key}={value}" for key, value in values.items())], check=True)


def read(directory: Path) -> dict:
    """What a finished run has measured."""
    config = json.loads((directory / "config.json").read_text())["train"]
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    found = {}
    for row in json.loads((directory / "evaluation.json").read_text()):
        kind = "random" if row["features"].startswith("random") else row["features"]  # the better random encoder counts
        found[row["protocol"], kind] = max(row["value"], found.get((row["protocol"], kind), 0.0))
    speeds = [row["examples_per_second"] for row in rows if "examples_per_second" in row]
    batch, steps = config["batch_size"], max(row["step"] for row in rows)
    accuracy = {f"{name}_{kind}": found[name, kind] for name in ("knn", "linear") for kind in ("encoder", "random")}
    return accuracy | {
        "batch": batch, "negatives": 2 * batch - 2, "microbatches": config["microbatches"], "steps": steps,
        "speed": statistics.median(speeds),
    }  # fmt: skip


def memory(values: dict) -> dict[str, float]:
    """Temporary memory of the step on each device in MiB, in microbatches and `whole`."""
    from ssl_jax import recipes

    config = recipes.get_config("simclr:cifar10_cpu")
    config.update_from_flattened_dict(values)
    batch, count = config.train.batch_size, config.train.microbatches
    found = {}
    for name, parts in (("mib", count), ("whole_mib", 1)):
        found[name] = compiled(*build(config, batch, parts, count))[1]
        jax.clear_caches()
    return found


def table(rows: list[dict]) -> str:
    """The runs as a table in Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for row in rows:
        cells = [f"{row['batch']:,}", f"{row['negatives']:,}", str(row["microbatches"]), f"{row['steps']:,}"]
        cells += [f"{100 * row['knn_encoder']:.1f}", f"{100 * row['linear_encoder']:.1f}"]
        cells += [f"{row['mib']:.0f}", f"{row['whole_mib']:.0f}", f"{row['speed']:.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    random = f"{100 * rows[0]['knn_random']:.1f} (kNN) and {100 * rows[0]['linear_random']:.1f} (linear)"
    return "\n".join([*lines, "", f"Better random encoder: {random}."])


def draw(rows: list[dict], path: Path) -> None:
    """Accuracy over negatives, and memory over the batch."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for name, label in (("knn", "kNN"), ("linear", "linear probe")):
        (line,) = axes[0].plot(
            [row["negatives"] for row in rows], [100 * row[f"{name}_encoder"] for row in rows], marker="o", label=label
        )  # fmt: skip
        axes[0].axhline(100 * rows[0][f"{name}_random"], color=line.get_color(), linestyle=":", linewidth=1)
    for name, label in (("whole_mib", "whole batch"), ("mib", f"in microbatches of {ROWS}")):
        axes[1].plot([row["batch"] for row in rows], [row[name] for row in rows], marker="o", label=label)
    axes[0].set(xscale="log", xlabel="negatives", ylabel="top-1, %", title="accuracy (dotted: better random encoder)")
    axes[1].set(xscale="log", yscale="log", xlabel="batch", ylabel="MiB a device", title="temporary memory of a step")
    for axis in axes:
        axis.legend(frameon=False)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", required=True, type=Path, help="the folder of the run directories")
    parser.add_argument("--source", default="npz:data/cifar10", help="labelled images")
    parser.add_argument("--batches", default="32,128,512,2048", help="sizes of the global batch")
    parser.add_argument("--epochs", default=3, type=int, help="of each run")
    parser.add_argument("--figure", type=Path, help="an image file to draw")
    asked = parser.parse_args()
    rows = []
    for batch in map(int, asked.batches.split(",")):
        values, directory = settings(batch, asked.epochs, asked.source, jax.device_count()), asked.runs / str(batch)
        train(directory, values)
        rows.append(read(directory) | memory(values))
        print(table(rows), flush=True)
    (asked.runs / "negatives.json").write_text(json.dumps(rows, indent=1) + "\n")
    if asked.figure:
        draw(rows, asked.figure)


if __name__ == "__main__":
    main()
