"""What exact large batches in microbatches cost: temporary memory as the batch grows, and the time of a step.

    python -m benchmarks.microbatches [--cases=simclr_r18,moco_v3_vit_ti] [--output=microbatches.json]

Run it from the root of the repository, on a machine that does nothing else; it uses one device. Of every case:

    memory   temporary memory of the compiled step at 2 and at 32 microbatches of the same size, a batch 16 times as
             large; `growth` is relative to the smaller. `outputs` is what `embed` gives for the larger batch, which the
             step holds beside its gradient: the embeddings. `plain` is the step without microbatches, at the smaller
    time     the step in microbatches beside the plain one on the same batch, by turns; medians

Two passes forwards and one backwards, which counts twice, make 4/3 of the plain step.
"""

import json
import os
import statistics
from pathlib import Path

import jax
from absl import app, flags

from benchmarks import step
from ssl_jax import methods
from ssl_jax.evaluation import health
from ssl_jax.evaluation.online_probe import OnlineProbe
from ssl_jax.train import experiment
from ssl_jax.train.state import sample_views

SMALL, LARGE = 2, 32  # microbatches
CLASSES = 10
CASES = {  # of benchmarks/step.py: other values in its recipe
    "simclr_r18": ("model.width=0.25",),  # small; batch norm in groups of a microbatch
    "moco_v3_vit_ti": ("model.projector.norm=none", "model.predictor.norm=none"),  # no batch norm
}
COLUMNS = {  # heading: (key, format)
    "rows": ("rows", "d"), "plain MiB": ("plain_mib", ".1f"), "small MiB": ("small_mib", ".1f"),
    "large MiB": ("large_mib", ".1f"), "outputs MiB": ("outputs_mib", ".2f"), "growth": ("growth", ".2%"),
    "plain ms": ("plain_ms", ".0f"), "parts ms": ("parts_ms", ".0f"), "ratio": ("ratio", ".2f"),
}  # fmt: skip

FLAGS = flags.FLAGS
if __name__ == "__main__":
    flags.DEFINE_list("cases", list(CASES), "Which of them.")
    flags.register_validator("cases", lambda names: set(names) <= CASES.keys(), "there is no such case; see --help")
    flags.DEFINE_integer("rows", None, "Images in a microbatch; default: 16 on a CPU, 128 on a GPU.")
    flags.DEFINE_integer("timed", 4, "Microbatches of the steps that are timed.")
    flags.DEFINE_integer("rounds", 7, "Times that each step takes its turn; 0: memory alone.")
    flags.DEFINE_integer("repeats", None, "Steps in a turn; default: 1 on a CPU, 10 on a GPU.")
    flags.DEFINE_enum("dtype", None, ["float32", "bfloat16"], "Default: float32 on a CPU, bfloat16 on a GPU.")
    flags.DEFINE_string("output", None, "A JSON file for the figures.")


def build(config, batch_size: int, count: int, groups: int):
    """The experiment of a recipe with a batch size, microbatches and groups of batch norm, and a batch for it."""
    config = config.copy_and_resolve_references()
    config.train.batch_size, config.train.microbatches, config.model.norm_groups = batch_size, count, groups
    batch = step.images(config, CLASSES)
    probe = OnlineProbe(CLASSES)
    return experiment.build(config, batch, examples=step.EXAMPLES, probe=probe, signals=health.signals), batch


def compiled(run, batch):
    """The compiled step, and its temporary memory in MiB."""
    program = run.step.lower(run.abstract, run.parallel.place(batch)).compile()
    return program, program.memory_analysis().temp_size_in_bytes / 2**20


def outputs(run, batch) -> float:
    """The size of what `embed` gives for a batch, in MiB."""

    def embed(params, state, batch):
        key = jax.random.key(0)
        viewed = sample_views(run.method, key, batch, rows=len(batch["index"]))
        return run.method.embed(params, state, viewed, key, methods.Progress(0, 1), None)[0]

    found = jax.eval_shape(embed, run.abstract.params, run.abstract.method, batch)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(found)) / 2**20


def measure(config, *, rows: int, timed: int, rounds: int, repeats: int) -> dict:
    """The figures of a recipe in microbatches of `rows` images."""
    small, large = (build(config, count * rows, count, count) for count in (SMALL, LARGE))
    said = {"rows": rows, "small_mib": compiled(*small)[1], "large_mib": compiled(*large)[1]}
    said |= {"plain_mib": compiled(*build(config, SMALL * rows, 1, SMALL))[1], "outputs_mib": outputs(*large)}
    said["growth"] = said["large_mib"] / said["small_mib"] - 1
    if not rounds:
        return said

    calls = {}
    for name, count in (("plain", 1), ("parts", timed)):
        run, batch = build(config, timed * rows, count, timed)
        calls[name] = step.stepping(compiled(run, batch)[0], run.create(), run.parallel.place(batch))
    first, times = step.by_turns(calls, rounds, repeats)
    said |= {f"{name}_ms": 1e3 * statistics.median(values) for name, values in times.items()}
    said |= {f"{name}_first_loss": float(loss) for name, loss in first.items()}
    return said | {"ratio": said["parts_ms"] / said["plain_ms"], "timed": timed, "rounds_s": times}


def line(name: str, said: dict | None = None) -> str:
    """A line of the table; without figures, its headings."""
    cells = COLUMNS
    if said is not None:
        cells = [format(said[key], form) if key in said else "-" for key, form in COLUMNS.values()]
    return f"{name:<16}" + "".join(f"{cell:>12}" for cell in cells)


def main(_):
    gpu, threads = jax.default_backend() == "gpu", len(os.sched_getaffinity(0))
    dtype, rows = FLAGS.dtype or ("bfloat16" if gpu else "float32"), FLAGS.rows or (128 if gpu else 16)
    turns = {"timed": FLAGS.timed, "rounds": FLAGS.rounds, "repeats": FLAGS.repeats or (10 if gpu else 1)}
    device = f"{jax.devices()[0].device_kind}, {threads} threads, {dtype}"
    print(f"jax      {jax.__version__}, {device}", line("case"), sep="\n", flush=True)
    results = {}
    for name in FLAGS.cases:
        config = step.recipe(step.CASES[name], rows, dtype, CASES[name])
        results[name] = measure(config, rows=rows, **turns)
        print(line(name, results[name]), flush=True)
        jax.clear_caches()
    if FLAGS.output:
        content = {"cases": results, "device": device, "jax": jax.__version__}
        Path(FLAGS.output).write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
