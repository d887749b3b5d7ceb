"""CLIP (Radford et al. 2021, arXiv 2103.00020): which of the texts of a batch belongs to this image, and the other way?

An image tower and a causal text transformer, whose feature is that of the end of the text, are projected into one
space; the loss is the mean of the two cross entropies among all pairs of the GLOBAL batch (figure 3). The logits are
cosines times a learned scale, which begins at 1 / 0.07, is learned as its logarithm, and is kept at 100 at most
(section 2.5). The paper evaluates image features before the projection by linear probes, and both towers by zero-shot
classification with prompts. Official code: openai/CLIP, clip/model.py; its training as in mlfoundations/open_clip.
"""

import math

import jax.numpy as jnp

from ssl_jax import collectives, losses
from ssl_jax.methods.api import Method
from ssl_jax.methods.parts import towers
from ssl_jax.methods.parts.precision import wide_dtype

facts, read = towers.facts, towers.read


def decays(name: str, leaf) -> bool:
    """Whether a parameter has weight decay: gains, biases and the class token, a vector in their code, do not."""
    return leaf.ndim > 1 and name != "class_token"


def build(config, facts) -> Method:
    """CLIP from `config.model` (an image encoder, and `text`), `config.augment` and `config.method`.

    `config.method`: `dimension` of the joint space; `image_projection`, True if left out: whether the features of the
    image tower are projected into it, or are in it as they come (`models/clip_resnet.py`); `temperature`, the inverse
    of the first scale; `max_scale`; `tokenizer`, a published vocabulary, "" for one trained on the captions; `locked`:
    whether the image tower keeps its parameters (LiT), by `config.optim.groups.locked`.
    """
    method = config.method
    if not 0 < method.temperature or not method.max_scale >= 1:
        raise ValueError(
            f"config.method.temperature is {method.temperature} and max_scale {method.max_scale}; expected a "
            "temperature above 0 and a largest scale from 1 on"
        )
    parts = towers.image_text(
        config, facts, image_projection=method.get("image_projection", True), text_bias=False, decays=decays
    )

    def init(key, batch):
        params, state = parts["init"](key, batch)
        return params | {"logit_scale": jnp.asarray(-math.log(method.temperature), wide_dtype(config))}, state

    def objective(params, outputs, state, progress, axis_name):
        image, text, scale = outputs["z_a"], outputs["z_b"], jnp.exp(params["logit_scale"])
        loss = losses.clip(image, text, logit_scale=scale, axis_name=axis_name)
        rows = len(image) * collectives.axis_size(axis_name)
        return loss, state, {"logit_scale": scale, "chance_loss": jnp.asarray(math.log(rows), loss.dtype)}

    def after_update(params, state, progress):
        return params | {"logit_scale": jnp.clip(params["logit_scale"], 0, math.log(method.max_scale))}, state

    return Method(
        **parts | {"init": init},
        objective=objective,
        after_update=after_update,
        describe=lambda batch_size: {
            "negatives": f"{batch_size - 1} texts for every image, as many images for a text",
            **towers.locked_line(config),
        },
    )
