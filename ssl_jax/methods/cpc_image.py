"""CPC for images (van den Oord et al. 2018, arXiv 1807.03748, section 3.2; Henaff et al. 2020, arXiv 1905.09272).

An image is a grid of overlapping patches that pass the encoder one by one. From the rows above, masked convolutions
predict the features of patches some rows below, told from those of all patches of all images by InfoNCE. The second
version predicts in four directions, compares 64 values of each patch, and augments every patch by itself. Batch norm is
refused: its statistics would tell a patch of the others. What is predicted are features, not pixels. No official code.
"""

import jax
import jax.numpy as jnp

from ssl_jax import losses, models
from ssl_jax.augment.colour import to_greyscale
from ssl_jax.augment.patches import drop_colours, overlapping_grid
from ssl_jax.methods.api import Method
from ssl_jax.methods.parts import image, patches
from ssl_jax.methods.parts.precision import compute_dtype
from ssl_jax.models.masked_context import MaskedContext, grid_rotated
from ssl_jax.models.norm import MapNorm, NoNorm
from ssl_jax.models.transformer import Dense

LARGEST_PICTURE = 8  # images of the report
NORMS = {"layer": MapNorm, "none": NoNorm}  # of the encoder


def build(config) -> Method:
    """CPC from `config.model` (an encoder, `context` of masked convolutions) and `config.method`.

    `config.method`: `patch` and `stride` in pixels of the view; `ignore`, how many rows right below are not predicted,
    and `steps`, how many after them; `directions`, 1 (downwards) or 4; `scale` of the predictions; `flip_patches` and
    `colour_drop`, probabilities of a patch. `config.model.norm`: "layer" or "none"; `.context`: `targets`, `hidden`,
    `layers`. Where `config.augment.greyscale_probability` is 1, `encode` sees grey images too.

    Raises:
      ValueError: batch norm, patches that do not fill the view, too few rows, or a number of directions.
    """
    model, method, dtype = config.model, config.method, compute_dtype(config)
    side = (config.augment.size - method.patch) // method.stride + 1
    _check(config, side)
    encoder = models.build(model, norm=NORMS[model.norm], dtype=dtype)
    context = MaskedContext(method.steps, **model.context.to_dict(), dtype=dtype)
    target = Dense(model.context.targets, dtype=dtype, param_dtype=jnp.promote_types(dtype, jnp.float32))
    one_view, prepare, to_pixels = image.one_view(config), image.image_inputs(config), image.to_pixels(config)
    colours = _greyscale(config) if config.augment.greyscale_probability == 1 else lambda picture: picture
    names = tuple(f"direction_{quarters}" for quarters in range(method.directions))

    def cut(view):
        return overlapping_grid(view, method.patch, method.stride)

    def augmented(key, patch):
        flip_key, drop_key, colour_key = jax.random.split(key, 3)
        flips = jax.random.uniform(flip_key, (), jnp.float32) < method.flip_patches
        patch = jnp.where(flips, patch[:, ::-1], patch)
        if not method.colour_drop:
            return patch
        drops = jax.random.uniform(drop_key, (), jnp.float32) < method.colour_drop
        return jnp.where(drops, drop_colours(colour_key, patch, "gaussian"), patch)

    def views(key, example):
        view_key, patch_key = jax.random.split(key)
        grid = cut(one_view(view_key, example)["view_0"])
        keys = jax.random.split(patch_key, (side, side))
        return {"view_0": jax.vmap(jax.vmap(augmented))(keys, grid), "index": example["index"]}

    def by_patch(params, grid, layer=None):
        """Features `[b, n, n, ...]` of patches `[b, n, n, p, p, C]`."""
        found = encoder.apply({"params": params}, grid.reshape(-1, *grid.shape[3:]), train=False, layer=layer)
        return found.reshape(*grid.shape[:3], *found.shape[1:])

    def init(key, batch):
        grid = batch["view_0"]
        keys = jax.random.split(key, 2 + method.directions)
        made = encoder.init(keys[0], grid[:, 0, 0], train=False)["params"]
        features = by_patch(made, grid[:1])
        params = {"encoder": made, "target": target.init(keys[1], features)["params"]}
        heads = zip(names, keys[2:], strict=True)
        return params | {name: context.init(own, features)["params"] for name, own in heads}, {}

    def embed(params, state, batch, key, progress, axis_name, train=True):
        features = by_patch(params["encoder"], batch["view_0"])
        found = [
            context.apply({"params": params[name]}, grid_rotated(features, quarters))
            for quarters, name in enumerate(names)
        ]
        outputs = {"prediction": jnp.stack(found, axis=1), "features": features.mean((1, 2))}
        return outputs | {"target": target.apply({"params": params["target"]}, features)}, state

    def terms(outputs, axis_name):
        """The terms of every direction: the columns of a grid are sequences, padded below by rows that do not count."""
        ahead = method.ignore + method.steps
        valid = jnp.arange(side + ahead) < side
        found = []
        for quarters in range(method.directions):
            frames = columns(grid_rotated(outputs["target"], quarters))
            predicted = jnp.moveaxis(outputs["prediction"][:, quarters], 3, 1)  # [b, w, K, h, D]
            predicted = predicted.reshape(-1, *predicted.shape[2:])
            frames = jnp.pad(frames, ((0, 0), (0, ahead), (0, 0)))
            real = jnp.broadcast_to(valid, frames.shape[:2])
            options = {"first": method.ignore + 1, "scale": method.scale, "axis_name": axis_name}
            found.append(losses.cpc_terms(predicted, frames, real, **options))
        return jax.tree.map(lambda *values: sum(values) / len(values), *found)

    def objective(params, outputs, state, progress, axis_name):
        found = terms(outputs, axis_name)
        metrics = {f"accuracy_{method.ignore + 1 + k}": found["accuracy"][k] for k in range(method.steps)}
        metrics["chance_loss"] = jnp.mean(found["chance_loss"])
        return jnp.mean(found["loss"]), state, metrics

    def baselines(batch, outputs):
        """The loss and the accuracies of a guess."""
        found = terms(outputs, None)
        names = [f"accuracy_{method.ignore + 1 + k}" for k in range(method.steps)]
        return {"loss": jnp.mean(found["chance_loss"])} | dict(zip(names, found["chance_accuracy"], strict=True))

    def encode(params, state, inputs, layer=None, keys=None):
        grid = jax.vmap(lambda picture: cut(colours(picture)))(prepare(inputs))
        if layer == "grid":
            return by_patch(params["encoder"], grid)
        found = by_patch(params["encoder"], grid, layer)
        return found if layer else found.mean((1, 2))

    def pictures(params, state, batch, key):
        """A row an image: a patch of the first row, the true one below it, and the one that the network picks.

        Latents are predicted, not pixels: what is shown is the candidate whose latent is nearest.
        """
        batch = {name: rows[:LARGEST_PICTURE] for name, rows in batch.items()}
        outputs, _ = embed(params, state, batch, key, None, None, train=False)
        grid, column = batch["view_0"], side // 2
        candidates = outputs["target"].reshape(-1, outputs["target"].shape[-1])
        picked = jnp.argmax(outputs["prediction"][:, 0, 0, 0, column] @ candidates.T, axis=1)
        chosen = grid.reshape(-1, *grid.shape[3:])[picked]
        shown = grid[:, 0, column], grid[:, method.ignore + 1, column], chosen
        return {"next_patch": patches.sheet(*(to_pixels(x) for x in shown))}

    def describe(batch_size):
        count = batch_size * side * side - 1
        return {"negatives": f"{count:,} patches: all others of {batch_size} images of {side} x {side}"}

    return Method(
        init=init, views=views, embed=embed, objective=objective, encode=encode, baselines=baselines,
        describe=describe, pictures=pictures,
    )  # fmt: skip


