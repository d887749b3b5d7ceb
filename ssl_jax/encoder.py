"""A trained encoder out of a run directory: `load_encoder("runs/simclr_digits")(images) -> features`."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import numpy as np

from ssl_jax import methods
from ssl_jax.data import pipeline
from ssl_jax.evaluation.features import extract, pooled
from ssl_jax.run import facts, workdir
from ssl_jax.run.restore import load_model
from ssl_jax.train import parallel

KEPT = ("label", "speaker")  # keys that probes may ask for, and encoders do not see
BATCH = 256  # rows at a time, rounded up to a multiple of the devices; features do not depend on it


@dataclasses.dataclass(frozen=True)
class Encoder:
    """A method's `encode` with one set of weights; `dataclasses.replace` changes them without compiling again.

    Attributes:
      encode: `(params, state, inputs) -> features`, jitted.
      parallel: the devices that `rows` spreads its batches over.
      params: the method's parameters, replicated.
      state: the method's state, replicated.
    """

    encode: Callable
    parallel: parallel.Parallel
    params: dict
    state: dict

    def __call__(self, images) -> np.ndarray:
        """Features float32 `[B, F]` of images uint8 `[B, H, W, C]`; preprocessing is included.

        Of other data a dict of what its batches hold: sound is `{"audio": float32 [B, N]}`, at the sample rate of the
        run, and with zeros behind shorter clips also `"length"` int32 `[B]`.

        Raises:
          ValueError: images of a wrong rank or dtype.
        """
        if isinstance(images, Mapping):
            inputs = {name: np.asarray(rows) for name, rows in images.items()}
            return np.asarray(self.encode(self.params, self.state, inputs), np.float32)
        images = np.asarray(images)
        if images.ndim != 4 or images.dtype != np.uint8:
            raise ValueError(
                f"Images of shape {images.shape} and dtype {images.dtype} were given; expected uint8 [B, H, W, C]; "
                "add the batch axis, or scale floats in [0, 1] by 255 and cast"
            )
        return np.asarray(self.encode(self.params, self.state, {"image": images}), np.float32)

    def rows(self, source, watch: Callable = iter) -> dict[str, np.ndarray]:
        """`features` float32 `[N, F]` of every row of a source, in its order, and what it has of `KEPT`, `[N]`.

        Every process reads its part of each batch and gets all features. `watch` wraps the iterator of batches.
        """

        def encode(batch):
            inputs = {name: rows for name, rows in batch.items() if name not in KEPT}
            return self.encode(self.params, self.state, self.parallel.shard(inputs))

        devices = self.parallel.size
        batches = pipeline.sequential(
            source, -(-BATCH // devices) * devices,
            process_index=jax.process_index(), process_count=jax.process_count(),
        )  # fmt: skip
        whole = jax.jit(lambda rows: rows, out_shardings=self.parallel.replicated)

        def with_marks_of_all(batch):
            marks = {name: rows for name, rows in batch.items() if name in (*KEPT, "valid")}
            return batch | jax.device_get(whole(self.parallel.shard(marks)))

        return extract(encode, watch(map(with_marks_of_all, batches) if jax.process_count() > 1 else batches), KEPT)


def make_encoder(method: methods.Method, where: parallel.Parallel, params, state, layer: str | None = None) -> Encoder:
    """An `Encoder` on the devices of `where`; `layer` as in `Method.encode`."""
    def encode(params, state, inputs):
        share = inputs["length"] / inputs["audio"].shape[1] if "length" in inputs else None
        return pooled(method.encode(params, state, inputs, layer=layer), share)

    return Encoder(jax.jit(encode, out_shardings=where.replicated), where, params, state)


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
