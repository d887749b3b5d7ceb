"""Rotation prediction (Gidaris et al. 2018, arXiv 1803.07728): by which angle has this image been rotated?

Every image is augmented once and rotated by all angles of a set; the network tells the angle of each copy, as one of K
classes (eq. 2 and 3). To do that it must know how the things in an image usually stand. Multiples of 90 degrees leave
no trace of resampling that would give them away. The paper evaluates inner layers: on CIFAR-10 the second block of NIN.
Official code: gidariss/FeatureLearningRotNet, dataloader.py, architectures/ and algorithms/.
"""

import math

import jax
import jax.numpy as jnp

from ssl_jax import losses
from ssl_jax.augment.rotation import rotate
from ssl_jax.methods.api import Method
from ssl_jax.methods.parts import image, networks
from ssl_jax.models.norm import contiguous_groups

SETS = {"4": (0, 90, 180, 270), "2": (0, 180), "2_sideways": (90, 270), "8": tuple(range(0, 360, 45))}
LARGEST_PICTURE = 8  # images of the report's attention maps


def build(config) -> Method:
    """Rotation from `config.model` (an encoder and its `head`), `config.augment` and `config.method`.

    `config.method`: `angles`, a key of `SETS`; `copies`, "all" (every image by all angles, as published) or "one" (by a
    random one); `layer`, the inner layer that `encode` gives where none is asked for, "" for the encoder's output, and
    `grid`, to how many places on a side its map is max-pooled.

    Raises:
      ValueError: an unknown set of angles, or kind of copies.
    """
    make, method = networks.make_networks(config, "head"), config.method
    if method.angles not in SETS:
        raise ValueError(f"config.method.angles is {method.angles!r}; expected one of {', '.join(SETS)}")
    if method.copies not in ("all", "one"):
        raise ValueError(f"config.method.copies is {method.copies!r}; expected 'all' or 'one'")
    angles, norm_groups = SETS[method.angles], networks.norm_groups(config)
    every, inner, grid = method.copies == "all", method.layer, method.grid
    one_view, prepare = image.one_view(config), image.image_inputs(config)

    def views(key, example):
        view_key, angle_key = jax.random.split(key)
        view = one_view(view_key, example)["view_0"]
        if every:
            copies, target = jnp.stack([rotate(view, angle) for angle in angles]), jnp.arange(len(angles))
        else:
            target = jax.random.randint(angle_key, (1,), 0, len(angles))
            turns = [lambda view, angle=angle: rotate(view, angle) for angle in angles]
            copies = jax.lax.switch(target[0], turns, view)[None]
        return {"view_0": copies, "target": target, "index": example["index"]}

    def init(key, batch):
        params, stats = networks.init(make(), key, fold(batch["view_0"]))
        return params, {"batch_stats": stats}

    def embed(params, state, batch, key, progress, axis_name, train=True):
        b, copies = batch["view_0"].shape[:2]
        groups = jnp.repeat(contiguous_groups(b, norm_groups(b, axis_name, train), axis_name), copies)
        keys = [networks.example_keys(key, batch["index"], copy) for copy in range(copies)]
        keys = fold(jnp.stack(keys, axis=1))
        out, stats = networks.forward(
            make(axis_name, b), params, state["batch_stats"], fold(batch["view_0"]),
            keys=keys, group_ids=groups, train=train,
        )  # fmt: skip
        outputs = {"logits": unfold(out["head"], b), "target": batch["target"]}
        return outputs | {"features": unfold(out["encoder"], b)[:, 0]}, {**state, "batch_stats": stats}

    def objective(params, outputs, state, progress, axis_name):
        logits, target = outputs["logits"], outputs["target"]
        loss = losses.cross_entropy(logits, target, axis_name=axis_name)
        metrics = {
            "rotation_top1": jnp.mean(jnp.argmax(logits, axis=-1) == target),
            "chance_loss": jnp.asarray(math.log(len(angles)), loss.dtype),
        }
        return loss, state, metrics

    encode_layer = networks.encode(make, prepare)

    def encode(params, state, inputs, layer=None, keys=None):
        if layer is None and inner:
            return max_pooled(encode_layer(params, state, inputs, inner, keys), grid)
        return encode_layer(params, state, inputs, layer, keys)

    def pictures(params, state, batch, key):
        """Attention maps, the sum of |features|^p over channels: p is 1, 2, then 4 from the first inner layer on."""
        images = batch["view_0"][:LARGEST_PICTURE, 0]
        encoder = make()["encoder"]
        variables = {"params": params["encoder"], "batch_stats": state["batch_stats"].get("encoder", {})}
        rows = [jnp.concatenate(list(as_picture(images)), axis=1)]
        for number, name in enumerate(encoder.layers):
            found = encoder.apply(variables, images, train=False, layer=name)
            maps = attention(found, (1, 2, 4)[min(number, 2)])
            maps = jax.image.resize(maps, (*images.shape[:3], 1), "nearest")
            rows.append(jnp.concatenate(list(as_picture(jnp.repeat(maps, 3, axis=-1))), axis=1))
        return {"attention": jnp.concatenate(rows)}

    return Method(
        init=init,
        views=views,
        embed=embed,
        objective=objective,
        encode=encode,
        describe=lambda batch_size: {"angles": f"{', '.join(map(str, angles))}; {'all' if every else 'one'} an image"},
        pictures=pictures,
        separable=True,
    )


def fold(x):
    """Copies of examples as examples: `[b, V, ...]` as `[b V, ...]`."""
    return x.reshape(-1, *x.shape[2:])


def unfold(x, b: int):
    """The inverse of `fold`."""
    return x.reshape(b, -1, *x.shape[1:])


def max_pooled(maps, grid: int):
    """Adaptive max-pooling of maps `[B, h, w, C]` to at most `grid` x `grid` places, as features `[B, F]`.

    >>> max_pooled(jnp.arange(16.0).reshape(1, 4, 4, 1), 2).tolist()
    [[5.0, 7.0, 13.0, 15.0]]
    """
    b, h, w, c = maps.shape

    def parts(length):
        count = min(grid, length)
        return [(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]

    pooled = [maps[:, top:bottom, left:right].max((1, 2)) for top, bottom in parts(h) for left, right in parts(w)]
    return jnp.stack(pooled, axis=1).reshape(b, -1).astype(jnp.promote_types(maps.dtype, jnp.float32))


def attention(maps, power: int):
    """Where a layer is active: `sum_c |F_c|^p` of maps `[B, h, w, C]`, scaled to [0, 1], `[B, h, w, 1]`."""
    found = jnp.sum(jnp.abs(maps) ** power, axis=-1, keepdims=True)
    return found / jnp.maximum(found.max((1, 2, 3), keepdims=True), 1e-30)


def as_picture(images):
    """Images of any range as uint8 `[B, H, W, 3]`, each stretched to its own minimum and maximum."""
    low, high = (bound(images, axis=(1, 2, 3), keepdims=True) for bound in (jnp.min, jnp.max))
    images = (images - low) / jnp.maximum(high - low, 1e-6)
    return jnp.broadcast_to(jnp.uint8(255 * images + 0.5), (*images.shape[:3], 3))
