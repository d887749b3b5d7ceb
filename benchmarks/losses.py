"""The tiled losses against the forms that others use: time, temporary memory a device, matrix products.

    XLA_FLAGS=--xla_force_host_platform_device_count=8 python -m benchmarks.losses --batches=1024,8192 [--output=F.json]

CLIP's symmetric loss and SimCLR's, value and gradient, of random embeddings, in one process by turns:

    tiled       ssl_jax.losses, through `shard_map`
    gathered    the usual recipe: `all_gather`, then the logits of the local rows, for each direction
    plain       the logits of the whole batch; the compiler spreads them over the devices; these two multiply float32,
                the unit vectors, where the embeddings are bfloat16, too
    torch       the same loss of a peer on one device, where it is installed (the CPU alone): for CLIP that of
                transformers, for SimCLR NTXentLoss of pytorch-metric-learning

Time is the median over rounds, in which every form has its turn of two calls, the second of them timed; memory is
`temp_size_in_bytes` of the compiled program, a device. Forms that would take more than `--largest_mib` a device are
compiled for their memory and not run.
"""

import functools
import json
import statistics
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from ssl_jax import losses

AXIS, TEMPERATURE = "data", 0.1
FLAGS = flags.FLAGS
if __name__ == "__main__":
    flags.DEFINE_list("batches", ["1024", "8192", "32768"], "Global batches.")
    flags.DEFINE_list("losses", ["clip", "nt_xent"], "Of clip and nt_xent.")
    flags.DEFINE_list("forms", ["tiled", "gathered", "plain", "torch"], "Which; torch up to a batch of 8,192.")
    flags.DEFINE_integer("width", None, "Dimensions; default: 128 on a CPU, 512 on a GPU.")
    flags.DEFINE_enum("dtype", None, ["float32", "bfloat16"], "Default: float32 on a CPU, bfloat16 on a GPU.")
    flags.DEFINE_integer("rounds", 9, "Times that each form takes its turn.")
    flags.DEFINE_float("largest_mib", 2048, "Temporary memory a device beyond which a form is not run.")
    flags.DEFINE_string("output", None, "A JSON file for the figures.")


def unit(z):
    return z / jnp.linalg.norm(z.astype(jnp.promote_types(z.dtype, jnp.float32)), axis=1, keepdims=True)


def cross_entropy(logits, column):
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - jnp.take_along_axis(logits, column[:, None], axis=1)[:, 0])


def gathered_clip(x, y, axis_name=None, temperature=TEMPERATURE):
    """Local rows against all columns, once for each direction; without an axis the plain form."""
    x, y = unit(x), unit(y)
    all_x, all_y, start = x, y, 0
    if axis_name is not None:
        all_x, all_y = (jax.lax.all_gather(z, axis_name, tiled=True) for z in (x, y))
        start = jax.lax.axis_index(axis_name) * len(x)
    column = start + jnp.arange(len(x))
    if axis_name is None:
        logits = x @ y.T / temperature
        return (cross_entropy(logits, column) + cross_entropy(logits.T, column)) / 2
    return (cross_entropy(x @ all_y.T / temperature, column) + cross_entropy(y @ all_x.T / temperature, column)) / 2


def gathered_nt_xent(x, y, axis_name=None, temperature=TEMPERATURE):
    """Both local views against all views, oneself taken out."""
    z = unit(jnp.concatenate([x, y]))
    everything, start = z, 0
    if axis_name is not None:
        everything, start = jax.lax.all_gather(z, axis_name, tiled=True), jax.lax.axis_index(axis_name) * len(z)
    row = start + jnp.arange(len(z))
    logits = jnp.where(jnp.arange(len(everything)) == row[:, None], -jnp.inf, z @ everything.T / temperature)
    return cross_entropy(logits, start + jnp.roll(jnp.arange(len(z)), len(x)))


OURS = {
    "clip": functools.partial(losses.clip, logit_scale=1 / TEMPERATURE),
    "nt_xent": functools.partial(losses.nt_xent, temperature=TEMPERATURE),
}
THEIRS = {"clip": gathered_clip, "nt_xent": gathered_nt_xent}


def forms(name: str, mesh):
    """Form -> `(x, y) -> value, gradients` of global arrays, jitted."""
    rows = NamedSharding(mesh, P(AXIS))

    def per_device(loss):
        def body(x, y):
            value, gradients = jax.value_and_grad(functools.partial(loss, axis_name=AXIS), argnums=(0, 1))(x, y)
            return jax.lax.pmean(value, AXIS), gradients

        specs = {"in_specs": (P(AXIS), P(AXIS)), "out_specs": (P(), P(AXIS))}
        return jax.jit(jax.shard_map(body, mesh=mesh, check_vma=False, **specs))

    plain = jax.jit(
        jax.value_and_grad(THEIRS[name], argnums=(0, 1)),
        in_shardings=(rows, rows), out_shardings=(NamedSharding(mesh, P()), (rows, rows)),
    )  # fmt: skip
    return {"tiled": per_device(OURS[name]), "gathered": per_device(THEIRS[name]), "plain": plain}


