"""MoCo v3 (Chen, Xie and He 2021, arXiv 2104.02057): momentum contrast without a queue, for ResNets and transformers.

Both views are queries and keys. A query passes encoder, projector and predictor, a key the momentum encoder and its
projector; the other keys of the global batch are the negatives (algorithm 1). Batch statistics are those of one view of
the global batch. Official code: facebookresearch/moco-v3 at c349e6e, moco/builder.py.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from ssl_jax import collectives, losses
from ssl_jax.methods.api import Method, matrices_and_vectors
from ssl_jax.methods.parts import image, networks, teacher
from ssl_jax.methods.parts.precision import wide_dtype

FOLLOWED = ("encoder", "projector")  # by the momentum encoder; the predictor has no teacher


def build(config) -> Method:
    """MoCo v3 from `config.model`, `config.augment` and `config.method`.

    `config.method`: `temperature`, `momentum`, `momentum_schedule`, `block_size`. A transformer's patch projection is
    the parameter group "patch_projection", to be frozen by `config.optim.groups.patch_projection.frozen_steps = -1`.
    """
    make = networks.make_networks(config, "projector", "predictor")
    after_update, signals = teacher.build(config)
    temperature, block_size = config.method.temperature, config.method.block_size
    dtype = wide_dtype(config)

    def init(key, batch):
        params, stats = networks.init(make(), key, batch["view_0"])
        return params, {"batch_stats": stats, **teacher.begin(params, stats, FOLLOWED, dtype)}

    def embed(params, state, batch, key, progress, axis_name, train=True):
        online, index = make(axis_name, len(batch["index"])), batch["index"]
        stats, teacher_stats = state["batch_stats"], state["teacher_stats"]
        queries, keys, outputs = [], [], {}
        for view in (0, 1):
            images, random = batch[f"view_{view}"], [networks.example_keys(key, index, view + i) for i in (0, 2)]
            out, stats = networks.forward(online, params, stats, images, keys=random[0], train=train)
            queries.append(out["predictor"])
            outputs.setdefault("features", out["encoder"])
            followed = {name: online[name] for name in FOLLOWED}
            out, teacher_stats = networks.forward(
                followed, state["teacher"], teacher_stats, images, keys=random[1], train=train
            )
            keys.append(lax.stop_gradient(out["projector"]))
        outputs |= {"z_a": queries[0], "z_b": keys[1], "query_1": queries[1], "key_0": keys[0]}
        return outputs, {**state, "batch_stats": stats, "teacher_stats": teacher_stats}

    def objective(params, outputs, state, progress, axis_name):
        pairs = (outputs["z_a"], outputs["z_b"]), (outputs["query_1"], outputs["key_0"])
        loss = sum(
            losses.info_nce(query, key, temperature=temperature, axis_name=axis_name, block_size=block_size)
            for query, key in pairs
        )
        chance = 2 * math.log(len(outputs["z_a"]) * collectives.axis_size(axis_name))
        scale = 2 * temperature  # so that the gradient does not grow as the temperature falls
        return scale * loss, state, {"chance_loss": jnp.asarray(scale * chance, loss.dtype)}

    def groups(params):
        names = matrices_and_vectors(params)
        if "patch_projection" in names["encoder"]:
            projection = jax.tree.map(lambda name: "patch_projection", names["encoder"]["patch_projection"])
            names["encoder"] = names["encoder"] | {"patch_projection": projection}
        return names

    return Method(
        init=init,
        views=image.two_views(config),
        embed=embed,
        objective=objective,
        encode=networks.encode(make, image.image_inputs(config)),
        after_update=after_update,
        adopt=teacher.adopt,
        signals=signals,
        groups=groups,
        describe=lambda batch_size: {"negatives": f"{batch_size - 1:,} for each anchor"},
    )
