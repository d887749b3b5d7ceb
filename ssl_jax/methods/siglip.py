"""SigLIP (Zhai et al. 2023, arXiv 2303.15343): does this text belong to this image? asked of every pair of a batch.

Two towers as in CLIP, but the loss is a logistic regression of all B x B pairs, divided by B (eq. 1): no softmax, so no
pair depends on another. The scale begins at 10 and a learned bias at -10, since nearly all pairs are negatives (section
3.2). The image tower pools by attention and has no projection; the text tower is not causal, reads its feature at the
last place and has a bias in its projection. Official code: google-research/big_vision,
trainers/proj/image_text/siglip.py.
"""

import math

import jax.numpy as jnp

from ssl_jax import losses
from ssl_jax.methods.api import Method
from ssl_jax.methods.parts import towers
from ssl_jax.methods.parts.precision import wide_dtype

facts, read = towers.facts, towers.read


def decays(name: str, leaf) -> bool:
    """Whether a parameter has weight decay: kernels do; embeddings, positions, the probe, gains and biases do not.

    Source: google-research/big_vision, big_vision/optax.py, the default of `wd_mults`.
    """
    return name == "kernel"


def build(config, facts) -> Method:
    """SigLIP from `config.model` (an image encoder, and `text`), `config.augment` and `config.method`.

    `config.method`: `dimension` of the joint space, the features of the image tower unless `image_projection`;
    `scale` and `bias`, the first ones; `tokenizer` and `locked` as in CLIP.
    """
    method = config.method
    parts = towers.image_text(
        config, facts, image_projection=method.image_projection, text_bias=True, decays=decays
    )  # fmt: skip

    def init(key, batch):
        params, state = parts["init"](key, batch)
        scale, bias = (jnp.asarray(value, wide_dtype(config)) for value in (math.log(method.scale), method.bias))
        return params | {"logit_scale": scale, "logit_bias": bias}, state

    def objective(params, outputs, state, progress, axis_name):
        scale, bias = jnp.exp(params["logit_scale"]), params["logit_bias"]
        loss = losses.sigmoid(
            outputs["z_a"], outputs["z_b"], logit_scale=scale, logit_bias=bias, axis_name=axis_name
        )  # fmt: skip
        return loss, state, {"logit_scale": scale, "logit_bias": bias}

    return Method(
        **parts | {"init": init},
        objective=objective,
        describe=lambda batch_size: {
            "pairs": f"{batch_size**2}, of which {batch_size} belong together",
            **towers.locked_line(config),
        },
    )
