"""SimMIM (Xie et al. 2022, arXiv 2111.09886): large squares of an image are masked, and their pixels are predicted.

Unlike MAE's, the encoder sees all places: a learned mask token stands for the masked patches, and one linear layer on
the encoder's tokens predicts pixels, which are normalised like the input. The loss is the absolute error of the masked
ones, equation 1. Official code: microsoft/SimMIM, models/simmim.py, data/data_simmim.py.
"""

import math

import jax
import jax.numpy as jnp

from ssl_jax import losses
from ssl_jax.methods.api import Method, matrices_and_vectors
from ssl_jax.methods.parts import image, networks, patches
from ssl_jax.methods.parts.precision import wide_dtype
from ssl_jax.models.initializers import DENSE_INITS
from ssl_jax.models.transformer import Dense

LARGEST_PICTURE = 8  # examples of the report
UNDECAYED = ("class_token", "position_embedding")  # `no_weight_decay` of the official code, beside biases and norms


def build(config) -> Method:
    """SimMIM from `config.model` (a vision transformer) and `config.method`.

    `config.method`: `mask_patch_size`, the side in pixels of the squares that are masked, a multiple of the encoder's
    `patch_size`; `mask_ratio`, the share of them that is masked, rounded up to whole squares.

    Raises:
      ValueError: an encoder without patches, squares that do not fit, a ratio that masks no square or all.
    """
    model, method, size = config.model, config.method, config.augment.size
    if model.name != "vit":
        raise ValueError(f"config.model.name of simmim is {model.name!r}, not 'vit'; start from configs/simmim.py")
    patch, square = model.patch_size, method.mask_patch_size
    if square < 1 or square % patch or size % square:
        raise ValueError(
            f"config.method.mask_patch_size is {square}; expected a multiple of config.model.patch_size={patch} that "
            f"divides config.augment.size={size}"
        )
    across, factor, side = size // square, square // patch, size // patch
    count = across * across
    hidden = math.ceil(count * method.mask_ratio)
    if not 0 < method.mask_ratio < 1 or not 0 < hidden < count:
        raise ValueError(
            f"config.method.mask_ratio is {method.mask_ratio} of {count} squares of {square} pixels; expected a ratio "
            "in (0, 1) that masks some and leaves some"
        )
    make, views = networks.make_networks(config), image.one_view(config)
    prepare, to_pixels = image.image_inputs(config), image.to_pixels(config)

    def head(images, tokens):
        wide, torch = wide_dtype(config), DENSE_INITS["torch"]
        return Dense(
            patch * patch * images.shape[-1], kernel_init=torch["kernel_init"],
            bias_init=torch["bias_init"](tokens.shape[-1]), dtype=wide, param_dtype=wide,
        )  # fmt: skip

    def init(key, batch):
        images = batch["view_0"]
        encoder_key, head_key = jax.random.split(key)
        masked = jnp.zeros((len(images), side * side), bool)
        tokens, variables = make()["encoder"].init_with_output(encoder_key, images, masked=masked, layer="tokens")
        found = head(images, tokens).init(head_key, tokens)
        return {"encoder": variables["params"], "head": found["params"]}, {}

    def embed(params, state, batch, key, progress, axis_name, train=True):
        images = batch["view_0"]
        keys = networks.example_keys(key, batch["index"], 0)
        order = patches.shuffled(jax.vmap(jax.random.fold_in, (0, None))(keys, 0), count)
        masked = patches.upsampled(patches.rank(order) < hidden, across, across, factor)
        tokens, _ = networks.run(
            make(axis_name, len(images))["encoder"], params["encoder"], {}, images, train=train,
            keys=jax.vmap(jax.random.fold_in, (0, None))(keys, 1), masked=masked, layer="tokens",
        )  # fmt: skip
        of_patches = tokens[:, int(model.class_token) :]
        prediction = head(images, tokens).apply({"params": params["head"]}, of_patches)
        features = tokens[:, 0] if model.pool == "class" else of_patches.mean(axis=1)
        target = patches.patchify(images, patch)
        return {"prediction": prediction, "target": target, "masked": masked, "features": features}, state

    def error(prediction, outputs, axis_name=None):
        return losses.masked_reconstruction(
            prediction, outputs["target"], outputs["masked"], error="absolute", axis_name=axis_name
        )

    def objective(params, outputs, state, progress, axis_name):
        return error(outputs["prediction"], outputs, axis_name), state, {}

    def baselines(batch, outputs):
        """The loss of trivial predictions: the data's mean colour, that of the visible pixels, harmonic filling."""
        images = batch["view_0"]
        holes = patches.upsampled(outputs["masked"], side, side, patch).reshape(len(images), size, size)
        found = {
            "zero": jnp.zeros_like(images),
            "visible mean": jnp.broadcast_to(patches.visible_mean(images, holes), images.shape),
            "harmonic filling": patches.harmonic(images, holes, hole=square),
        }
        return {f"loss of {name}": error(patches.patchify(filled, patch), outputs) for name, filled in found.items()}

    def pictures(params, state, batch, key):
        """A row an example: the image with its masked squares, the reconstruction, the image."""
        batch = {name: rows[:LARGEST_PICTURE] for name, rows in batch.items()}
        outputs, _ = embed(params, state, batch, key, None, None, train=False)
        shown = patches.reconstructions(batch["view_0"], outputs["prediction"], outputs["masked"], patch)
        return {"reconstruction": patches.sheet(*map(to_pixels, shown))}

    def groups(params):
        names = matrices_and_vectors(params)
        spared = {name: "vectors" for name in UNDECAYED if name in params["encoder"]}
        return names | {"encoder": names["encoder"] | spared}

    return Method(
        init=init,
        views=views,
        embed=embed,
        objective=objective,
        encode=networks.encode(make, prepare),
        groups=groups,
        baselines=baselines,
        describe=lambda batch_size: {"squares": f"{count} of {square} x {square} pixels, of which {hidden} are masked"},
        pictures=pictures,
        separable=True,
    )
