"""MoCo v1 (He et al. 2020, arXiv 1911.05722) and v2 (Chen et al. 2020, arXiv 2003.04297).

The encoder turns one view into a query, the momentum encoder the other view into a key; the loss finds the key among
the keys of earlier batches, which a queue holds. Batch norm is that of groups, as on the paper's 8 GPUs, and the keys'
groups are shuffled, so that statistics do not tell which key belongs to which query (section 3.3). Official code:
facebookresearch/moco at 132aea9, moco/builder.py; the symmetric form is that of its CIFAR-10 demo.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from ssl_jax import losses
from ssl_jax.losses.embeddings import normalise
from ssl_jax.methods.api import Method
from ssl_jax.methods.parts import image, networks, queue, teacher
from ssl_jax.methods.parts.precision import wide_dtype
from ssl_jax.models.norm import shuffled_groups


def build(config) -> Method:
    """MoCo from `config.model`, `config.augment` and `config.method`.

    `config.method`: `temperature`, `momentum`, `momentum_schedule`, `queue_size`, `symmetric` (both views are queries
    once, the losses are summed), `shuffle_norm` (whether the keys' groups are shuffled), `block_size`.

    Raises:
      ValueError: the queue does not hold a whole number of batches, or microbatches of shuffled groups.
    """
    make = networks.make_networks(config, "projector")
    after_update, teacher_signals = teacher.build(config)
    method, batch_size = config.method, config.train.batch_size
    temperature, symmetric, block_size = method.temperature, method.symmetric, method.block_size
    queue_size, norm_groups, shuffle = method.queue_size, networks.norm_groups(config), method.shuffle_norm
    dtype = wide_dtype(config)
    keys_a_step = batch_size * (2 if symmetric else 1)
    if queue_size < keys_a_step or queue_size % keys_a_step:
        nearest = max(1, round(queue_size / keys_a_step)) * keys_a_step
        raise ValueError(
            f"config.method.queue_size is {queue_size}, which is no multiple of the {keys_a_step} keys of a step "
            f"(batch {batch_size}{', two keys an image' if symmetric else ''}); use {nearest}, or another batch size"
        )
    if shuffle and norm_groups(batch_size, None) > 1 and config.train.get("microbatches", 1) > 1:
        raise ValueError(
            f"config.train.microbatches is {config.train.microbatches}, but the keys' groups are drawn from the whole "
            "batch; set config.method.shuffle_norm=False, or microbatches to 1"
        )
    turn = queue_size // keys_a_step

    def init(key, batch):
        network_key, queue_key = jax.random.split(key)
        params, stats = networks.init(make(), network_key, batch["view_0"])
        held = queue.begin(queue_key, queue_size, config.model.projector.output_dim, dtype)
        return params, {"batch_stats": stats, **teacher.begin(params, stats, params, dtype), **held}

    def encode_queries(params, stats, batch, view, key, axis_name, train):
        keys, online = networks.example_keys(key, batch["index"], view), make(axis_name, len(batch["index"]))
        return networks.forward(online, params, stats, batch[f"view_{view}"], keys=keys, train=train)

    def encode_keys(params, stats, batch, view, key, axis_name, train=True):
        ids, b = None, len(batch["index"])
        groups = norm_groups(b, axis_name, train)
        if shuffle and groups > 1 and train:
            shuffle_key = jax.random.fold_in(jax.random.fold_in(key, networks.NO_EXAMPLE), 2 + view)
            ids = shuffled_groups(shuffle_key, b, groups, axis_name)
        random = networks.example_keys(key, batch["index"], 4 + view)
        out, stats = networks.forward(
            make(axis_name, b), params, stats, batch[f"view_{view}"], keys=random, group_ids=ids, train=train
        )
        return lax.stop_gradient(out["projector"]), stats

    def embed(params, state, batch, key, progress, axis_name, train=True):
        stats, teacher_stats = state["batch_stats"], state["teacher_stats"]
        out, stats = encode_queries(params, stats, batch, 0, key, axis_name, train)
        z_b, teacher_stats = encode_keys(state["teacher"], teacher_stats, batch, 1, key, axis_name, train)
        outputs = {"z_a": out["projector"], "z_b": z_b, "features": out["encoder"]}
        if symmetric:
            out, stats = encode_queries(params, stats, batch, 1, key, axis_name, train)
            key_0, teacher_stats = encode_keys(state["teacher"], teacher_stats, batch, 0, key, axis_name, train)
            outputs |= {"query_1": out["projector"], "key_0": key_0}
        return outputs, {**state, "batch_stats": stats, "teacher_stats": teacher_stats}

    def objective(params, outputs, state, progress, axis_name):
        contrast = partial(
            losses.queue_info_nce, queue=state["queue"],
            temperature=temperature, axis_name=axis_name, block_size=block_size,
        )  # fmt: skip
        loss, new = contrast(outputs["z_a"], outputs["z_b"]), [outputs["z_b"]]
        if symmetric:
            loss = loss + contrast(outputs["query_1"], outputs["key_0"])
            new = [outputs["key_0"], outputs["z_b"]]
        # Only now, so that the batch's own keys are no negatives.
        state = queue.push(state, [normalise(keys) for keys in new], progress.step, axis_name)
        chance = (2 if symmetric else 1) * math.log(queue_size + 1)
        return loss, state, {"chance_loss": jnp.asarray(chance, loss.dtype)}

    def signals(params, outputs, state, progress):
        query, key, queued = normalise(outputs["z_a"]), normalise(outputs["z_b"]), state["queue"]
        best = jnp.einsum("bd,kd->bk", query, queued, precision=lax.Precision.HIGHEST).max(axis=1)
        total = jnp.sum(jnp.square(jnp.sum(queued, axis=0)))
        return {
            "queue_top1": jnp.mean(jnp.sum(query * key, axis=1) > best),
            "queue_diversity": 1 - (total - queue_size) / (queue_size * (queue_size - 1)),
            "queue_age": jnp.asarray(progress.step - state["queue_step"].min(), dtype) / turn,
            **teacher_signals(params, outputs, state, progress),
        }

    @jax.jit
    def key_drift(state, batch, key):
        again, _ = encode_keys(state["teacher"], state["teacher_stats"], batch, 1, key, None)
        start = state["queue_pointer"] + (batch_size if symmetric else 0)  # the keys of view 0 come first
        queued = lax.dynamic_slice_in_dim(state["queue"], start, batch_size)
        return 1 - jnp.mean(jnp.sum(normalise(again) * queued, axis=1))

    def between(params, state, past):
        # What the batch that is next to leave the queue would give today, with the groups that it had then.
        then = int(state["queue_step"][state["queue_pointer"]])
        return {} if then < 0 else {"key_drift": key_drift(state, *past(then))}

    return Method(
        init=init,
        views=image.two_views(config),
        embed=embed,
        objective=objective,
        encode=networks.encode(make, image.image_inputs(config)),
        after_update=after_update,
        adopt=teacher.adopt,
        signals=signals,
        between=between,
        describe=lambda batch_size: {"negatives": f"{queue_size:,} for each anchor"},
    )
