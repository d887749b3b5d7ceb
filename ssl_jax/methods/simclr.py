"""SimCLR (Chen et al. 2020, arXiv 2002.05709; v2: arXiv 2006.10029).

Two augmented views of each image pass through one encoder and one projector; NT-Xent pulls the two projections
together and pushes away the other 2(B - 1) of the global batch. The representation is the encoder's output, before
the projector. Official code: google-research/simclr, tf2/{model,objective,data_util}.py.
"""

import math

import jax
import jax.numpy as jnp

from ssl_jax import collectives, losses
from ssl_jax.methods import parts
from ssl_jax.methods.api import Method


def build(config) -> Method:
    """SimCLR from `config.model`, `config.augment` and `config.method` (`temperature`, `loss_scale`, `block_size`)."""
    make_encoder, make_projector = parts.backbone(config), parts.projector(config)
    prepare = parts.image_inputs(config)
    temperature, loss_scale = config.method.temperature, config.method.loss_scale
    block_size = config.method.block_size

    def init(key, batch):
        encoder_key, projector_key = jax.random.split(key)
        features, encoder = make_encoder().init_with_output(encoder_key, batch["view_0"], train=True)
        projector = make_projector().init(projector_key, features, train=True)
        networks = {"encoder": encoder, "projector": projector}
        params = {name: variables["params"] for name, variables in networks.items()}
        return params, {"batch_stats": {name: v.get("batch_stats", {}) for name, v in networks.items()}}

    def apply(name, module, params, state, inputs, **options):
        variables = {"params": params[name], "batch_stats": state["batch_stats"][name]}
        return module.apply(variables, inputs, **options)

    def embed(params, state, batch, key, progress, axis_name):
        # Both views in one forward pass: batch statistics are those of all 2B images, as in the official code.
        images = jnp.concatenate([batch["view_0"], batch["view_1"]])
        train = {"train": True, "mutable": ["batch_stats"]}
        features, encoder = apply("encoder", make_encoder(axis_name), params, state, images, **train)
        z, projector = apply("projector", make_projector(axis_name), params, state, features, **train)
        z_a, z_b = jnp.split(z, 2)
        outputs = {"z_a": z_a, "z_b": z_b, "features": jnp.split(features, 2)[0]}
        stats = {"encoder": encoder.get("batch_stats", {}), "projector": projector.get("batch_stats", {})}
        return outputs, {**state, "batch_stats": stats}

    def objective(params, outputs, state, progress, axis_name):
        z_a, z_b = outputs["z_a"], outputs["z_b"]
        loss = loss_scale * losses.nt_xent(
            z_a, z_b, temperature=temperature, axis_name=axis_name, block_size=block_size
        )
        candidates = 2 * len(z_a) * collectives.axis_size(axis_name) - 1
        return loss, state, {"chance_loss": jnp.asarray(loss_scale * math.log(candidates), loss.dtype)}

    def encode(params, state, inputs, layer=None):
        """`layer`: None for the encoder's output, "projection" for the projector's, or a layer of the encoder."""
        images = prepare(inputs)
        if layer != "projection":
            return apply("encoder", make_encoder(), params, state, images, train=False, layer=layer)
        features = apply("encoder", make_encoder(), params, state, images, train=False)
        return apply("projector", make_projector(), params, state, features, train=False)

    return Method(
        init=init,
        views=parts.two_views(config),
        embed=embed,
        objective=objective,
        encode=encode,
        negatives=lambda batch_size: 2 * (batch_size - 1),
    )
