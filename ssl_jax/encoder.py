"""A trained encoder out of a run directory: `load_encoder("runs/simclr_digits")(images) -> features`."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import ml_collections
import numpy as np
from flax.errors import ScopeParamShapeError

from ssl_jax import methods
from ssl_jax.data import pipeline
from ssl_jax.evaluation.features import KEPT, extract, pooled
from ssl_jax.paths import expand
from ssl_jax.run import facts, workdir
from ssl_jax.run.restore import load_model
from ssl_jax.train import parallel

MOST_CHANNELS = 32  # that are tried to say which images an encoder takes
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

    def __call__(self, inputs) -> np.ndarray:
        """Features float32 `[B, F]` of any number of examples; preprocessing is included.

        Args:
          inputs: images uint8 `[B, H, W, C]`, or a dict of what the source of the run gives, arrays `[B, ...]`: sound
            is `{"audio": float32 [B, N]}`, at the sample rate of the run, and with zeros behind shorter clips also
            `"length"` int32 `[B]`.

        Raises:
          ValueError: images of a wrong rank or dtype, arrays of unequal lengths.
        """
        return self._apply(self.encode, inputs)

    def image(self, images) -> np.ndarray:
        """Images uint8 `[B, H, W, C]` in the space that they share with texts: unit rows, float32 `[B, D]`.

        Raises:
          ValueError: the method has no text tower; images of a wrong rank or dtype.
        """
        return self._apply(self.towers.joint, {"image": images})

    def text(self, texts, truncate: bool = False) -> np.ndarray:
        """Texts in the space that they share with images: unit rows, float32 `[B, D]`; products are cosines.

        Args:
          texts: B strings.
          truncate: whether texts that are too long are cut, as in training.

        Raises:
          ValueError: the method has no text tower; anything but strings, or one in place of several; a text that is
            too long.
        """
        several = list(texts) if np.iterable(texts) and not isinstance(texts, str) else []
        if not several or not all(isinstance(text, str) for text in several):
            given = repr(several or texts)[:80]
            raise ValueError(f"{given} was given; expected several texts, such as ['a dog', 'a cat']")
        rows = [self.towers.tokenize(text, truncate) for text in several]
        inputs = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        return self._apply(self.joint, inputs)

    @property
    def towers(self) -> "Encoder":
        """Itself, where images and texts share a space."""
        if self.joint is None:
            raise ValueError("The method of this encoder has no text tower; call it as encoder(images)")
        return self

    def _apply(self, encode: Callable, inputs) -> np.ndarray:
        inputs = inputs if isinstance(inputs, Mapping) else {"image": inputs}
        inputs = {name: np.asarray(rows) for name, rows in inputs.items()}
        images, lengths = inputs.get("image"), {name: len(rows) if rows.ndim else 0 for name, rows in inputs.items()}
        if images is not None and (images.ndim != 4 or images.dtype != np.uint8):
            raise ValueError(
                f"Images of shape {images.shape} and dtype {images.dtype} were given; expected uint8 [B, H, W, C]; "
                "add the batch axis, or scale floats in [0, 1] by 255 and cast"
            )
        if len(set(lengths.values())) != 1 or 0 in lengths.values():
            raise ValueError(f"Inputs of lengths {lengths} were given; expected one equal number of examples")
        count = next(iter(lengths.values()))
        # Few sizes of batches, so that it compiles rarely: 256, or the next power of two for less.
        size = min(BATCH, 1 << (count - 1).bit_length())
        parts = []
        for start in range(0, count, size):
            ids = np.minimum(np.arange(start, start + size), count - 1)  # the last batch is filled up
            parts.append(encode(self.params, self.state, {name: rows[ids] for name, rows in inputs.items()}))
        return np.concatenate([np.asarray(part, np.float32) for part in parts])[:count]

    def rows(self, source, watch: Callable = iter, keep: tuple = KEPT, joint: bool = False) -> dict[str, np.ndarray]:
        """`features` float32 `[N, F]` of every row of a source, in its order, and what it has of the keys `keep`.

        Every process reads its part of each batch and gets all features. `watch` wraps the iterator of batches; with
        `joint`, images stand in the space that they share with texts.
        """
        apply = self.towers.joint if joint else self.encode

        def encode(batch):
            inputs = {name: rows for name, rows in batch.items() if name not in keep}
            return apply(self.params, self.state, self.parallel.shard(inputs))

        devices = self.parallel.size
        batches = pipeline.sequential(
            source, -(-BATCH // devices) * devices,
            process_index=jax.process_index(), process_count=jax.process_count(),
        )  # fmt: skip
        whole = jax.jit(lambda rows: rows, out_shardings=self.parallel.replicated)

        def with_marks_of_all(batch):
            marks = {name: rows for name, rows in batch.items() if name in (*keep, "valid")}
            return batch | jax.device_get(whole(self.parallel.shard(marks)))

        return extract(encode, watch(map(with_marks_of_all, batches) if jax.process_count() > 1 else batches), keep)


def make_encoder(method: methods.Method, where: parallel.Parallel, params, state, layer: str | None = None) -> Encoder:
    """An `Encoder` on the devices of `where`; `layer` as in `Method.encode`."""

    def encode(layer):
        run = features_of(method, layer)

        def checked(params, state, inputs):
            try:
                return run(params, state, inputs)
            except ScopeParamShapeError as error:
                if "image" not in inputs:
                    raise
                raise ValueError(other_channels(method, params, state, inputs)) from error

        return jax.jit(checked, out_shardings=where.replicated)

    joint = encode("projection") if method.tokenize else None
    return Encoder(encode(layer), where, params, state, joint, method.tokenize)


def other_channels(method: methods.Method, params, state, inputs) -> str:
    """What is said of images of another number of channels than an encoder takes, which is found by trying."""

    def takes(channels):
        image = jax.ShapeDtypeStruct((*inputs["image"].shape[:-1], channels), np.uint8)
        try:
            jax.eval_shape(method.encode, params, state, dict(inputs) | {"image": image})
        except ScopeParamShapeError:
            return False
        return True

    taken = next((f"{channels}" for channels in range(1, MOST_CHANNELS) if takes(channels)), "another number of")
    return (
        f"Images of {inputs['image'].shape[-1]} channels were given, and this encoder was trained on images of {taken} "
        "channels; give it such images"
    )


def features_of(method: methods.Method, layer: str | None = None) -> Callable:
    """`(params, state, inputs, keys=None) -> features [b, F]`: `Method.encode`, pooled without what is padding."""

    def run(params, state, inputs, keys=None):
        return pooled(method.encode(params, state, inputs, layer=layer, keys=keys), share_of_sound(inputs))

    return run


def share_of_sound(inputs):
    """The part of every clip that is no padding, `[b]`; None where inputs have no `length`."""
    return inputs["length"] / inputs["audio"].shape[1] if "length" in inputs else None


def with_pool(config: ml_collections.ConfigDict, pool: str) -> ml_collections.ConfigDict:
    """The config with another pooling of the tokens, "mean" or "class"; "" leaves it as it is.

    Raises:
      ValueError: the encoder has no tokens to choose from, or pools by parameters of its own.
    """
    if not pool:
        return config
    changed = ml_collections.ConfigDict(config).unlock()
    section = next((part for part in (changed.model, changed.method) if "pool" in part), None)
    if section is None or section.pool not in ("mean", "class") or pool not in ("mean", "class"):
        has = "no tokens to pool" if section is None else f"pool {section.pool!r}"
        raise ValueError(
            f"The pool {pool!r} was asked of an encoder with {has}; expected 'mean' or 'class', of an encoder that has "
            "either"
        )
    section.pool = pool
    return changed.lock()


def load_encoder(directory, layer: str | None = None, checkpoint: str = "latest", pool: str = "") -> Encoder:
    """The trained encoder of a run: needs the run directory alone, not its data.

    Args:
      directory: a run directory, such as "runs/simclr_digits".
      layer: a layer of the encoder; None for its output, before the projector.
      checkpoint: "latest", "best" (by online kNN, where `config.train.keep_best`), or a step.
      pool: "mean" or "class" in place of the encoder's own pooling of tokens, which "" keeps.

    Returns:
      A function of images uint8 `[B, H, W, C]`, or of a dict of arrays `[B, ...]` by the keys of the run's data, that
      returns features float32 `[B, F]`.

    Raises:
      ValueError: the directory holds no run, the run no checkpoint, or the encoder no such pooling.

    Example (not run here: it needs a trained run):

        encoder = ssl_jax.load_encoder("runs/simclr_digits")
        features = encoder(images)
    """
    directory = expand(directory)
    config = with_pool(workdir.read_config(directory), pool)
    everywhere = parallel.make("shard_map", None, jax.device_count())
    model = load_model(directory, everywhere.replicated, str(checkpoint))
    method = methods.build(config, facts.read(directory))
    return make_encoder(method, everywhere, model["params"], model["method"], layer)
