"""Predictions for every place of an image: an encoder up to one of its maps, and a 1x1 convolution on that."""

import flax.linen as nn
import jax

from ssl_jax.methods.parts import networks
from ssl_jax.methods.parts.precision import wide_dtype


def predictor(config, outputs: int):
    """`init(key, images) -> params, stats` and `predict` of the encoder of a config and its 1x1 convolution.

    `predict(params, stats, images [b, H, W, C], axis_name, train=, keys=) -> prediction [b, h, w, outputs], features
    [b, C], stats`: the encoder ends at its layer `config.method.map`, whose mean over places are the features.
    """
    make, wide, layer = networks.make_networks(config), wide_dtype(config), config.method.map
    head = nn.Dense(outputs, dtype=wide, param_dtype=wide)

    def init(key, images):
        own, last = jax.random.split(key)
        maps, found = make()["encoder"].init_with_output(own, images, train=True, layer=layer)
        params = {"encoder": found["params"], "head": head.init(last, maps)["params"]}
        return params, {"encoder": found.get("batch_stats", {})}

    def predict(params, stats, images, axis_name=None, *, train=False, keys=None):
        encoder = make(axis_name, len(images))["encoder"]
        maps, new = networks.run(
            encoder, params["encoder"], stats.get("encoder", {}), images, train=train, keys=keys, layer=layer
        )
        prediction = head.apply({"params": params["head"]}, maps)
        return prediction, maps.mean(axis=(1, 2), dtype=wide), {"encoder": new}

    return init, predict


def resized(prediction, places):
    """A prediction `[b, h, w, K]` at the resolution of `places` `[b, H, W, ...]`, bilinear where it has another."""
    if prediction.shape[:3] == places.shape[:3]:
        return prediction
    return jax.image.resize(prediction, (*places.shape[:3], prediction.shape[-1]), "bilinear")
