"""Colorization (Zhang et al. 2016, arXiv 1603.08511): which colour has each place of a grey photograph?

The network sees lightness L alone and predicts ab as a distribution over 313 bins: the mean of several likely colours
is grey, a distribution is not. Rare colours count more in the loss (equation 4), and what is shown is the annealed mean
of the distribution (equation 5). `loss` "regression" is what the paper compares with, whose pictures turn grey.
Official code: richzhang/colorization, resources/caffe_traininglayers.py.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax import losses
from ssl_jax.augment.lab import rgb_to_lab
from ssl_jax.methods.api import Method
from ssl_jax.methods.parts import colour, networks, patches
from ssl_jax.methods.parts.precision import wide_dtype

LARGEST_PICTURE, TEMPERATURES = 8, (1.0, 0.38, 0.1)  # examples of the report, and its columns
TYPICAL_L, AB_SCALE = 50.0, 110.0  # what is taken off L before the network, and the unit of ab in regression
NEVER_SEEN = 1e-12  # the share that the prior gives to a colour without one


def facts(source, config) -> dict[str, np.ndarray]:
    """The colours of the training data, see `parts.colour.prior`."""
    return colour.prior(source, config.method.neighbours, config.method.sigma)


def build(config, facts) -> Method:
    """Colorization from `config.model` (a convolutional encoder), `config.method` and the colours of the data.

    `config.method`: `loss`, "classification" or "regression"; `map`, the encoder's layer from which colours are
    predicted; `stride` of the places whose colours are, in pixels; `neighbours` and `sigma` of soft targets; `uniform`,
    lambda of the rebalancing (1: none); `grey`, the |a| or |b| that an image must exceed somewhere to count in the loss
    (0: all count); `temperature` of the annealed mean; `layer`, which `encode` gives where no other is asked for.

    Raises:
      ValueError: an unknown loss, views that are normalised; when it is run, grey images.
    """
    method, stride, wide = config.method, config.method.stride, wide_dtype(config)
    init, predict, decode, encode = network(config)
    balance, rebalanced = colour.balance(facts), colour.rebalancing(facts, method.sigma, method.uniform)

    def embed(params, state, batch, key, progress, axis_name, train=True):
        lab, keys = batch["view_0"], networks.example_keys(key, batch["index"], 0)
        prediction, features, stats = predict(params, state, lab[..., :1], axis_name, train=train, keys=keys)
        ab = lab[:, ::stride, ::stride, 1:]
        if prediction.shape[:3] != ab.shape[:3]:  # as in the code of AlexNet, whose map is coarser than its labels
            prediction = jax.image.resize(prediction, (*ab.shape[:3], prediction.shape[-1]), "bilinear")
        return {"prediction": prediction, "colour": ab, "features": features}, state | {"batch_stats": stats}

    def objective(params, outputs, state, progress, axis_name):
        prediction, ab = outputs["prediction"], outputs["colour"]
        counts = jnp.abs(ab).max(axis=(1, 2, 3), keepdims=True) >= method.grey
        metrics = fit_of_colours(decode(prediction, method.temperature), ab) | {"true_chroma": chroma(ab)}
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
        """The share of places whose bin is told; balanced: all common colours count alike."""
        truth = colour.nearest(ab)
        told = (bins == truth).astype(wide)
        return {"top1": jnp.mean(told), "balanced_top1": jnp.mean(jnp.asarray(balance, wide)[truth] * told)}

    def baselines(batch, outputs):
        """The best constants: the prior, which is the mean distribution, the modal bin, and the mean colour."""
        ab = outputs["colour"]
        prior = jnp.asarray(np.log(np.maximum(facts["soft"], NEVER_SEEN)), wide)
        target = colour.soft_encode(ab, method.neighbours, method.sigma)
        mean = fit_of_colours(jnp.broadcast_to(jnp.asarray(facts["mean"], wide), ab.shape), ab)
        modal = accuracy(int(np.argmax(facts["histogram"])), ab)
        return (
            {"cross_entropy of the prior": -jnp.mean(target @ prior)}
            | {f"{name} of the modal bin": value for name, value in modal.items()}
            | {f"{name} of the mean colour": value for name, value in mean.items()}
        )

    def pictures(params, state, batch, key):
        """A row an example: grey, coloured at falling temperatures, the truth."""
        lab = batch["view_0"][:LARGEST_PICTURE]
        light, prediction = lab[..., :1], predict(params, state, lab[..., :1])[0]
        shown = TEMPERATURES if method.loss == "classification" else (1.0,)
        found = [jnp.zeros_like(lab[..., 1:]), *(decode(prediction, t) for t in shown), lab[..., 1:]]
        return {"colorization": patches.sheet(*(colour.to_pixels(light, ab) for ab in found))}

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


def network(config):
    """`init`, `predict`, `decode` and `encode` of an encoder and the 1x1 convolution that predicts from its map.

    `predict(params, state, lightness [b, H, W, 1]) -> prediction [b, h, w, 313 or 2], features [b, C], batch_stats`;
    `decode(prediction, temperature) -> ab [b, h, w, 2]`; the others as in `Method`.
    """
    method, make, wide = config.method, networks.make_networks(config), wide_dtype(config)
    if method.loss not in ("classification", "regression"):
        raise ValueError(f"config.method.loss is {method.loss!r}; expected 'classification' or 'regression'")
    classify, prepare = method.loss == "classification", colour.lab_inputs(config)
    head = nn.Dense(len(colour.BINS) if classify else 2, dtype=wide, param_dtype=wide)

    def init(key, batch):
        images, (own, last) = batch["view_0"][..., :1], jax.random.split(key)
        maps, found = make()["encoder"].init_with_output(own, images - TYPICAL_L, train=True, layer=method.map)
        params = {"encoder": found["params"], "colours": head.init(last, maps)["params"]}
        return params, {"batch_stats": {"encoder": found.get("batch_stats", {})}}

    def predict(params, state, lightness, axis_name=None, *, train=False, keys=None):
        encoder, stats = make(axis_name, len(lightness))["encoder"], state.get("batch_stats", {}).get("encoder", {})
        maps, stats = networks.run(
            encoder, params["encoder"], stats, lightness - TYPICAL_L, train=train, keys=keys, layer=method.map
        )
        features = maps.mean(axis=(1, 2), dtype=wide)
        return head.apply({"params": params["colours"]}, maps), features, {"encoder": stats}

    def decode(prediction, temperature):
        return colour.annealed_mean(prediction, temperature) if classify else AB_SCALE * prediction

    encode_layer = networks.encode(make, lambda inputs: prepare(inputs)[..., :1] - TYPICAL_L)

    def encode(params, state, inputs, layer=None, keys=None):
        maps = encode_layer(params, state, inputs, layer or method.layer, keys)
        return maps if layer else maps.mean(axis=(1, 2), dtype=wide)

    return init, predict, decode, encode


def colouriser(config):
    """`(params, state, images uint8 [B, H, W, C], temperature) -> uint8 [B, H, W, 3]`: colours photographs of any size.

    The network sees the photograph at the size of its training; the lightness of the result is that of the photograph.
    """
    size, (_, predict, decode, _) = config.augment.size, network(config)

    def run(params, state, images, temperature):
        images = jnp.broadcast_to(images, (*images.shape[:3], 3)).astype(wide_dtype(config)) / 255
        light = rgb_to_lab(images)[..., :1]
        small = jax.image.resize(light, (len(light), size, size, 1), "bilinear")
        return colour.to_pixels(light, decode(predict(params, state, small)[0], temperature))

    return run


def chroma(ab):
    """The mean distance of colours `[..., 2]` from grey."""
    return jnp.mean(jnp.sqrt(jnp.sum(jnp.square(ab), axis=-1)))


def fit_of_colours(found, ab) -> dict[str, jax.Array]:
    """The mean squared distance of colours to the true ones, and how strong they are."""
    return {"squared_error": jnp.mean(jnp.sum(jnp.square(found - ab), axis=-1)), "chroma": chroma(found)}
