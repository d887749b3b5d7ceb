"""MAE (He et al. 2022, arXiv 2111.06377): most patches are hidden, and their pixels are predicted from the others.

The encoder sees the visible quarter of the patches alone, so that it is cheap; a small decoder sees its tokens and a
learned mask token in every empty place. The loss is the squared error of the hidden patches, each normalised by its own
mean and deviation (`normalise`), section 3. Official code: facebookresearch/mae, models_mae.py.
"""

import jax
import jax.numpy as jnp

from ssl_jax import losses
from ssl_jax.methods.api import Method
from ssl_jax.methods.parts import image, networks, patches, settings
from ssl_jax.methods.parts.precision import compute_dtype
from ssl_jax.models.mask_decoder import MaskDecoder

LARGEST_PICTURE = 8  # examples of the report


def build(config) -> Method:
    """MAE from `config.model` (a vision transformer with a class token and its `decoder`), and `config.method`.

    `config.method`: `mask_ratio`, the share of patches that are hidden; `normalise`, whether targets are normalised by
    patch. `config.model.decoder`: `width`, `depth`, `heads`.

    Raises:
      ValueError: an encoder without patches or class token, a mask ratio that hides no patch or all, a decoder without
        blocks or of a width that its heads do not divide.
    """
    model, method, size = config.model, config.method, config.augment.size
    if model.name != "vit" or not model.class_token:
        raise ValueError("config.model of mae is no 'vit' with class_token=True; start from configs/mae.py")
    patch, side = model.patch_size, size // model.patch_size
    count = side * side
    kept = int(count * (1 - method.mask_ratio))
    if not 0 < method.mask_ratio < 1 or not 0 < kept < count or size % patch:
        raise ValueError(
            f"config.method.mask_ratio is {method.mask_ratio} of {count} patches ({size} pixels of augment.size, "
            f"patch_size {patch}); expected a ratio in (0, 1) that hides some patches and leaves some"
        )
    width, heads = model.decoder.width, model.decoder.heads
    settings.check(
        "config.model.decoder", model.decoder,
        width=(width > 0 and width % 4 == 0, "a multiple of 4, as sine-cosine positions need it"),
        depth=(model.decoder.depth > 0, "1 or more blocks"),
        heads=(heads > 0 and width % heads == 0, f"a number of heads that divides config.model.decoder.width={width}"),
    )  # fmt: skip
    make, views = networks.make_networks(config), image.one_view(config)
    prepare, to_pixels = image.image_inputs(config), image.to_pixels(config)

    def decoder(channels):
        return MaskDecoder(
            patch * patch * channels, **model.decoder.to_dict(), positions="sincos_mae", dtype=compute_dtype(config)
        )

    def target(images):
        found = patches.patchify(images, patch)
        mean, deviation = patches.statistics(found)
        return (found - mean) / deviation if method.normalise else found

    def init(key, batch):
        images = batch["view_0"]
        encoder_key, decoder_key = jax.random.split(key)
        order = jnp.broadcast_to(jnp.arange(count), (len(images), count))
        tokens, variables = make()["encoder"].init_with_output(
            encoder_key, images, visible=order[:, :kept], layer="tokens"
        )
        found = decoder(images.shape[-1]).init(decoder_key, tokens, order, (side, side))
        return {"encoder": variables["params"], "decoder": found["params"]}, {}

    def embed(params, state, batch, key, progress, axis_name, train=True):
        images = batch["view_0"]
        keys = networks.example_keys(key, batch["index"], 0)
        order = patches.shuffled(jax.vmap(jax.random.fold_in, (0, None))(keys, 0), count)
        places = patches.rank(order)
        encoder = make(axis_name, len(images))["encoder"]
        tokens, _ = networks.run(
            encoder, params["encoder"], {}, images, train=train,
            keys=jax.vmap(jax.random.fold_in, (0, None))(keys, 1), visible=order[:, :kept], layer="tokens",
        )  # fmt: skip
        prediction = decoder(images.shape[-1]).apply({"params": params["decoder"]}, tokens, places, (side, side))
        outputs = {"prediction": prediction, "target": target(images), "masked": places >= kept}
        features = tokens[:, 0] if model.pool == "class" else tokens[:, 1:].mean(axis=1)
        return outputs | {"features": features}, state

    def objective(params, outputs, state, progress, axis_name):
        prediction, masked = outputs["prediction"], outputs["masked"]
        loss = losses.masked_reconstruction(prediction, outputs["target"], masked, axis_name=axis_name)
        return loss, state, {}

    def baselines(batch, outputs):
        """The loss of trivial predictions: 0, which is the mean of each normalised patch, and harmonic filling."""
        images, masked, wanted = batch["view_0"], outputs["masked"], outputs["target"]
        hidden = patches.upsampled(masked, side, side, patch).reshape(len(images), size, size)
        filled = patches.harmonic(images, hidden)
        found = {"zero": jnp.zeros_like(wanted), "harmonic filling": target(filled)}
        return {
            f"loss of {name}": losses.masked_reconstruction(filling, wanted, masked) for name, filling in found.items()
        }

    def pictures(params, state, batch, key):
        """A row an example: the visible patches, the reconstruction, the image.

        Where targets are normalised, predicted patches get the mean and the deviation of the true ones.
        """
        batch = {name: rows[:LARGEST_PICTURE] for name, rows in batch.items()}
        outputs, _ = embed(params, state, batch, key, None, None, train=False)
        images, prediction = batch["view_0"], outputs["prediction"]
        if method.normalise:
            mean, deviation = patches.statistics(patches.patchify(images, patch))
            prediction = prediction * deviation + mean
        shown = patches.reconstructions(images, prediction, outputs["masked"], patch)
        return {"reconstruction": patches.sheet(*map(to_pixels, shown))}

    return Method(
        init=init,
        views=views,
        embed=embed,
        objective=objective,
        encode=networks.encode(make, prepare),
        baselines=baselines,
        describe=lambda batch_size: {"patches": f"{count}, of which the encoder sees {kept}"},
        pictures=pictures,
        separable=True,
    )
