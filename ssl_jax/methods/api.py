"""The contract between a method and the rest: what a method file offers, and how it is found by name.

A method file has a public function `build(config) -> Method`, and reads its config only there. One that must know
something of its data (a vocabulary, word counts, a colour prior) also has `facts(source, config) -> dict of NumPy
arrays`, and then `build(config, facts)`: facts are computed once and kept in the run directory. One that does not take
examples as the source gives them (tokens in place of text) has `read(source, config, facts, train)`, see `read` below.
The step, the loop and the evaluation know nothing but the fields of `Method`.
"""

import dataclasses
import difflib
import importlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

PyTree = Any
NO_METHOD = ("__init__", "api")


class Progress(NamedTuple):
    """Where the run stands: the traced step (0 for the first), the number of steps of the whole run and of an epoch."""

    step: jax.Array
    steps: int
    steps_per_epoch: float = math.inf

    @property
    def fraction(self) -> jax.Array:
        """`step / steps`, in [0, 1)."""
        return self.step / self.steps

    @property
    def epoch(self) -> jax.Array:
        """The number of the epoch, 0 for the first, a whole float."""
        return jnp.floor(jnp.asarray(self.step, float) / self.steps_per_epoch)


class Table(NamedTuple):
    """A picture in words: rows of texts below the titles of their columns."""

    titles: tuple[str, ...]
    rows: list[tuple[str, ...]]


class Heatmap(NamedTuple):
    """A picture of shares: `values` float `[R, C]` in [0, 1], and the names of its rows and columns."""

    values: Any
    rows: list[str]
    columns: list[str]


def matrices_and_vectors(params: PyTree) -> PyTree:
    """The usual groups: "vectors" for biases and norm parameters (one dimension or none), "default" for the rest."""
    return jax.tree.map(lambda leaf: "vectors" if leaf.ndim <= 1 else "default", params)


def unchanged(params: PyTree, state: PyTree, progress: Progress) -> tuple[PyTree, PyTree]:
    """The `after_update` of methods that have nothing to do after the optimizer."""
    return params, state


@dataclasses.dataclass(frozen=True)
class Method:
    """A self-supervised method as pure functions.

    Attributes:
      init: `(key, batch) -> params, state`. `batch`: a few rows after `views`, without an axis. `state`: batch
        statistics, EMA target, queue, centre: everything that lasts and is not trained by gradient. Both are nested
        dicts of arrays.
      views: `(key, example) -> example`. Augmentation of ONE example, or the pretext task that makes its label;
        outputs `view_0`, `view_1`, ...; `index` survives.
      embed: `(params, state, batch, key, progress, axis_name, train=True) -> outputs, state`. The forward passes: all
        that is expensive and per example. Every leaf of `outputs` is `[b, ...]` in example order; only batch statistics
        may change in `state`. `outputs["features"]` feeds the online probe, `outputs["z_a"]` and `["z_b"]` the health
        signals, where a method has them. With `train=False`: running statistics, no dropout, `state` as it was; for the
        loss of held-out data.
      objective: `(params, outputs, state, progress, axis_name) -> loss, state, metrics`. All that looks across
        examples and devices. The loss is local: its mean over devices is the loss of the global batch. Metrics are
        local means; `chance_loss` (the loss of a guess) lets the health signals see a run stuck at chance.
      encode: `(params, state, inputs, layer=None, keys=None) -> features [B, ...]`. `inputs`: batch keys as the source
        gives them, preprocessing included. `layer=None` is the representation that the paper evaluates, `[B, F]`; inner
        layers come unpooled, as maps `[B, h, w, C]` or sequences `[B, T, C]`. With PRNG keys `[B]` the network is in
        training mode, for fine-tuning: random layers draw, batch norm uses the rows at hand.
      after_update: `(params, state, progress) -> params, state`. EMA, clamps, normalised prototypes.
      adopt: `(params, state) -> state`. Makes a new state fit parameters from another run: a teacher copies them.
      signals: `(params, outputs, state, progress) -> dict of scalars`. Health signals of the method's own, such as
        those of a queue, from `state` before the step; at logged steps alone, local, without communication.
      between: `(params, state, past) -> dict of scalars`, or None. Signals that need an earlier batch again, such as
        how far queued keys have drifted. `past(step) -> batch, key` gives the global batch of that step as `views` made
        it then, and the key of that step. Runs on the host at evaluations, not inside the step.
      groups: `params -> tree of names`; the names index `config.optim.groups`.
      describe: `global batch size -> {label: text}`, start-up lines, such as the number of negatives.
      pictures: `(params, state, batch, key) -> {name: picture}`, or None: what the report shows of a batch after views:
        uint8 arrays `[H, W, 3]`, `Table` or `Heatmap`. Its docstring says what one sees; it is printed above them.
      baselines: `(batch after views, outputs) -> {name: scalar}`, or None: what trivial predictions reach at the
        pretext task, beside which its held-out metrics are printed.
      table_rows: `batch after views -> {table: int32 ids [b, n]}`, or None: embedding tables `params[table]` `[V, D]`
        with sparse gradients, see `train/tables.py`. `embed` and `objective` then get the taken rows `[b, n, D]` in
        their place, and the tables are trained by SGD, without the optimizer.
      words: `params -> (words, vectors float32 [V, D])`, or None: the vectors of a vocabulary, for what compares words.
      tokenize: `(text, truncate) -> dict of arrays`, or None: what `encode` takes, without its batch axis, in place of
        an image, of methods with a text tower; its layer "projection" is then a space of unit vectors that images and
        texts share. A text that is too long is cut or, without `truncate`, refused.
      input_layer: the layer of `encode` in which nothing is known of a token but itself, or None: probed as a baseline.
      separable: whether the loss is a plain mean of per-example losses and `objective` leaves the state as it is:
        microbatches then accumulate gradients in one pass, instead of encoding every row twice.
    """

    init: Callable
    views: Callable
    embed: Callable
    objective: Callable
    encode: Callable
    after_update: Callable = unchanged
    adopt: Callable = lambda params, state: state
    signals: Callable = lambda params, outputs, state, progress: {}
    between: Callable | None = None
    groups: Callable = matrices_and_vectors
    describe: Callable[[int], dict[str, str]] = lambda batch_size: {}
    pictures: Callable | None = None
    baselines: Callable | None = None
    table_rows: Callable | None = None
    words: Callable | None = None
    tokenize: Callable | None = None
    input_layer: str | None = None
    separable: bool = False