def torch_form(name: str, x, y):
    """A peer's loss and gradient as a function without arguments, or None where it is not installed."""
    try:
        import torch

        if name == "clip":
            from transformers.models.clip.modeling_clip import image_text_contrastive_loss as clip_loss
        else:
            from pytorch_metric_learning.losses import NTXentLoss
    except ImportError:
        return None
    x, y = (torch.tensor(np.asarray(z, np.float32), requires_grad=True) for z in (x, y))

    def run():
        x.grad = y.grad = None
        if name == "clip":
            a, b = (torch.nn.functional.normalize(z) for z in (x, y))
            clip_loss(b @ a.T / TEMPERATURE).backward()
        else:
            labels = torch.arange(len(x)).repeat(2)
            NTXentLoss(temperature=TEMPERATURE)(torch.cat([x, y]), labels).backward()
        return x.grad

    return run


def measure(name: str, batch: int, mesh) -> list[dict]:
    """A row for every form of a loss at one batch."""
    dtype = jnp.dtype(FLAGS.dtype)
    numbers = np.random.default_rng(0)
    x = numbers.normal(size=(batch, FLAGS.width)).astype(np.float32)
    y = x + numbers.normal(size=x.shape).astype(np.float32)
    placed = [jax.device_put(jnp.asarray(z, dtype), NamedSharding(mesh, P(AXIS))) for z in (x, y)]
    rows, runs, values = [], {}, {}
    for form, program in forms(name, mesh).items():
        if form not in FLAGS.forms:
            continue
        compiled = program.lower(*placed).compile()
        mib = compiled.memory_analysis().temp_size_in_bytes / 2**20
        rows.append({"loss": name, "batch": batch, "form": form, "temp_mib": mib, "ms": None})
        if mib <= FLAGS.largest_mib:
            runs[form] = functools.partial(lambda compiled: jax.block_until_ready(compiled(*placed)), compiled)
            values[form] = float(runs[form]()[0])
    wanted = "torch" in FLAGS.forms and jax.default_backend() == "cpu" and batch <= 8192
    peer = torch_form(name, x, y) if wanted else None
    if peer is not None:
        rows.append({"loss": name, "batch": batch, "form": "torch", "temp_mib": None, "ms": None})
        try:
            peer()
            runs["torch"] = peer
        except RuntimeError as error:  # NTXentLoss compares all positive with all negative pairs: 32 GiB at 1,024
            print(f"{name} at {batch:,}: torch is not run: {str(error).splitlines()[0]}")
    if {"tiled", "gathered"} <= values.keys() and not np.isclose(values["tiled"], values["gathered"], rtol=1e-2):
        raise SystemExit(f"{name} at {batch}: tiled {values['tiled']} is not gathered {values['gathered']}")
    times = {form: [] for form in runs}
    for _ in range(FLAGS.rounds):
        for form, run in runs.items():
            run()  # not timed: the memory that the form before has used is being freed meanwhile
            start = time.perf_counter()
            run()
            times[form].append((time.perf_counter() - start) * 1e3)
    for row in rows:
        if row["form"] in times:
            row["ms"] = statistics.median(times[row["form"]])
    return rows


def table(rows: list[dict]) -> str:
    """The rows as a table in Markdown; times relative to the gathered form of the same batch."""
    base = {(row["loss"], row["batch"]): row["ms"] for row in rows if row["form"] == "gathered"}
    lines = ["| loss | global batch | form | temporary MiB a device | ms | of gathered |", "|---|---|---|---|---|---|"]
    for row in rows:
        reference = base.get((row["loss"], row["batch"]))
        mib = "-" if row["temp_mib"] is None else f"{row['temp_mib']:.1f}"
        ms = "not run" if row["ms"] is None else f"{row['ms']:.1f}"
        ratio = f"{row['ms'] / reference:.2f}" if row["ms"] and reference else "-"
        lines.append(f"| {row['loss']} | {row['batch']:,} | {row['form']} | {mib} | {ms} | {ratio} |")
    return "\n".join(lines)


def main(_):
    on_cpu = jax.default_backend() == "cpu"
    FLAGS.width = FLAGS.width or (128 if on_cpu else 512)
    FLAGS.dtype = FLAGS.dtype or ("float32" if on_cpu else "bfloat16")
    mesh = jax.make_mesh((jax.device_count(),), (AXIS,), axis_types=(AxisType.Auto,))
    rows = [row for name in FLAGS.losses for batch in FLAGS.batches for row in measure(name, int(batch), mesh)]
    device = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    print(f"{device}, {FLAGS.dtype}, {FLAGS.width} dimensions, jax {jax.__version__}, medians of {FLAGS.rounds}\n")
    print(table(rows))
    if FLAGS.output:
        found = {"device": device, "dtype": FLAGS.dtype, "width": FLAGS.width, "jax": jax.__version__, "rows": rows}
        Path(FLAGS.output).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    app.run(main)
