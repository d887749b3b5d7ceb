"""Writes the features of a data set to a file, in the order of the source.

    python -m ssl_jax.embed --workdir=runs/simclr_digits --data=npz:DIR --split=test --output=features.npz

The file holds `features` float32 [N, F] (before the projector), `index` int64 [N], and `label` and `speaker` if the
data has them.
"""

from pathlib import Path

import numpy as np
from absl import flags

from ssl_jax import methods, paths
from ssl_jax.data import sources
from ssl_jax.encoder import load_encoder
from ssl_jax.run import command_line, facts, workdir
from ssl_jax.run.processes import is_first

FLAGS = flags.FLAGS


def embed(
    directory: Path, data: str | None, split: str, output: Path, layer: str | None = None, checkpoint: str = "latest"
) -> dict:
    """Encodes `data` (None: the run's own) with a checkpoint of the run and writes `output`."""
    config = workdir.read_config(directory)
    source = sources.load(config.data, split, spec=data)
    source = methods.read(source, config, facts.read(directory), train=False)
    if is_first():
        output.parent.mkdir(parents=True, exist_ok=True)
    rows = load_encoder(directory, layer, checkpoint).rows(source)
    arrays = {"index": np.arange(len(source)), **rows}
    if is_first():
        np.savez(output, **arrays)
    return arrays


def main() -> int:
    output = paths.output(FLAGS.output)
    if output.suffix != ".npz":
        raise ValueError(f"--output is {FLAGS.output}; expected a name that ends in .npz")
    arrays = embed(paths.expand(FLAGS.workdir), FLAGS.data, FLAGS.split, output, FLAGS.layer, FLAGS.checkpoint)
    print(f"{output}: features float32 {list(arrays['features'].shape)}")
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Directory of a pretraining run.", required=True)
    flags.DEFINE_string("data", None, "Data to encode; the run's own if left out.")
    flags.DEFINE_string("split", "test", "Split of the data.")
    flags.DEFINE_string("output", None, "The .npz file to write.", required=True)
    flags.DEFINE_string("layer", None, "Layer of the encoder; its output if left out.")
    flags.DEFINE_string("checkpoint", "latest", "latest, best (where config.train.keep_best), or a step.")
    command_line.run(main)
