"""Runs the recipe `digits` of the joint-embedding methods: is the trained encoder above the untrained one?

    python -m benchmarks.demos [--methods=moco,simclr] [--workdir=runs/demos]

kNN on the 360 test images, in percent: of the trained encoder, of the better of the two random encoders (initial and
settled batch statistics) and of the pixels. Minutes are those of the whole command, evaluation included. Ends with
status 1 where a trained encoder is not above the random one.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from absl import app, flags

FLAGS = flags.FLAGS
HERE = Path(__file__).resolve().parents[1]
METHODS = ("barlow_twins", "byol", "dino", "moco", "moco_v3", "simclr", "swav", "vicreg")  # SimSiam has no such recipe
COLUMNS = ("method", "trained", "better random", "pixels", "gain", "minutes")


def train(method: str, directory: Path) -> float:
    """Trains and evaluates the recipe in a new directory; the minutes that the command took."""
    command = [sys.executable, "-m", "ssl_jax.pretrain", f"--config=configs/{method}.py:digits"]
    command += ["--config.eval.protocols=('knn',)", f"--workdir={directory}"]
    began = time.perf_counter()
    ran = subprocess.run(command, cwd=HERE, env=os.environ | {"PYTHONPATH": str(HERE)}, capture_output=True, text=True)
    if ran.returncode:
        raise ValueError(f"{method} ended with status {ran.returncode}: {ran.stderr[-2000:]}")
    return (time.perf_counter() - began) / 60


def compared(rows: list[dict]) -> dict[str, float]:
    """The kNN accuracies in percent out of the rows of an `evaluation.json`."""
    value = {row["features"]: 100 * row["value"] for row in rows if row["protocol"] == "knn"}
    random = max(value[kind] for kind in ("random", "random_initial") if kind in value)
    found = {"trained": value["encoder"], "better random": random, "pixels": value["input"]}
    return found | {"gain": value["encoder"] - random}


def line(cells) -> str:
    return "| " + " | ".join(f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |"


def main(_) -> None:
    below = []
    print(line(COLUMNS), "|---" * len(COLUMNS) + "|", sep="\n", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        for method in FLAGS.methods:
            directory = Path(FLAGS.workdir or temporary).resolve() / method
            if directory.exists():
                raise ValueError(f"{directory} exists; give another --workdir, since the minutes are those of new runs")
            minutes = train(method, directory)
            found = compared(json.loads((directory / "evaluation.json").read_text()))
            print(line([method, *found.values(), minutes]), flush=True)
            below += [method] if found["gain"] <= 0 else []
    if below:
        sys.exit(f"not above the better random encoder: {', '.join(below)}")


if __name__ == "__main__":
    flags.DEFINE_list("methods", list(METHODS), "Which methods.")
    flags.DEFINE_string("workdir", None, "Where the runs stay, DIR/<method>; left out, they are deleted.")
    app.run(main)
