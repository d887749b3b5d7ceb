"""Colorization (Zhang et al. 2016, arXiv 1603.08511): which colour has each place of a grey photograph?

The network sees lightness L alone and predicts ab as a distribution over 313 bins: the mean of several likely colours
is grey, a distribution is not. Rare colours count more in the loss (equation 4), and what is shown is the annealed mean
of the distribution (equation 5). `loss` "regression" is what the paper compares with, whose pictures turn grey.
Official code: richzhang/colorization, resources/caffe_traininglayers.py.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax import losses
from ssl_jax.augment.lab import rgb_to_lab
from ssl_jax.methods.api import Method
from ssl_jax.methods.parts import colour, maps, networks, patches, settings
from ssl_jax.methods.parts.precision import wide_dtype

LARGEST_PICTURE, TEMPERATURES = 8, (1.0, 0.38, 0.1)  # examples of the report, and its columns
TYPICAL_L, AB_SCALE = 50.0, 110.0  # what is taken off L before the network, and the unit of ab in regression
NEVER_SEEN = 1e-12  # the share that the prior gives to a colour without one


def facts(source, config) -> dict[str, np.ndarray]:
    """The colours of the training data, see `parts.colour.prior`."""
    check(config.method)
    return colour.prior(source, config.method.neighbours, config.method.sigma)


def build(config, facts) -> Method:
    """Colorization from `config.model` (a convolutional encoder), `config.method` and the colours of the data.

    `config.method`: `loss`, "classification" or "regression"; `map`, the encoder's layer from which colours are
    predicted; `stride` of the places whose colours are, in pixels; `neighbours` and `sigma` of soft targets; `uniform`,
    lambda of the rebalancing (1: none); `grey`, the |a| or |b| that an image must reach somewhere to count in the loss
    (0: all count); `temperature` of the annealed mean; `layer`, which `encode` gives where no other is asked for.

    Raises:
      ValueError: an unknown loss or layer, a number that cannot be, views that are normalised; when it is run, grey
        images.
    """
    check(config.method)
    method, wide, decode = config.method, wide_dtype(config), decoder(config.method)
    (first, predict), prepare = network(config), colour.lab_inputs(config)
    make = networks.make_networks(config)
    layers = make()["encoder"].layers
    settings.check("config.method", method, layer=(method.layer in layers, f"one of {', '.join(layers)}"))
    balance, rebalanced = colour.balance(facts), colour.rebalancing(facts, method.sigma, method.uniform)

    def init(key, batch):
        params, stats = first(key, centred(batch["view_0"]))
        return params, {"batch_stats": stats}

    def embed(params, state, batch, key, progress, axis_name, train=True):
        lab, keys = batch["view_0"], networks.example_keys(key, batch["index"], 0)
        ab, stats = lab[:, :: method.stride, :: method.stride, 1:], state["batch_stats"]
        prediction, features, stats = predict(params, stats, centred(lab), axis_name, train=train, keys=keys)
        outputs = {"prediction": maps.resized(prediction, ab), "colour": ab, "features": features}
        return outputs, state | {"batch_stats": stats}

    def objective(params, outputs, state, progress, axis_name):
        prediction, ab = outputs["prediction"], outputs["colour"]
        counts = jnp.abs(ab).max(axis=(1, 2, 3), keepdims=True) >= method.grey
        metrics = colour.fit(decode(prediction, method.temperature), ab) | {"true_chroma": colour.chroma(ab)}
        if method.loss == "classification":
            target = colour.soft_encode(ab, method.neighbours, method.sigma)
            metrics["cross_entropy"] = losses.soft_cross_entropy(prediction, target)
            metrics |= accuracy(jnp.argmax(prediction, axis=-1), ab)
            weights = jnp.asarray(rebalanced, wide)[colour.nearest(ab)] * counts[..., 0]
            loss = losses.soft_cross_entropy(prediction, target, place_weights=weights, axis_name=axis_name)
        else:  # the mean over a and b is half of the squared distance, equation 1
            target = (ab / AB_SCALE).reshape(len(ab), -1, 2)
            found = jnp.where(counts.reshape(-1, 1, 1), prediction.reshape(target.shape), target)
            everywhere = jnp.ones(target.shape[:2], bool)
            loss = losses.masked_reconstruction(found, target, everywhere, axis_name=axis_name)
        return loss, state, metrics

    def accuracy(bins, ab):
        """The share of places whose bin is told; balanced: of places that count by the inverse of their colour's share.

        The balanced one is still to be divided by the mean weight, see `held_out.measure`.
        """
        truth = colour.nearest(ab)
        told, weights = (bins == truth).astype(wide), jnp.asarray(balance, wide)[truth]
        return {
            "top1": jnp.mean(told), "balanced_top1": jnp.mean(weights * told), "balanced_top1_weight": jnp.mean(weights)
        }  # fmt: skip

    def baselines(batch, outputs):
        """The best constants: the prior, which is the mean distribution, the modal bin, and the mean colour."""
        ab = outputs["colour"]
        mean = colour.fit(jnp.broadcast_to(jnp.asarray(facts["mean"], wide), ab.shape), ab)
        mean = {f"{name} of the mean colour": value for name, value in mean.items()}
        if method.loss == "regression":
            return mean
        prior = jnp.asarray(np.log(np.maximum(facts["soft"], NEVER_SEEN)), wide)[None, None, None]
        target = colour.soft_encode(ab, method.neighbours, method.sigma)
        modal = accuracy(int(np.argmax(facts["histogram"])), ab)
        modal = {f"{name} of the modal bin": modal[name] for name in ("top1", "balanced_top1")}
        return {"cross_entropy of the prior": -jnp.mean(jnp.sum(target * prior, axis=-1))} | modal | mean

    def pictures(params, state, batch, key):
        """A row an example: grey, coloured at falling temperatures, the truth."""
        lab = batch["view_0"][:LARGEST_PICTURE]
        light, prediction = lab[..., :1], predict(params, state["batch_stats"], centred(lab))[0]
        shown = TEMPERATURES if method.loss == "classification" else (1.0,)
        found = [jnp.zeros_like(lab[..., 1:]), *(decode(prediction, t) for t in shown), lab[..., 1:]]
        return {"colorization": patches.sheet(*(colour.to_pixels(light, ab) for ab in found))}

    encode_layer = networks.encode(make, lambda inputs: centred(prepare(inputs)))

    def encode(params, state, inputs, layer=None, keys=None):
        found = encode_layer(params, state, inputs, layer or method.layer, keys)
        return found if layer else found.mean(axis=(1, 2), dtype=wide)

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


def check(method) -> None:
    """Refuses numbers with which there are no places, targets, weights or colours to decode."""
    bins = len(colour.BINS)
    settings.check(
        "config.method", method,
        stride=(method.stride > 0, "1 or more pixels"),
        neighbours=(0 < method.neighbours <= bins, f"1 to {bins} bins"),
        sigma=(method.sigma > 0, "a deviation above 0"),
        uniform=(0 <= method.uniform <= 1, "a share in [0, 1]"),
        temperature=(method.temperature > 0, "a number above 0"),
    )  # fmt: skip


def decoder(method):
    """`(prediction, temperature) -> ab [..., 2]`: the annealed mean, or what regression predicts."""
    if method.loss == "classification":
        return colour.annealed_mean
    if method.loss == "regression":
        return lambda prediction, temperature: AB_SCALE * prediction
    raise ValueError(f"config.method.loss is {method.loss!r}; expected 'classification' or 'regression'")


def network(config):
    """`init` and `predict` of `parts.maps.predictor` for the colours of lightness."""
    return maps.predictor(config, len(colour.BINS) if config.method.loss == "classification" else 2)


def colouriser(config):
    """`(params, state, images uint8 [B, H, W, C], temperature) -> uint8 [B, H, W, 3]`: colours photographs of any size.

    The network sees the photograph at the size of its training; the lightness of the result is that of the photograph.
    """
    size, (_, predict), decode = config.augment.size, network(config), decoder(config.method)

    def run(params, state, images, temperature):
        images = jnp.broadcast_to(images, (*images.shape[:3], 3)).astype(wide_dtype(config)) / 255
        light = rgb_to_lab(images)[..., :1]
        small = jax.image.resize(light, (len(light), size, size, 1), "bilinear")
        prediction, *_ = predict(params, state.get("batch_stats", {}), centred(small))
        return colour.to_pixels(light, decode(prediction, temperature))

    return run


def centred(lab):
    """What the network sees of Lab `[..., 3]`: lightness alone, `[..., 1]`, without its typical value."""
    return lab[..., :1] - TYPICAL_L
