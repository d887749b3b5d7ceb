"""The train step of whole recipes: time, examples a second, memory, donation, and the same network in PyTorch.

    python -m benchmarks.step [--cases=simclr_r18,moco_v3_vit_ti] [--output=step.json]

Run it from the root of the repository, on a machine that does nothing else; it uses one device. Timed by turns, a round
at a time; medians:

    step     the compiled step as training runs it, on bytes that lie on the device: augmentation, networks, loss,
             gradient, update, online probe, health signals
    augment  the two views of every image, alone
    network  the step on views made before, without probe and signals
    torch    the same in PyTorch (eager): same weights at the start, same views, same loss, same optimizer

`network` and `torch` take SGD with momentum where the recipe has LARS, which PyTorch lacks. A view is one augmented
image; an example has two. `donated` is the share of the state's bytes, teacher and queue included, that the compiled
step takes over. PyTorch has channels last, and bfloat16, the default on a GPU, by autocast.
"""

import ast
import contextlib
import dataclasses
import importlib.util
import json
import os
import statistics
import time
from functools import partial
from pathlib import Path

import jax
import numpy as np
from absl import app, flags

from ssl_jax import methods, recipes
from ssl_jax.evaluation import health
from ssl_jax.evaluation.online_probe import OnlineProbe
from ssl_jax.run import startup
from ssl_jax.train import experiment, optim, state, step