def columns(grid):
    """The columns of grids `[b, h, w, D]` as sequences `[b w, h, D]`, from the top down."""
    return jnp.moveaxis(grid, 2, 1).reshape(-1, grid.shape[1], grid.shape[3])


def _greyscale(config):
    """`[H, W, 3] -> [H, W, 3]`: a normalised image without its colours."""
    if config.augment.mean is None:
        return to_greyscale

    def grey(picture):
        mean, std = (jnp.asarray(value, picture.dtype) for value in image.mean_and_std(config))
        return (to_greyscale(picture * std + mean) - mean) / std

    return grey


def _check(config, side: int) -> None:
    """Refuses what `build` says."""
    model, method, size = config.model, config.method, config.augment.size
    if model.norm not in NORMS:
        raise ValueError(
            f"config.model.norm is {model.norm!r}; expected 'layer' or 'none': statistics of a batch would tell a "
            "patch of the others, and the task would be solved by them"
        )
    if method.patch > size or (size - method.patch) % method.stride:
        raise ValueError(
            f"config.method.patch is {method.patch} and .stride {method.stride}, which do not fill views of "
            f"config.augment.size={size} pixels; expected (size - patch) to be a multiple of the stride"
        )
    if not 1 <= method.steps or method.ignore < 0 or method.ignore + method.steps >= side:
        raise ValueError(
            f"config.method.ignore is {method.ignore} and .steps {method.steps}, but the grid has {side} rows; "
            "expected at least one step, and fewer rows ahead than there are"
        )
    if method.directions not in (1, 4):
        raise ValueError(f"config.method.directions is {method.directions}; expected 1 or 4")
