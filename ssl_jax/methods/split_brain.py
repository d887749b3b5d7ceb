"""Split-brain autoencoders (Zhang et al. 2017, arXiv 1611.09842): half of the channels predict the others, both ways.

Two networks that share nothing: one sees lightness L and predicts the colours ab, the other sees ab and predicts L.
Each has its own loss, and together they have seen all of the image: the features are those of both, concatenated. With
"classification" one of 313 bins of ab, or of 50 bins of L, is right, and no bin counts more than another; with
"regression" values are predicted. Official code: richzhang/splitbrainauto, which has trained networks alone.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ssl_jax import losses
from ssl_jax.methods.api import Method
from ssl_jax.methods.parts import colour, maps, networks, patches, settings
from ssl_jax.methods.parts.precision import wide_dtype

HALVES = {"lightness": "colour", "colour": "lightness"}  # what a half sees, and what it predicts
L_BINS = np.arange(1.0, 100.0, 2.0)  # the centres of the bins of L
UNITS = {"lightness": 50.0, "colour": 110.0}  # in which regression predicts
LARGEST_PICTURE = 8  # examples of the report


def read(source, config, facts, train: bool):
    """The images as they are; what is trained on must not be grey, see `parts.colour.refuse_grey`."""
    if train:
        colour.refuse_grey(source)
    return source


def build(config) -> Method:
    """A split brain of two encoders `config.model`, which each have half of the whole network's width.

    `config.method`: `loss`, "classification" or "regression"; `map`, the layer of the encoders from which they predict;
    `stride` of the places that are predicted, in pixels; `layer`, whose means `encode` gives where no other is asked
    for. A layer such as "lightness:conv_3" or "colour:conv_3" is that of one half alone.

    Raises:
      ValueError: an unknown loss or layer, a stride below 1, views that are normalised; when it is run, grey images.
    """
    method, wide, prepare = config.method, wide_dtype(config), colour.lab_inputs(config)
    classify, make = method.loss == "classification", networks.make_networks(config)
    (half, _, inner), layers = method.layer.rpartition(":"), make()["encoder"].layers
    settings.check(
        "config.method", method,
        loss=(method.loss in ("classification", "regression"), "'classification' or 'regression'"),
        stride=(method.stride > 0, "1 or more pixels"),
        layer=(
            half in ("", *HALVES) and inner in layers,
            f"one of {', '.join(layers)}, of one half alone behind {' or '.join(f'{name}:' for name in HALVES)}",
        ),
    )  # fmt: skip
    sizes = {"lightness": len(L_BINS), "colour": len(colour.BINS)} if classify else {"lightness": 1, "colour": 2}
    predictors = {half: maps.predictor(config, sizes[other]) for half, other in HALVES.items()}

    def init(key, batch):
        seen, params, stats = channels(batch["view_0"]), {}, {}
        for (half, (first, _)), own in zip(predictors.items(), jax.random.split(key), strict=True):
            params[half], stats[half] = first(own, seen[half])
        return params, {"batch_stats": stats}

    def embed(params, state, batch, key, progress, axis_name, train=True):
        seen, keys = channels(batch["view_0"]), networks.example_keys(key, batch["index"], 0)
        stats, new, outputs, features = state.get("batch_stats", {}), {}, {}, []
        for half, (_, predict) in predictors.items():
            prediction, found, new[half] = predict(
                params[half], stats.get(half, {}), seen[half], axis_name, train=train, keys=keys
            )
            wanted = seen[HALVES[half]][:, :: method.stride, :: method.stride]
            outputs[half] = {"prediction": maps.resized(prediction, wanted), "wanted": wanted}
            features.append(found)
        return outputs | {"features": jnp.concatenate(features, axis=-1)}, state | {"batch_stats": new}

    def objective(params, outputs, state, progress, axis_name):
        found, metrics = {}, {}
        for half, other in HALVES.items():
            prediction, wanted = outputs[half]["prediction"], outputs[half]["wanted"]
            if classify:
                bins = nearest(other, wanted)
                found[other] = losses.cross_entropy(prediction, bins, axis_name=axis_name)
                metrics[f"{other}_top1"] = jnp.mean(jnp.argmax(prediction, axis=-1) == bins)
            else:  # half of the squared distance, of which `squared_error` has the mean over channels
                error = squared_error(prediction, wanted / UNITS[other], axis_name)
                found[other] = error * wanted.shape[-1] / 2
        return sum(found.values()), state, metrics | {f"{other}_loss": loss for other, loss in found.items()}

    def baselines(batch, outputs):
        """The best constants for the batch at hand: its mean distribution and modal bin, or its mean."""
        best = {}
        for half, other in HALVES.items():
            wanted = outputs[half]["wanted"]
            if classify:
                shares = jnp.bincount(nearest(other, wanted).ravel(), length=sizes[other]) / wanted[..., 0].size
                best[f"{other}_loss of the prior"] = jnp.sum(jax.scipy.special.entr(shares))
                best[f"{other}_top1 of the modal bin"] = shares.max()
            else:
                variance = jnp.var(wanted / UNITS[other], axis=(0, 1, 2))
                best[f"{other}_loss of the mean"] = jnp.sum(variance) / 2
        return best

    def encode(params, state, inputs, layer=None, keys=None):
        half, _, inner = (layer or method.layer).rpartition(":")
        seen, found = channels(prepare(inputs)), []
        for name in [half] if half else HALVES:
            stats = state.get("batch_stats", {}).get(name, {}).get("encoder", {})
            encoder = make(None, len(seen[name]))["encoder"]
            options = {"train": keys is not None, "keys": keys, "layer": inner}
            found.append(networks.run(encoder, params[name]["encoder"], stats, seen[name], **options)[0])
        found = jnp.concatenate(found, axis=-1)
        return found if layer else found.mean(axis=(1, 2), dtype=wide)

    def pictures(params, state, batch, key):
        """A row an example: grey, the predicted colours, the predicted lightness in true colours, the truth."""
        batch = {name: rows[:LARGEST_PICTURE] for name, rows in batch.items()}
        found, _ = embed(params, state, batch, key, None, None, train=False)
        ab, light = (decode(other, found[half]["prediction"]) for half, other in HALVES.items())
        true_light, true_ab = batch["view_0"][..., :1], batch["view_0"][..., 1:]
        light = jax.image.resize(light, true_light.shape, "bilinear")
        shown = (true_light, jnp.zeros_like(ab)), (true_light, ab), (light, true_ab), (true_light, true_ab)
        return {"split_brain": patches.sheet(*(colour.to_pixels(*pair) for pair in shown))}

    def decode(name, prediction):
        """The mean of a distribution, or what is predicted, as L or ab."""
        if not classify:
            return UNITS[name] * prediction + (50.0 if name == "lightness" else 0.0)
        if name == "colour":
            return colour.annealed_mean(prediction, 0.38)
        shares, centres = jax.nn.softmax(prediction, axis=-1), L_BINS[:, None].astype(prediction.dtype)
        return jnp.einsum("...k,kc->...c", shares, centres, precision=lax.Precision.HIGHEST)

    return Method(
        init=init,
        views=colour.lab_view(config),
        embed=embed,
        objective=objective,
        encode=encode,
        baselines=baselines,
        pictures=pictures,
        separable=True,
    )


def channels(lab) -> dict[str, jax.Array]:
    """The two halves of Lab `[..., 3]`: "lightness" L - 50, `[..., 1]`, and "colour" ab, `[..., 2]`."""
    return {"lightness": lab[..., :1] - 50.0, "colour": lab[..., 1:]}


def nearest(name: str, values):
    """The bin of a half's values, int32 `[...]`."""
    if name == "colour":
        return colour.nearest(values)
    return jnp.clip(jnp.floor((values[..., 0] + 50.0) / 2), 0, len(L_BINS) - 1).astype(jnp.int32)


def squared_error(prediction, wanted, axis_name):
    """The mean squared error over all values of `[b, h, w, C]`."""
    found, wanted = (values.reshape(len(values), -1, values.shape[-1]) for values in (prediction, wanted))
    return losses.masked_reconstruction(found, wanted, jnp.ones(wanted.shape[:2], bool), axis_name=axis_name)
