"""What methods share that cut an image into a grid of patches: the patches, and a network that sees them one by one.

Context prediction and jigsaw: each patch passes the encoder by itself, and a head sees the features of several ("late
fusion").
"""

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.augment import patches
from ssl_jax.methods.parts import image, networks
from ssl_jax.models.norm import contiguous_groups

COLOURS = ("keep", "drop_gaussian", "drop_uniform", "project")
NORMALISE = ("none", "mean", "standardise", "contrast")


def cutter(config):
    """`(key, example) -> patches [n, p, p, C]` of the view that `config.augment` makes, and `prepare` for `encode`.

    `config.method`: `grid`, patches on a side; `patch`, `gap` and `jitter`, in pixels of the view;
    `pixelate_probability` and `least_pixels`, see `patches.pixelate`; `colours`, "keep", "drop_gaussian" (the paper),
    "drop_uniform" (the code) or "project"; `normalise`: "none", "mean" (each patch has the mean of each channel
    subtracted), "standardise" (and is divided by its standard deviation, one below a grey level counting as that) or
    "contrast" (and is scaled to a root mean square of 50). `prepare` does to whole images what is not random:
    projection and normalisation.

    Raises:
      ValueError: an unknown treatment of colours or normalisation, or a grid that does not fit into the view.
    """
    method, size, std = config.method, config.augment.size, config.augment.std
    place = {name: method[name] for name in ("grid", "patch", "gap", "jitter")}
    for name, choices in (("colours", COLOURS), ("normalise", NORMALISE)):
        if method[name] not in choices:
            raise ValueError(f"config.method.{name} is {method[name]!r}; expected one of {', '.join(choices)}")
    if patches.extent(**place) > size or min(place.values()) < 0 or method.grid < 2 or not method.patch:
        raise ValueError(
            f"config.method has a grid of {method.grid} x {method.grid} patches of {method.patch} pixels, gaps of "
            f"{method.gap} and a jitter of {method.jitter}: {patches.extent(**place)} pixels on a side, but views have "
            f"config.augment.size = {size}; expected 2 or more patches that fit"
        )
    one_view, prepare_images = image.one_view(config), image.image_inputs(config)
    level = 1 / 255 if std is None else 1 / (255 * float(np.mean(std)))  # a grey level in the values of the views

    def finish(patch):
        patch = patches.project_colours(patch) if method.colours == "project" else patch
        if method.normalise == "standardise":
            return patch / jnp.maximum(jnp.std(patch, axis=(0, 1), keepdims=True), level)
        return patches.unit_contrast(patch) if method.normalise == "contrast" else patch

    def centre(patch):
        return patches.centred(patch) if method.normalise != "none" else patch

    def treat(key, patch):
        pixel_key, colour_key = jax.random.split(key)
        if method.pixelate_probability:
            options = {"probability": method.pixelate_probability, "least": method.least_pixels}
            patch = patches.pixelate(pixel_key, patch, **options)
        patch = centre(patch)
        if method.colours.startswith("drop"):
            patch = patches.drop_colours(colour_key, patch, method.colours.removeprefix("drop_"), level=level)
        return finish(patch)

    def cut(key, example):
        view_key, grid_key, patch_key = jax.random.split(key, 3)
        found = patches.sample_grid(grid_key, one_view(view_key, example)["view_0"], **place)
        return jax.vmap(treat)(jax.random.split(patch_key, len(found)), found)

    return cut, lambda inputs: jax.vmap(lambda x: finish(centre(x)))(prepare_images(inputs))


def late_fusion(config, make, fuse):
    """`Method.init` and `Method.embed` of an encoder for each patch, and a head for what `fuse` makes of features.

    `fuse(features [b, n, F], batch) -> [b, P, G]`: P inputs of the head for each example. Outputs are the head's
    `logits` `[b, P, K]`, the batch's `target`, and the mean of the patches' `features`.
    """
    norm_groups = networks.norm_groups(config)

    def init(key, batch):
        encoder_key, head_key = jax.random.split(key)
        modules, images = make(), batch["view_0"]
        features, encoder = modules["encoder"].init_with_output(encoder_key, _fold(images), train=True)
        fused = fuse(features.reshape(*images.shape[:2], -1), batch)
        found = {"encoder": encoder, "head": modules["head"].init(head_key, _fold(fused), train=True)}
        params = {name: variables["params"] for name, variables in found.items()}
        return params, {"batch_stats": {name: v.get("batch_stats", {}) for name, v in found.items()}}

    def embed(params, state, batch, key, progress, axis_name, train=True):
        b, modules, stats = len(batch["index"]), make(axis_name, len(batch["index"])), dict(state["batch_stats"])
        groups = contiguous_groups(b, norm_groups(b, axis_name, train), axis_name)

        def apply(name, x, first):
            """A network on x `[b, m, ...]`, whose rows have batch norm's group of their example and their own key."""
            m = x.shape[1]
            keys = jnp.stack([networks.example_keys(key, batch["index"], first + i) for i in range(m)], axis=1)
            y, stats[name] = networks.run(
                modules[name], params[name], stats.get(name, {}), _fold(x), train=train, keys=_fold(keys),
                group_ids=jnp.repeat(groups, m),
            )  # fmt: skip
            return y.reshape(b, m, -1)

        features = apply("encoder", batch["view_0"], 0)
        logits = apply("head", fuse(features, batch), features.shape[1])
        outputs = {"logits": logits, "target": batch["target"], "features": features.mean(axis=1)}
        return outputs, {**state, "batch_stats": stats}

    return init, embed


def encoder(config, make, prepare):
    """`Method.encode` of whole images: the mean over places of `config.method.layer` where no layer is asked for."""
    encode_layer = networks.encode(make, prepare)

    def encode(params, state, inputs, layer=None, keys=None):
        features = encode_layer(params, state, inputs, layer or config.method.layer or None, keys)
        if layer is None and features.ndim == 4:
            return jnp.mean(features, axis=(1, 2), dtype=jnp.promote_types(features.dtype, jnp.float32))
        return features

    return encode


def shown(config):
    """`patches [b, n, p, p, C] -> uint8 [b, grid p, grid p, 3]`: grids of patches as pictures, a line between them."""
    to_pixels, grid, normalise = image.to_pixels(config), config.method.grid, config.method.normalise
    bytes_of = {"contrast": 1, "standardise": patches.CONTRAST}
    byte = bytes_of.get(normalise, 255 if config.augment.std is None else 255 * np.mean(config.augment.std))

    def make(found):
        b, n, p = found.shape[:3]
        x = _fold(found)
        # What has no mean of its own is shown around grey.
        x = to_pixels(x) if normalise == "none" else np.uint8(np.clip(byte * np.asarray(x) + 128, 0, 255))
        x = np.broadcast_to(x, (*x.shape[:3], 3))
        x = np.pad(np.asarray(x), [(0, 0), (0, 1), (0, 1), (0, 0)], constant_values=255)
        x = x.reshape(b, grid, grid, p + 1, p + 1, 3).transpose(0, 1, 3, 2, 4, 5)
        return x.reshape(b, grid * (p + 1), grid * (p + 1), 3)

    return make


def _fold(x):
    """Copies of examples as examples: `[b, m, ...]` as `[b m, ...]`."""
    return x.reshape(-1, *x.shape[2:])
