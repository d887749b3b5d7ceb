"""Context encoders (Pathak et al. 2016, arXiv 1604.07379): a part of the image is hidden, and predicted from the rest.

The loss is the squared error of what was hidden, and of a ring around it that counts more; and, where `adversarial` is
not 0, how well the prediction deceives a discriminator, section 3.2. The discriminator trains in the same step: each
term has the gradient of its own network alone, and `config.optim.groups.discriminator` has its learning rate. In the
official code, too, both learn from one forward pass of the discriminator.
Official code: pathak22/context-encoder, train.lua and train_random.lua.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ssl_jax import losses
from ssl_jax.augment import masks
from ssl_jax.methods.api import Method, matrices_and_vectors
from ssl_jax.methods.parts import holes, image, networks, patches, quality
from ssl_jax.methods.parts.precision import compute_dtype
from ssl_jax.models.encoder_decoder import CodeDecoder, Encoder, MapDecoder

LARGEST_PICTURE = 8  # examples of the report


def build(config) -> Method:
    """Inpainting from `config.model` (an encoder, its `decoder` and a `discriminator`), and `config.method`.

    `config.method`: `mask`, "centre" (a hole of `hole` pixels), "blocks" (`blocks` squares that hide at most
    `share[1]`) or "regions" (shapes that hide a part in the range `share`, from noise of `resolution` cells a pixel);
    `fill`, the colour in its place, in [0, 1]; `overlap`, the width of the ring; `overlap_weight` and `elsewhere`, how
    much the ring and all other pixels count where hidden ones count 1; `adversarial`, the share of that loss.
    `config.model.decoder`: `layer`, the encoder's map that it begins with, or "" for its output, a code; `channels`;
    `side`, of the square in the middle of the image that is predicted. `config.model.discriminator`: `channels`.

    Raises:
      ValueError: an unknown mask, a hole or share that hides nothing or all, a side that does not hold what is hidden
        or does not fit the decoder, a weight below 0, an adversarial share outside of [0, 1).
    """
    method, decoder, size, std = config.method, config.model.decoder, config.augment.size, config.augment.std
    holes.check(config)
    mean, deviation = image.mean_and_std(config)
    hide, channels, adversarial = holes.hiding(method, size), mean.size, method.adversarial
    dtype, one_view, to_pixels = compute_dtype(config), image.one_view(config), image.to_pixels(config)
    fill = np.broadcast_to(method.fill if channels == len(method.fill) else np.mean(method.fill), channels)
    fill = ((fill - mean) / deviation)[None]

    def decode(norm):
        kind = MapDecoder if decoder.layer else CodeDecoder
        return kind(tuple(decoder.channels), decoder.side, channels, norm=norm, dtype=dtype)

    def judge(norm):
        return Encoder(tuple(config.model.discriminator.channels), 1, norm=norm, dtype=dtype)

    make = networks.make_networks(config, decoder=decode, **({"discriminator": judge} if adversarial else {}))
    encode, inner = networks.encode(make, image.image_inputs(config)), {"layer": decoder.layer or None}

    def views(key, example):
        view_key, mask_key = jax.random.split(key)
        return one_view(view_key, example) | {"hidden": hide(mask_key)}

    def middle(x):
        start = (size - decoder.side) // 2
        return x[:, start : start + decoder.side, start : start + decoder.side]

    def context(batch):
        images = batch["view_0"]
        return jnp.where(batch["hidden"][..., None], jnp.asarray(fill, images.dtype), images)

    def init(key, batch):
        variables, x = {}, context(batch)
        for own_key, (name, network) in zip(jax.random.split(key, 3), make().items(), strict=False):
            own = inner if name == "encoder" else {}
            variables[name] = network.init(own_key, x, train=True)
            x = network.apply(variables[name], x, **own)
        params = {name: found["params"] for name, found in variables.items()}
        return params, {"batch_stats": {name: found.get("batch_stats", {}) for name, found in variables.items()}}

    def embed(params, state, batch, key, progress, axis_name, train=True):
        modules, stats = make(axis_name, len(batch["index"])), dict(state["batch_stats"])

        def run(name, x, weights=None, **options):
            weights = params[name] if weights is None else weights
            out, new = networks.run(modules[name], weights, stats.get(name, {}), x, train=train, **options)
            # What a norm subtracts first is no more than rounding, and must not carry the gradient of an adversary.
            return out, stats | {name: lax.stop_gradient(new)}

        keys = networks.example_keys(key, batch["index"], 0)
        code, stats = run("encoder", context(batch), keys=keys, **inner)
        prediction, stats = run("decoder", code)
        target, hidden = middle(batch["view_0"]), middle(batch["hidden"])
        outputs = {"prediction": prediction, "target": target, "hidden": hidden, "features": pooled(code)}
        if adversarial:
            fixed = jax.tree.map(lax.stop_gradient, params["discriminator"])
            outputs["real"], stats = run("discriminator", target)
            outputs["deceiving"], _ = run("discriminator", prediction, fixed)
            outputs["fake"], stats = run("discriminator", lax.stop_gradient(prediction))
        return outputs, {**state, "batch_stats": stats}

    def objective(params, outputs, state, progress, axis_name):
        prediction, target, hidden = (outputs[name] for name in ("prediction", "target", "hidden"))
        ring = jnp.where(masks.grown(hidden, method.overlap), method.overlap_weight, method.elsewhere)
        loss = losses.weighted_reconstruction(prediction, target, jnp.where(hidden, 1, ring), axis_name=axis_name)
        metrics = {"reconstruction": loss} | quality.of_filling(prediction, target, hidden, std, axis_name)
        if adversarial:
            deceive = losses.adversarial_generator(outputs["deceiving"], axis_name=axis_name)
            tell = losses.adversarial_discriminator(outputs["real"], outputs["fake"], axis_name=axis_name)
            metrics |= {"generator": deceive, "discriminator": tell}
            loss = (1 - adversarial) * loss + adversarial * deceive + tell
        return loss, state, metrics

    def groups(params):
        """The usual groups, and one of all that the discriminator has."""
        named = matrices_and_vectors(params)
        judge = (
            {"discriminator": jax.tree.map(lambda _: "discriminator", params["discriminator"])} if adversarial else {}
        )
        return named | judge

    def baselines(batch, outputs):
        """What the smoothest filling and the mean colour of the visible pixels reach."""
        found = {
            name: quality.of_filling(middle(filled), outputs["target"], outputs["hidden"], std)
            for name, filled in holes.fillings(batch["view_0"], batch["hidden"]).items()
        }
        return {f"{metric} of {name}": value for name, row in found.items() for metric, value in row.items()}

    def pictures(params, state, batch, key):
        """A row an example: the context, the mask, harmonic filling, the prediction in its place, the image."""
        batch = {name: rows[:LARGEST_PICTURE] for name, rows in batch.items()}
        outputs, _ = embed(params, state, batch, key, None, None, train=False)
        images, margin = batch["view_0"], (size - decoder.side) // 2
        predicted = jnp.pad(outputs["prediction"], ((0, 0), (margin, margin), (margin, margin), (0, 0)))
        pasted = jnp.where(batch["hidden"][..., None], predicted, images)
        mask = jnp.broadcast_to(jnp.uint8(255 * batch["hidden"][..., None]), (*batch["hidden"].shape, 3))
        shown = map(to_pixels, (holes.fillings(images, batch["hidden"])["harmonic filling"], pasted, images))
        return {"inpainting": patches.sheet(to_pixels(context(batch)), mask, *shown)}

    return Method(
        init=init, views=views, embed=embed, objective=objective, encode=encode, groups=groups, baselines=baselines,
        describe=lambda batch_size: {"hidden": f"{method.mask} of {size} x {size} pixels, {decoder.side} predicted"},
        pictures=pictures,
    )  # fmt: skip


def pooled(code):
    """A code `[b, D]` as it is; a map `[b, h, w, C]` averaged over its places."""
    return code if code.ndim == 2 else code.mean((1, 2), dtype=jnp.promote_types(code.dtype, jnp.float32))
