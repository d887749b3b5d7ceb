"""SimCLR (Chen et al. 2020, arXiv 2002.05709; v2: arXiv 2006.10029).

Two augmented views of each image pass through one encoder and one projector; NT-Xent pulls the two projections
together and pushes away the other 2(B - 1) of the global batch. The representation is the encoder's output, before
the projector. Official code: google-research/simclr, tf2/{model,objective,data_util}.py.
"""

import math

import jax.numpy as jnp

from ssl_jax import collectives, losses
from ssl_jax.methods.api import Method
from ssl_jax.methods.parts import image, networks
from ssl_jax.models.norm import contiguous_groups


def build(config) -> Method:
    """SimCLR from `config.model`, `config.augment` and `config.method` (`temperature`, `loss_scale`, `block_size`).

    `config.method.separate_views`, where a recipe has it: each view passes the networks in a batch of its own, as in
    most code for PyTorch; left out, both in one, as in the official code. Batch statistics are all that differs.
    """
    make = networks.make_networks(config, "projector")
    temperature, loss_scale = config.method.temperature, config.method.loss_scale
    block_size, norm_groups = config.method.block_size, networks.norm_groups(config)

    def init(key, batch):
        params, stats = networks.init(make(), key, batch["view_0"])
        return params, {"batch_stats": stats}

    def embed(params, state, batch, key, progress, axis_name, train=True):
        # Both views in one forward pass: batch statistics are those of all 2B images, as in the official code.
        images = jnp.concatenate([batch["view_0"], batch["view_1"]])
        keys = jnp.concatenate([networks.example_keys(key, batch["index"], view) for view in (0, 1)])
        b = len(batch["index"])
        groups = jnp.tile(contiguous_groups(b, norm_groups(b, axis_name, train), axis_name), 2)
        out, stats = networks.forward(
            make(axis_name, b), params, state["batch_stats"], images, keys=keys, group_ids=groups, train=train
        )
        z_a, z_b = jnp.split(out["projector"], 2)
        outputs = {"z_a": z_a, "z_b": z_b, "features": jnp.split(out["encoder"], 2)[0]}
        return outputs, {**state, "batch_stats": stats}

    if config.method.get("separate_views", False):
        init, embed = networks.siamese(make)

    def objective(params, outputs, state, progress, axis_name):
        z_a, z_b = outputs["z_a"], outputs["z_b"]
        loss = loss_scale * losses.nt_xent(
            z_a, z_b, temperature=temperature, axis_name=axis_name, block_size=block_size
        )
        candidates = 2 * len(z_a) * collectives.axis_size(axis_name) - 1
        return loss, state, {"chance_loss": jnp.asarray(loss_scale * math.log(candidates), loss.dtype)}

    return Method(
        init=init,
        views=image.two_views(config),
        embed=embed,
        objective=objective,
        encode=networks.encode(make, image.image_inputs(config)),
        describe=lambda batch_size: {"negatives": f"{2 * (batch_size - 1):,} for each anchor"},
    )