def names() -> list[str]:
    """The methods there are: the files of this folder."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in NO_METHOD)


def load(name: str):
    """The module of a method: `load("simclr")` imports `methods/simclr.py`."""
    if name not in names():
        nearest = difflib.get_close_matches(name, names(), n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise ValueError(f"There is no method {name!r}; config.method.name is one of {', '.join(names())}{hint}")
    return importlib.import_module(f"ssl_jax.methods.{name}")


def take(method: Method, params: PyTree, viewed) -> tuple[PyTree, dict]:
    """The parameters with the taken rows `[b, n, D]` in the place of their tables, and the ids `{table: [b, n]}`."""
    if method.table_rows is None:
        return params, {}
    ids = method.table_rows(viewed)
    return params | {name: jnp.take(params[name], rows, axis=0) for name, rows in ids.items()}, ids


def check_source(source, config) -> None:
    """Refuses a source whose examples are of another kind than the method that `config.method.name` names takes.

    A method file says with `TAKES` which batch key it is trained on; those that do not take "image".

    Raises:
      ValueError: with what the method takes and what the examples have.
    """
    takes, held = getattr(load(config.method.name), "TAKES", "image"), source[0]
    if takes not in held:
        raise ValueError(
            f"The method {config.method.name!r} takes {takes!r}, and the examples of {source.name} have "
            f"{', '.join(held)}; give data with {takes!r}, or another method"
        )


def read(source, config, facts=None, *, train: bool):
    """The examples of a source as the method that `config.method.name` names reads them.

    For most methods that is the source itself. A method whose file has `read(source, config, facts, train)`, NumPy
    alone, makes another one of it, such as rows of tokens of equal length.

    Args:
      source: as `data/sources.py` loads it.
      facts: what the method knows of its data.
      train: for True, what `views` gets; for False, what `encode` gets: an example a document, with its `label`.

    Raises:
      ValueError: the examples are of another kind than the method takes.
    """
    check_source(source, config)
    module = load(config.method.name)
    return module.read(source, config, facts, train) if hasattr(module, "read") else source


def build(config, facts=None) -> Method:
    """The method that `config.method.name` names, built from the config and, where its file has any, its facts.

    Raises:
      ValueError: there is no such method, or it needs facts of its data and none were given.
    """
    module = load(config.method.name)
    if not hasattr(module, "facts"):
        return module.build(config)
    if not facts:
        raise ValueError(
            f"The method {config.method.name!r} needs facts of its data and none were given; pass what "
            f"ssl_jax.methods.load({config.method.name!r}).facts(source, config) returns"
        )
    return module.build(config, facts)