EXAMPLES = 50_000  # of the data set that the schedules are made for
REST = 0.05  # seconds between two turns, in which the threads of one side go to sleep
COLUMNS = {  # heading: (key, format)
    "batch": ("batch_size", "d"), "step ms": ("step_ms", ".1f"), "examples/s": ("step_examples_per_second", ".1f"),
    "views/s": ("step_views_per_second", ".1f"), "augment ms": ("augment_ms", ".2f"),
    "network ms": ("network_ms", ".1f"), "torch ms": ("torch_ms", ".1f"), "jax/torch": ("ratio", ".2f"),
    "args MiB": ("argument_mib", ".1f"), "temp MiB": ("temporary_mib", ".1f"), "donated": ("donated_share", ".2%"),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Case:
    """A recipe to measure, and its batch on a CPU and on a GPU."""

    method: str
    recipe: str
    cpu_batch: int
    gpu_batch: int
    classes: int = 10
    compared: bool = True  # with torch
    whole: bool = True  # False: the augmentation alone


CASES = {
    "simclr_r18": Case("simclr", "cifar10_r18", 16, 512),
    "moco_v3_vit_ti": Case("moco_v3", "cifar10_vit_ti", 16, 512),
    "moco_r18": Case("moco", "cifar10_r18", 16, 512, compared=False),
    "simclr_r50": Case("simclr", "imagenet_r50_100ep", 4, 256, 1000),
    "moco_v3_vit_s": Case("moco_v3", "imagenet_vits", 4, 256, 1000),
    "augment": Case("simclr", "imagenet_r50_100ep", 8, 256, whole=False),
}
ON_CPU = ["simclr_r18", "moco_v3_vit_ti", "moco_r18"]

FLAGS = flags.FLAGS
if __name__ == "__main__":
    flags.DEFINE_list("cases", [], f"Of {', '.join(CASES)}; default on a CPU: {', '.join(ON_CPU)}; on a GPU: all.")
    flags.register_validator("cases", lambda names: set(names) <= CASES.keys(), "there is no such case; see --help")
    flags.DEFINE_integer("batch_size", None, "Images in a batch; default: sized for the machine.")
    flags.DEFINE_integer("rounds", None, "Times that everything takes its turn; default: 5 on a CPU, 10 on a GPU.")
    flags.DEFINE_integer("repeats", None, "Steps in a turn; default: 1 on a CPU, 10 on a GPU.")
    flags.DEFINE_enum("dtype", None, ["float32", "bfloat16"], "Default: float32 on a CPU, bfloat16 on a GPU.")
    flags.DEFINE_multi_string("set", [], "Another value in every recipe, such as --set=model.attention=cudnn.")
    flags.DEFINE_bool("torch", True, "Compare with PyTorch where it is installed.")
    flags.DEFINE_string("output", None, "A JSON file for the figures.")


def recipe(case: Case, batch_size: int, dtype: str, changes=()):
    """The config of a case; `changes` are "key=value", with a value of Python or a bare word."""
    config = recipes.config_module(recipes.CONFIGS / f"{case.method}.py").get_config(case.recipe)
    config.train.batch_size, config.compute_dtype, config.parallel.devices = batch_size, dtype, 1
    for key, value in (change.split("=", 1) for change in changes):
        with contextlib.suppress(ValueError, SyntaxError):
            value = ast.literal_eval(value)
        config.update_from_flattened_dict({key: value})
    return config


def images(config, classes: int) -> dict[str, np.ndarray]:
    """A batch of noise, as the pipeline would give one."""
    numbers, b = np.random.default_rng(0), config.train.batch_size
    side = config.data.canvas or config.augment.size
    batch = {
        "image": numbers.integers(0, 256, (b, side, side, 3), np.uint8),
        "label": numbers.integers(0, classes, b, np.int32),
        "index": np.arange(b, dtype=np.int32),
    }
    return batch | ({"size": numbers.integers(300, 500, (b, 2), np.int32)} if config.data.canvas else {})


def measure(config, batch, *, classes: int, rounds: int, repeats: int, other=None, whole: bool = True) -> dict:
    """The figures of a recipe on a batch of the pipeline; `whole=False`: of its augmentation alone.

    `classes` are those of the online probe; `other` makes a `torch_models.Step`, or is None.
    """
    method, b, rows = methods.build(config), config.train.batch_size, jax.device_put(batch)
    make_views = jax.jit(lambda rows: step.views_of_step(method, jax.random.key(1), 0, rows)[1])
    calls, said = {"augment": repeating(make_views, rows)}, {"batch_size": b, "image_size": config.augment.size}
    if whole:
        calls["step"], known = whole_step(config, batch, classes)
        said |= known

        views, config = make_views(rows), config.copy_and_resolve_references()
        config.optim.name = {"lars": "sgd"}.get(config.optim.name, config.optim.name)
        network, first, learning_rate = network_step(config, views)
        calls["network"], said["network_optimizer"] = stepping(network, first, views), config.optim.name
        if other is not None:
            pair = [np.asarray(views[f"view_{i}"]) for i in (0, 1)]
            calls["torch"] = other(config, jax.device_get(first.params), pair, learning_rate)
            said["torch_parameters"] = calls["torch"].parameters
    first, times = by_turns(calls, rounds, repeats)
    losses = {f"{name}_first_loss": float(first[name]) for name in ("network", "torch") if name in first}
    return said | losses | figures(times, b)


def whole_step(config, batch, classes: int):
    """The compiled step of training as `n -> loss`, and its parameters and memory."""
    run = experiment.build(config, batch, examples=EXAMPLES, probe=OnlineProbe(classes), signals=health.signals)
    placed, first = run.parallel.place(batch), run.create()
    compiled = run.step.lower(first, placed).compile()
    return stepping(compiled, first, placed), {"parameters": startup.count(first.params), **memory(compiled, first)}


def network_step(config, views):
    """The jitted step on views made before, its first state and the first learning rate."""
    method = dataclasses.replace(methods.build(config), views=lambda key, example: example)
    params, _ = jax.eval_shape(method.init, jax.random.key(0), views)
    b, steps = config.train.batch_size, experiment.run_length(config.train, EXAMPLES)
    length = {"batch_size": b, "steps": steps, "steps_per_epoch": EXAMPLES / b}
    optimizer, learning_rate = optim.build(config.optim, params, method.groups(params), **length)
    create = jax.jit(lambda rows: state.create(method, optimizer, None, config.seed, rows, b))
    one = step.make_step(method, optimizer, learning_rate, steps=steps)
    return jax.jit(partial(one, axis_name=None), donate_argnums=0), create(views), float(learning_rate(0))


def memory(compiled, first) -> dict:
    """The memory of a compiled step in MiB, and how much of the bytes of `first`, its state, it takes over."""
    known = compiled.memory_analysis()
    sizes = {"argument": known.argument_size_in_bytes, "temporary": known.temp_size_in_bytes}
    sizes |= {"donated": known.alias_size_in_bytes, "state": sum(leaf.nbytes for leaf in jax.tree.leaves(first))}
    share = sizes["donated"] / sizes["state"]
    return {f"{name}_mib": size / 2**20 for name, size in sizes.items()} | {"donated_share": share}


def repeating(function, *arguments):
    """`n -> result`: calls a jax function n times, and waits."""

    def call(n):
        for _ in range(n):
            result = function(*arguments)
        return jax.block_until_ready(result)

    return call


def stepping(compiled, first, batch):
    """`n -> loss`: takes n more steps from where the last call ended, and waits."""
    now = [first]

    def call(n):
        for _ in range(n):
            now[0], metrics = compiled(now[0], batch)
        jax.block_until_ready(now[0])
        return metrics["loss"]

    return call


def by_turns(calls: dict, rounds: int, repeats: int) -> tuple[dict, dict]:
    """What each call, `n -> result`, returned at first, and its seconds a step in every round."""
    first, times = {name: call(1) for name, call in calls.items()}, {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            time.sleep(REST)
            start = time.perf_counter()
            call(repeats)
            times[name].append((time.perf_counter() - start) / repeats)
    return first, times


def figures(times: dict, batch_size: int) -> dict:
    """Medians in milliseconds, rates a second, and the ratio of the two networks."""
    medians = {name: statistics.median(values) for name, values in times.items()}
    said = {f"{name}_ms": 1e3 * value for name, value in medians.items()}
    for name, value in medians.items():
        said |= {f"{name}_examples_per_second": batch_size / value, f"{name}_views_per_second": 2 * batch_size / value}
    if "torch" in medians:
        said["ratio"] = medians["network"] / medians["torch"]
    return said | {"rounds_ms": {name: [1e3 * value for value in values] for name, values in times.items()}}


def line(name: str, said: dict | None = None) -> str:
    """A line of the table; without figures, its headings."""
    cells = COLUMNS if said is None else [format(said[k], f) if k in said else "-" for k, f in COLUMNS.values()]
    return f"{name:<16}" + "".join(f"{cell:>11}" for cell in cells)


def torch_side(gpu: bool, threads: int):
    """What `measure` takes as `other`, or None, and a line that says which."""
    if not FLAGS.torch or importlib.util.find_spec("torch") is None:
        return None, "torch    not " + ("installed" if FLAGS.torch else "asked for")
    from benchmarks import torch_models

    device = "cuda" if gpu else "cpu"
    if not torch_models.ready(device, threads):
        return None, "torch    without a GPU of its own"
    return partial(torch_models.Step, device=device), f"torch    {torch_models.torch.__version__}, {device}"


def main(_):
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # before jax starts: torch needs memory, too
    gpu, threads = jax.default_backend() == "gpu", len(os.sched_getaffinity(0))
    names = FLAGS.cases or (list(CASES) if gpu else ON_CPU)
    dtype = FLAGS.dtype or ("bfloat16" if gpu else "float32")
    turns = {"rounds": FLAGS.rounds or (10 if gpu else 5), "repeats": FLAGS.repeats or (10 if gpu else 1)}
    other, sentence = torch_side(gpu, threads)
    device = f"{jax.devices()[0].device_kind}, {threads} threads, {dtype}"
    print(f"jax      {jax.__version__}, {device}", sentence, line("case"), sep="\n", flush=True)
    results = {}
    for name in names:
        case = CASES[name]
        config = recipe(case, FLAGS.batch_size or (case.gpu_batch if gpu else case.cpu_batch), dtype, FLAGS.set)
        kind = {"classes": case.classes, "whole": case.whole, "other": other if case.compared else None}
        results[name] = measure(config, images(config, case.classes), **kind, **turns)
        print(line(name, results[name]), flush=True)
        jax.clear_caches()
    if FLAGS.output:
        content = {"cases": results, "device": device, "torch": sentence.removeprefix("torch").strip(), **turns}
        Path(FLAGS.output).write_text(json.dumps(content | {"jax": jax.__version__}, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
