"""Writes a run down as one HTML page: config, curves, health, evaluation, embedding map, neighbours, views, pictures.

    python -m ssl_jax.report --workdir=runs/simclr_digits [--output=report.html] [--data=npz:DIR]

The page is one file that needs no network and no scripts. Its sections are the files of `ssl_jax/visual/sections/`.
"""

import datetime
import functools
import json
from pathlib import Path

import jax
import numpy as np
from absl import flags

from ssl_jax import encoder, methods, paths
from ssl_jax.data import pipeline, sources
from ssl_jax.evaluation import inputs
from ssl_jax.run import command_line, facts, workdir
from ssl_jax.run.restore import load_model
from ssl_jax.train import parallel
from ssl_jax.visual import sections
from ssl_jax.visual.page import page

FLAGS = flags.FLAGS
EXAMPLES, BATCH = 500, 32  # test examples that are embedded; rows of the batch that is augmented


class Run:
    """What the sections of a report use, made when one asks for it; ValueError says what is missing.

    Args:
      directory: of the run.
      data: other data than those that the run is evaluated on, such as "npz:DIR"; None for these.
      checkpoint: "latest", "best" or a step.
    """

    def __init__(self, directory: Path, data: str | None = None, checkpoint: str = "latest"):
        self.directory, self._data, self._checkpoint = directory, data, checkpoint
        self.config = workdir.read_config(directory)
        self.keys = workdir.flatten(workdir.plain(self.config))  # dotted name -> value
        self.environment, self.evaluation = (
            workdir.read_json(path, type(empty)) if path.exists() else empty
            for path, empty in ((directory / "environment.json", {}), (directory / "evaluation.json", []))
        )
        path = directory / "metrics.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        self.events = [line for line in lines if "event" in line]
        self.rows = [line for line in lines if "event" not in line]  # of metrics

    @functools.cached_property
    def source(self) -> sources.Subset:
        """Up to EXAMPLES test examples, drawn by the seed 0, in source order."""
        held = sources.load(self.config.data, self.config.eval.test_split, spec=self._data or self.config.eval.source)
        ids = np.random.default_rng(0).permutation(len(held))[:EXAMPLES]
        return sources.Subset(held, np.sort(ids))

    @functools.cached_property
    def known(self) -> dict:
        return facts.read(self.directory)

    @functools.cached_property
    def method(self) -> methods.Method:
        return methods.build(self.config, self.known)

    @functools.cached_property
    def encoder(self) -> encoder.Encoder:
        return encoder.load_encoder(self.directory, checkpoint=self._checkpoint)

    @functools.cached_property
    def model(self) -> dict:
        """`params` and `method`, its state, on one device."""
        held = load_model(self.directory, parallel.make("shard_map", 1, 1).replicated, self._checkpoint)
        return {"method": {}} | held

    @functools.cached_property
    def features(self) -> np.ndarray:
        """Float32 `[N, F]` of `source`."""
        return self.encoder.rows(self._read(train=False))["features"]

    @functools.cached_property
    def examples(self) -> list[dict]:
        """`source` as it is."""
        rate = {"sample_rate": self.config.data.sample_rate}
        return [self.source[i] | rate for i in range(len(self.source))]

    @property
    def images(self) -> np.ndarray:
        return np.stack([example["image"] for example in self.examples])

    @property
    def labels(self) -> np.ndarray | None:
        return self.source.labels

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels, as far as they are known."""
        return tuple(map(str, self.config.eval.classes or self.source.classes or ()))

    @property
    def input_title(self) -> str:
        """What the features of the input itself are called."""
        try:
            return inputs.naive(self._read(train=False))[0]
        except ValueError:
            return "input"

    @functools.cached_property
    def viewed(self) -> tuple[dict, dict]:
        """A batch of `source`, and what `views` makes of it."""
        rows = self._read(train=True)
        batch = pipeline.Batches(rows, batch_size=min(BATCH, len(rows)), seed=self.config.seed)[0]
        keys = jax.random.split(jax.random.key(self.config.seed), len(batch["index"]))
        return batch, jax.device_get(jax.jit(jax.vmap(self.method.views))(keys, batch))

    @functools.cached_property
    def pictures(self) -> dict:
        """What `Method.pictures` makes of `viewed`."""
        key = jax.random.key(self.config.seed)
        return self.method.pictures(self.model["params"], self.model["method"], self.viewed[1], key)

    def _read(self, train: bool):
        return methods.read(self.source, self.config, self.known, train=train)


def report(directory, output=None, data: str | None = None, checkpoint: str = "latest") -> Path:
    """Writes the page of a run, `report.html` in its directory unless `output` names a file; returns where it is."""
    directory = paths.expand(directory)
    output = paths.output(output or directory / "report.html")
    run = Run(directory, data, checkpoint)
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    html = page(
        directory.resolve().name, f"{run.keys['method.name']} on {run.keys['data.source']}", sections.show(run),
        f"Made by python -m ssl_jax.report, {now}.",
    )  # fmt: skip
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(html, encoding="utf-8")
    return output


def main() -> int:
    output = report(FLAGS.workdir, FLAGS.output, FLAGS.data, FLAGS.checkpoint)
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Directory of a pretraining run.", required=True)
    flags.DEFINE_string("output", None, "The .html file to write; report.html in the run directory if left out.")
    flags.DEFINE_string("data", None, "Data to show; those that the run is evaluated on if left out.")
    flags.DEFINE_string("checkpoint", "latest", "latest, best (where config.train.keep_best), or a step.")
    command_line.run(main)
