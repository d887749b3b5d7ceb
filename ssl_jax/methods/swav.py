"""SwAV (Caron et al. 2020, arXiv 2006.09882): crops of an image predict one another's assignment to prototypes.

Encoder and projector embed two large crops, and small ones where `config.augment.local` asks for them. Cosines with the
prototypes are the scores. Those of a large crop, shared out equally over the batch, are the targets of all other crops
of its image. Small batches are shared out together with a queue of earlier embeddings, scored by today's prototypes
(section 3.1). Official code: facebookresearch/swav at 06b1b7c, main_swav.py and src/resnet50.py.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from ssl_jax import collectives, losses
from ssl_jax.losses.embeddings import normalise
from ssl_jax.methods.api import Method, matrices_and_vectors
from ssl_jax.methods.parts import image, networks
from ssl_jax.methods.parts.precision import wide_dtype
from ssl_jax.models.norm import contiguous_groups

ASSIGNED = 2  # crops that give targets: the large ones


def build(config) -> Method:
    """SwAV from `config.model`, `config.augment` and `config.method`.

    `config.method`: `temperature`, `prototypes` (their number), `epsilon` and `iterations` of the assignment (0
    iterations: no equal shares, the ablation that collapses), `queue_size` (embeddings of each large crop, 0 for none),
    `queue_start_epoch` (when the queue begins to fill; it is used once it is full). The prototypes are the parameter
    group "prototypes", which `config.optim.groups.prototypes.frozen_steps` holds still at first.

    Raises:
      ValueError: fewer than two prototypes, or a queue that does not hold a whole number of batches.
    """
    make = networks.make_networks(config, "projector")
    method, batch_size, norm_groups = config.method, config.train.batch_size, networks.norm_groups(config)
    temperature, epsilon, iterations = method.temperature, method.epsilon, method.iterations
    count, queue_size, queue_start = method.prototypes, method.queue_size, method.queue_start_epoch
    width, dtype = config.model.projector.output_dim, wide_dtype(config)
    if count < 2:
        raise ValueError(f"config.method.prototypes is {count}; expected at least 2, such as 3000 for ImageNet")
    if queue_size % batch_size:
        nearest = round(queue_size / batch_size) * batch_size
        raise ValueError(
            f"config.method.queue_size is {queue_size}, which is no multiple of config.train.batch_size {batch_size}; "
            f"use {nearest}, or another batch size"
        )

    def init(key, batch):
        network_key, prototype_key = jax.random.split(key)
        params, stats = networks.init(make(), network_key, batch["view_0"])
        # PyTorch's dense layer, whose scale the norm takes away.
        prototypes = jax.random.uniform(prototype_key, (count, width), dtype, minval=-1)
        state = {"batch_stats": stats}
        if queue_size:
            state["queue"] = jnp.zeros((ASSIGNED, queue_size, width), dtype)
        return params | {"prototypes": normalise(prototypes)}, state

    def embed(params, state, batch, key, progress, axis_name, train=True):
        b = len(batch["index"])
        groups = contiguous_groups(b, norm_groups(b, axis_name, train), axis_name)
        out, stats = networks.forward_crops(
            make(axis_name, b), params, state["batch_stats"], batch, key, group_ids=groups, train=train
        )
        z = jnp.swapaxes(out["projector"], 0, 1)
        outputs = {"z": z, "z_a": z[:, 0], "z_b": z[:, 1], "features": out["encoder"][0]}
        return outputs, {**state, "batch_stats": stats}

    def score(z, prototypes):
        return jnp.einsum("vbd,kd->vbk", z, prototypes, precision=lax.Precision.HIGHEST)

    def objective(params, outputs, state, progress, axis_name):
        z = normalise(jnp.swapaxes(outputs["z"], 0, 1))
        scores = score(z, params["prototypes"])
        to_assign, weights = scores[:ASSIGNED], None
        if queue_size:
            queue, b = state["queue"], z.shape[1]
            own = queue_size // collectives.axis_size(axis_name)  # every device scores its part of the queue
            queued = lax.dynamic_slice_in_dim(queue, own * collectives.axis_index(axis_name), own, axis=1)
            to_assign = jnp.concatenate([score(queued, params["prototypes"]), to_assign], axis=1)
            is_full = jnp.any(queue[:, -1] != 0).astype(scores.dtype)
            weights = jnp.concatenate([jnp.full(own, is_full), jnp.ones(b, scores.dtype)])
            # The newest come first, and the oldest fall out at the end.
            new = collectives.all_gather(lax.stop_gradient(jnp.swapaxes(z[:ASSIGNED], 0, 1)), axis_name)
            filled = jnp.concatenate([jnp.swapaxes(new, 0, 1), queue[:, : queue_size - len(new)]], axis=1)
            state = state | {"queue": jnp.where(progress.epoch >= queue_start, filled, queue)}
        assignments = [
            losses.sinkhorn(crop, epsilon=epsilon, iterations=iterations, weights=weights, axis_name=axis_name)
            for crop in to_assign
        ]
        assignments = [q[-z.shape[1] :] for q in assignments]
        loss = losses.swav(scores, assignments, temperature=temperature, axis_name=axis_name)
        metrics = {
            "chance_loss": jnp.asarray(math.log(count), loss.dtype),
            "prototypes_used": effective_number(scores[0] / epsilon, axis_name),
        }
        return loss, state, metrics

    def after_update(params, state, progress):
        return params | {"prototypes": normalise(params["prototypes"])}, state

    def groups(params):
        return matrices_and_vectors(params) | {"prototypes": "prototypes"}

    return Method(
        init=init,
        views=image.multi_crop(config),
        embed=embed,
        objective=objective,
        encode=networks.encode(make, image.image_inputs(config)),
        after_update=after_update,
        groups=groups,
    )


def effective_number(logits, axis_name):
    """How many prototypes the global batch would use without equal shares: exp(entropy of the mean softmax).

    >>> round(float(effective_number(jnp.array([[50.0, 0, 0], [0, 50, 0]]), None)), 3)
    2.0
    """
    share = collectives.pmean(jnp.mean(jax.nn.softmax(lax.stop_gradient(logits), axis=1), axis=0), axis_name)
    return jnp.exp(-jnp.sum(share * jnp.log(jnp.maximum(share, 1e-30))))
