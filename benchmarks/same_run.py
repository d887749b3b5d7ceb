"""Trains a small run of each method for three strict steps in two checkouts and compares every leaf's SHA-256.

    python -m benchmarks.same_run --other=../before [--methods=simclr,moco]

`--other` is a checkout of another commit. Strict mode's bits depend on the processor and the compiler, so both run on
this machine and no hash is kept. Only the commands and the checkpoint's manifest are used, so that the two checkouts
may differ in everything else. Prints a line for each method and ends with status 1 where a leaf differs.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from absl import app, flags

FLAGS = flags.FLAGS
HERE = Path(__file__).resolve().parents[1]
METHODS = ("barlow_twins", "byol", "dino", "moco", "moco_v3", "simclr", "simsiam", "swav", "vicreg")
SMALL = {
    "parallel.strict": True, "parallel.blocks": 2, "parallel.devices": 1, "train.steps": 3, "train.epochs": 0,
    "train.batch_size": 16, "train.log_every": 1, "train.eval_every": 0, "train.checkpoint_every": 0,
    "optim.warmup_steps": 0, "optim.warmup_epochs": 0.0, "eval.protocols": "()",
}  # fmt: skip
OF_METHOD = {
    "dino": {"model.last_layer.output_dim": 16, "optim.groups.last_layer.frozen_steps": 1, "augment.local.count": 2},
    "moco": {"method.queue_size": 32, "model.norm_groups": 2},
    "swav": {"method.prototypes": 8, "method.queue_size": 32, "optim.groups.prototypes.frozen_steps": 1},
}  # fmt: skip


def leaves(checkout: Path, method: str) -> dict[str, str]:
    """The SHA-256 of every parameter and of the method's state after three steps in a checkout."""
    options = SMALL | OF_METHOD.get(method, {})
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "ssl_jax.pretrain", f"--config=configs/{method}.py:tiny"]
        command += [f"--workdir={folder}/run", *(f"--config.{name}={value}" for name, value in options.items())]
        environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(checkout)}
        ran = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
        if ran.returncode:
            raise ValueError(f"{method} in {checkout} ended with status {ran.returncode}: {ran.stderr[-2000:]}")
        manifest = json.loads((Path(folder) / "run/checkpoints/3/manifest.json").read_text())
    held = ("params", "method")
    return {name: leaf["sha256"] for name, leaf in manifest["leaves"].items() if name.split("/")[0] in held}


def main(_) -> None:
    different = False
    for method in FLAGS.methods:
        here, other = leaves(HERE, method), leaves(Path(FLAGS.other).resolve(), method)
        names = sorted(name for name in here.keys() | other.keys() if here.get(name) != other.get(name))
        found = f"{len(here)} leaves, {len(names)} differ{': ' if names else ''}{', '.join(names[:3])}"
        print(f"{method:<14}{found}", flush=True)
        different |= bool(names)
    sys.exit(int(different))


if __name__ == "__main__":
    flags.DEFINE_string("other", None, "The other checkout.", required=True)
    flags.DEFINE_list("methods", list(METHODS), "Which methods.")
    app.run(main)
