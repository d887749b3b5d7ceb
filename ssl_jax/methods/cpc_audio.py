"""CPC for sound (van den Oord et al. 2018, arXiv 1807.03748): the next frames are told from other frames.

Convolutions make frames `z_t` of a waveform, a recurrent network their context `c_t`, and one matrix a step predicts
`z_(t+1) ... z_(t+K)` from it; InfoNCE compares products of predictions and frames (section 2.3 and 3.1). What is
evaluated is the context. No official code; facebookresearch/CPC_audio is the variant of Riviere et al. 2020, arXiv
2002.02848, cpc/model.py and cpc/criterion/criterion.py.
"""

import math

import jax
import jax.numpy as jnp

from ssl_jax import losses, models
from ssl_jax.collectives import axis_size
from ssl_jax.losses.predictive import NEGATIVES, cpc_positions
from ssl_jax.methods.api import Method
from ssl_jax.methods.parts import networks, sound
from ssl_jax.methods.parts.precision import compute_dtype
from ssl_jax.models.audio import mean_over, valid_frames
from ssl_jax.models.prediction import KINDS

TAKES = "audio"

LARGEST_PICTURE = 4  # waveforms of the report


def build(config) -> Method:
    """CPC from `config.model` (an encoder of sound, and its `prediction`), `config.data.window` and `config.method`.

    `config.method`: `steps` K; `negatives`, frames of "both" the same and other windows, of the same "sequence", or of
    the rest of the "batch"; `groups`, of windows of a batch that are each other's negatives, 1 for all across devices;
    `same_speaker`, whether negatives are of the same speaker alone; `drawn`, how many negatives are drawn, with
    replacement and for all steps at once, 0 for every frame; `score`, "sum" or "mean" of a product over channels.

    Raises:
      ValueError: a window of too few frames, unknown negatives, score or prediction, groups that do not share the
        batch evenly.
    """
    method, batch_size, dtype = config.method, config.train.batch_size, compute_dtype(config)
    encoder = models.build(config.model, norm=None, dtype=dtype)
    if not hasattr(encoder, "strides"):
        raise ValueError(
            f"config.model.name is {config.model.name!r}; expected 'audio'; start from configs/cpc_audio.py"
        )
    hop = math.prod(encoder.strides)
    frames = config.data.window // hop
    contexts = frames - method.steps
    _check(method, config.model, batch_size, frames, hop)
    predict = KINDS[config.model.prediction](method.steps, encoder.channels, dtype)
    scale = 1 / encoder.channels if method.score == "mean" else 1.0

    def views(key, example):
        if method.same_speaker and "speaker" not in example:
            raise ValueError("config.method.same_speaker is True and the data have no `speaker`; set it to False")
        kept = {name: example[name] for name in ("index", "length", "speaker") if name in example}
        return {"view_0": example["audio"].astype(dtype), **kept}

    def init(key, batch):
        encoder_key, predict_key = jax.random.split(key)
        (_, context), made = encoder.init_with_output(encoder_key, batch["view_0"], layer="both")
        return {
            "encoder": made["params"], "prediction": predict.init(predict_key, context[:, :contexts])["params"]
        }, {}  # fmt: skip

    def embed(params, state, batch, key, progress, axis_name, train=True):
        b, (keys, draws) = len(batch["index"]), (networks.example_keys(key, batch["index"], i) for i in (0, 1))
        targets, context = encoder.apply({"params": params["encoder"]}, batch["view_0"], layer="both")
        valid = valid_frames(batch.get("length"), b, frames, hop)
        found = predict.apply({"params": params["prediction"]}, context[:, :contexts], keys=keys, train=train)
        outputs = {"prediction": found, "targets": targets, "valid": valid, "features": mean_over(context, valid)}
        if method.drawn:
            outputs["drawn"] = jax.vmap(lambda key: jax.random.bits(key, (contexts, method.drawn)))(draws)
        if method.same_speaker:
            outputs["speaker"] = batch["speaker"]
        return outputs, state

    def compared(outputs, axis_name):
        """The arguments of the loss."""
        windows = min(batch_size // method.groups, len(outputs["valid"]) * axis_size(axis_name))
        drawn = (outputs["drawn"] % (windows * frames)).astype(jnp.int32) if method.drawn else None
        options = {"negatives": method.negatives, "group_size": windows, "kinds": outputs.get("speaker")}
        arrays = (outputs["prediction"], outputs["targets"], outputs["valid"])
        return arrays, options | {"drawn": drawn, "scale": scale, "axis_name": axis_name}

    def objective(params, outputs, state, progress, axis_name):
        arrays, options = compared(outputs, axis_name)
        terms = losses.cpc_terms(*arrays, **options)
        metrics = {f"accuracy_{k + 1}": terms["accuracy"][k] for k in range(method.steps)}
        metrics["chance_loss"] = jnp.mean(terms["chance_loss"])
        return jnp.mean(terms["loss"]), state, metrics

    def baselines(batch, outputs):
        """The loss and the accuracies of a guess."""
        arrays, options = compared(outputs, None)
        terms = losses.cpc_terms(*arrays, **options)
        found = {f"accuracy_{k + 1}": terms["chance_accuracy"][k] for k in range(method.steps)}
        return {"loss": jnp.mean(terms["chance_loss"])} | found

    def encode(params, state, inputs, layer=None, keys=None):
        audio = inputs["audio"].astype(dtype)
        return encoder.apply({"params": params["encoder"]}, audio, lengths=inputs.get("length"), layer=layer)

    def pictures(params, state, batch, key):
        """Log spectrograms; below each a row a step k: white where the frame k after this one was told, else black.

        Grey is padding, or has no frame k after it.
        """
        outputs, _ = embed(params, state, batch, key, None, None, train=False)
        arrays, options = compared(outputs, None)
        found = cpc_positions(*arrays, **options)
        shown = jnp.where(found["weight"], found["accuracy"], 0.5)[:, :LARGEST_PICTURE]
        shown = jnp.pad(jnp.moveaxis(shown, 0, 1), ((0, 0), (0, 0), (0, method.steps)), constant_values=0.5)
        return {"prediction": sound.sheet(sound.spectrogram(batch["view_0"][:LARGEST_PICTURE], hop), shown)}

    def describe(batch_size):
        windows = batch_size // method.groups
        kind = {"both": "the same and other windows", "sequence": "the same window", "batch": "other windows"}
        count = f"{method.drawn} drawn from frames" if method.drawn else "frames"
        speaker = ", of the same speaker" if method.same_speaker else ""
        return {"negatives": f"{count} of {kind[method.negatives]}{speaker}, {windows} windows of {frames} frames"}

    return Method(
        init=init, views=views, embed=embed, objective=objective, encode=encode, describe=describe, pictures=pictures,
        baselines=baselines,
    )  # fmt: skip


def _check(method, model, batch_size: int, frames: int, hop: int) -> None:
    """Refuses what `build` says."""
    if not 1 <= method.steps < frames:
        raise ValueError(
            f"config.method.steps is {method.steps} and config.data.window has {frames} frames of {hop} samples; "
            "expected at least one frame more than steps; give a longer window"
        )
    if method.negatives not in NEGATIVES or method.score not in ("sum", "mean"):
        raise ValueError(
            f"config.method.negatives is {method.negatives!r} and config.method.score is {method.score!r}; expected "
            f"one of {', '.join(NEGATIVES)}, and 'sum' or 'mean'"
        )
    if model.prediction not in KINDS or (model.prediction == "transformer" and model.context != model.channels):
        raise ValueError(
            f"config.model.prediction is {model.prediction!r}; expected one of {', '.join(KINDS)}, and of "
            f"'transformer' config.model.context, which is {model.context}, as wide as config.model.channels, "
            f"{model.channels}"
        )
    windows = batch_size // max(method.groups, 1)
    if windows * method.groups != batch_size or (windows == 1 and method.negatives == "batch"):
        raise ValueError(
            f"config.method.groups is {method.groups} and config.train.batch_size {batch_size}; expected groups that "
            "share the batch evenly, of two windows or more where negatives are of the rest of the batch"
        )
