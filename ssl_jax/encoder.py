"""A trained encoder out of a run directory: `load_encoder("runs/simclr_digits")(images) -> features`."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from ssl_jax import methods
from ssl_jax.data import pipeline
from ssl_jax.evaluation.features import extract, pooled
from ssl_jax.run import facts, workdir
from ssl_jax.run.restore import load_model
from ssl_jax.train import parallel

BATCH = 256  # rows at a time, rounded up to a multiple of the devices; features do not depend on it


@dataclasses.dataclass(frozen=True)
class Encoder:
    """A method's `encode` with one set of weights; `dataclasses.replace` changes them without compiling again.

    Attributes:
      encode: `(params, state, inputs) -> features`, jitted.
      parallel: the devices that `rows` spreads its batches over.
      params: the method's parameters, replicated.
      state: the method's state, replicated.
      joint: as `encode`, into the space that images and texts share; None without a text tower.
      tokenize: `Method.tokenize`, which makes inputs of a text.
    """

    encode: Callable
    parallel: parallel.Parallel
    params: dict
    state: dict
    joint: Callable | None = None
    tokenize: Callable | None = None

    def __call__(self, images) -> np.ndarray:
        """Features float32 `[B, F]` of images uint8 `[B, H, W, C]`; preprocessing is included.

        Raises:
          ValueError: images of a wrong rank or dtype.
        """
        return self._embed(self.encode, images)

    def image(self, images) -> np.ndarray:
        """Images uint8 `[B, H, W, C]` in the space that they share with texts: unit rows, float32 `[B, D]`.

        Raises:
          ValueError: the method has no text tower; images of a wrong rank or dtype.
        """
        return self._embed(self.towers.joint, images)

    def text(self, texts, truncate: bool = False) -> np.ndarray:
        """Texts in the space that they share with images: unit rows, float32 `[B, D]`; products are cosines.

        Args:
          texts: a sequence of B strings.
          truncate: whether texts that are too long are cut, as in training.

        Raises:
          ValueError: the method has no text tower; one string in place of several; a text that is too long.
        """
        if isinstance(texts, str) or not len(texts):
            raise ValueError(f"{texts!r} was given; expected several texts, such as ['a dog', 'a cat']")
        rows = [self.towers.tokenize(text, truncate) for text in texts]
        inputs = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        parts, size = [], min(BATCH, len(rows))
        for start in range(0, len(rows), size):  # the last part is filled with copies of the last row
            ids = np.minimum(np.arange(start, start + size), len(rows) - 1)
            part = {name: array[ids] for name, array in inputs.items()}
            parts.append(np.asarray(self.joint(self.params, self.state, part), np.float32))
        return np.concatenate(parts)[: len(rows)]

    @property
    def towers(self) -> "Encoder":
        """Itself, where images and texts share a space."""
        if self.joint is None:
            raise ValueError("The method of this encoder has no text tower; call it as encoder(images)")
        return self

    def _embed(self, encode, images) -> np.ndarray:
        images = np.asarray(images)
        if images.ndim != 4 or images.dtype != np.uint8:
            raise ValueError(
                f"Images of shape {images.shape} and dtype {images.dtype} were given; expected uint8 [B, H, W, C]; "
                "add the batch axis, or scale floats in [0, 1] by 255 and cast"
            )
        return np.asarray(encode(self.params, self.state, {"image": images}), np.float32)

    def rows(self, source, watch: Callable = iter, joint: bool = False) -> dict[str, np.ndarray]:
        """`features` float32 `[N, F]` of every row of a source, in its order, and `label` `[N]` if it has one.

        Every process reads its part of each batch and gets all features. `watch` wraps the iterator of batches; with
        `joint`, images stand in the space that they share with texts.
        """
        apply = self.towers.joint if joint else self.encode

        def encode(batch):
            inputs = {name: rows for name, rows in batch.items() if name != "label"}
            return apply(self.params, self.state, self.parallel.shard(inputs))

        devices = self.parallel.size
        batches = pipeline.sequential(
            source, -(-BATCH // devices) * devices,
            process_index=jax.process_index(), process_count=jax.process_count(),
        )  # fmt: skip
        whole = jax.jit(lambda rows: rows, out_shardings=self.parallel.replicated)

        def with_marks_of_all(batch):
            marks = {name: rows for name, rows in batch.items() if name in ("label", "valid")}
            return batch | jax.device_get(whole(self.parallel.shard(marks)))

        return extract(encode, watch(map(with_marks_of_all, batches) if jax.process_count() > 1 else batches))


def make_encoder(method: methods.Method, where: parallel.Parallel, params, state, layer: str | None = None) -> Encoder:
    """An `Encoder` on the devices of `where`; `layer` as in `Method.encode`."""

    def encode(layer):
        def run(params, state, inputs):
            return pooled(method.encode(params, state, inputs, layer=layer))

        return jax.jit(run, out_shardings=where.replicated)

    joint = encode("projection") if method.tokenize else None
    return Encoder(encode(layer), where, params, state, joint, method.tokenize)


def load_encoder(directory, layer: str | None = None, checkpoint: str = "latest") -> Encoder:
    """The trained encoder of a run: needs the run directory alone, not its data.

    Args:
      directory: a run directory, such as "runs/simclr_digits".
      layer: a layer of the encoder; None for its output, before the projector.
      checkpoint: "latest", "best" (by online kNN, where `config.train.keep_best`), or a step.

    Returns:
      A function of images uint8 `[B, H, W, C]` that returns features float32 `[B, F]`.

    Raises:
      ValueError: the directory holds no run, or the run no checkpoint.

    Example (not run here: it needs a trained run):

        encoder = ssl_jax.load_encoder("runs/simclr_digits")
        features = encoder(images)
    """
    directory = Path(directory)
    config = workdir.read_config(directory)
    everywhere = parallel.make("shard_map", None, jax.device_count())
    model = load_model(directory, everywhere.replicated, str(checkpoint))
    method = methods.build(config, facts.read(directory))
    return make_encoder(method, everywhere, model["params"], model["method"], layer)
