"""Autoencoders: denoising (Vincent et al. 2010, JMLR 11) and variational (Kingma and Welling 2014, arXiv 1312.6114).

The generative baselines of learned features. A denoising one is given an image with noise and asked for the image
without; the loss is the squared error. A variational one encodes an image as a Gaussian, decodes a draw of it, and
maximises the evidence lower bound, `E log p(x | z) - beta KL(q(z | x), N(0, 1))`: beta is 1, or more for the beta-VAE
(Higgins et al. 2017). p(x | z) is a Gaussian with a learned deviation for each value of the image (one for all: Rybkin
et al. 2020, arXiv 2006.13202). Images are dequantised, so that the bound is one on the log-likelihood of their grey
levels, `bits_per_dim`; those of a view that is resampled are rounded before. Energy-based models and flows are out of
scope.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax import losses
from ssl_jax.augment.corruption import KINDS, LEVELS, corrupt, dequantise
from ssl_jax.augment.image import normal
from ssl_jax.methods.api import Method, matrices_and_vectors
from ssl_jax.methods.parts import image, networks, patches, quality, settings
from ssl_jax.methods.parts.precision import compute_dtype, wide_dtype
from ssl_jax.models.encoder_decoder import CodeDecoder, check_side

LARGEST_PICTURE = 8  # examples of the report


def build(config) -> Method:
    """An autoencoder from `config.model` (an encoder, its `decoder`, a `posterior` for the VAE) and `config.method`.

    `config.method`: `kind`, "denoising" or "vae"; `noise` and `level`, see `augment.corruption`; `beta`, the weight of
    the divergence. `config.model.decoder`: `channels`. `config.model.posterior`: a head whose output is twice as long
    as a latent code: mean and log-variance. `encode` gives the encoder's output, or the posterior's mean.

    Raises:
      ValueError: an unknown kind or noise, a level or `beta` that cannot be, a size that the decoder cannot have, a
        posterior that is not two halves.
    """
    method, size, (mean, std) = config.method, config.augment.size, image.mean_and_std(config)
    channels, dtype, variational = mean.size, compute_dtype(config), method.kind == "vae"
    settings.check("config.method", method, kind=(method.kind in ("denoising", "vae"), "'denoising' or 'vae'"))
    check_side(size, config.model.decoder.channels, "config.augment.size")
    if variational:
        pair, says = config.model.posterior, "an even number: a mean and a log-variance for each number of the code"
        settings.check("config.method", method, beta=(method.beta >= 0, "a weight from 0 on"))
        settings.check("config.model.posterior", pair, output_dim=(pair.output_dim % 2 == 0, says))
    else:
        gaussian = method.noise == "gaussian"
        says = "a deviation from 0 on" if gaussian else "the share of values that are replaced, in [0, 1)"
        settings.check(
            "config.method", method,
            noise=(method.noise in KINDS, f"one of {', '.join(KINDS)}"),
            level=(method.level >= 0 and (gaussian or method.level < 1), says),
        )  # fmt: skip
    one_view, to_pixels = image.one_view(config), image.to_pixels(config)
    doublings, values = tuple(config.model.decoder.channels), size * size * channels
    bits = float(np.mean(np.log2(LEVELS * std)))  # a value that is normalised has so many less

    def decode(norm):
        return CodeDecoder(doublings, size, channels, lambda x: x, not variational, norm, dtype)

    make = networks.make_networks(config, *(["posterior"] if variational else []), decoder=decode)

    def views(key, example):
        view_key, noise_key = jax.random.split(key)
        viewed = one_view(view_key, example)
        clean = viewed["view_0"] * std + mean
        if variational:
            return viewed | {"view_0": (dequantise(noise_key, clean) - mean) / std}
        noisy = corrupt(noise_key, clean, kind=method.noise, level=method.level)
        return viewed | {"noisy": (noisy - mean) / std}

    def init(key, batch):
        modules, variables, x = make(), {}, batch["view_0"]
        for own_key, name in zip(jax.random.split(key, len(modules)), modules, strict=True):
            x, variables[name] = modules[name].init_with_output(own_key, x, train=True)
            x = jnp.split(x, 2, axis=-1)[0] if name == "posterior" else x
        params = {name: found["params"] for name, found in variables.items()}
        if variational:
            params["likelihood"] = {"log_scale": jnp.zeros((size, size, channels), wide_dtype(config))}
        return params, {"batch_stats": {name: found.get("batch_stats", {}) for name, found in variables.items()}}

    def embed(params, state, batch, key, progress, axis_name, train=True):
        modules, stats = make(axis_name, len(batch["index"])), dict(state["batch_stats"])
        keys = [networks.example_keys(key, batch["index"], draw) for draw in range(2)]

        def run(name, x, **options):
            out, stats[name] = networks.run(modules[name], params[name], stats.get(name, {}), x, train=train, **options)
            return out

        code = run("encoder", batch["view_0" if variational else "noisy"], keys=keys[0])
        outputs = {"target": batch["view_0"], "features": code}
        if variational:
            mu, log_variance = jnp.split(run("posterior", code), 2, axis=-1)
            draw = jax.vmap(lambda key: normal(key, mu.shape[1:], mu.dtype))(keys[1])
            code = mu + jnp.exp(log_variance / 2) * draw
            outputs |= {"mu": mu, "log_variance": log_variance, "features": mu}
        return outputs | {"prediction": run("decoder", code)}, {**state, "batch_stats": stats}

    def objective(params, outputs, state, progress, axis_name):
        prediction, target = outputs["prediction"], outputs["target"]
        everywhere = jnp.ones(target.shape[:3], bool)
        errors = (prediction - target) * jnp.asarray(std, target.dtype)[None]
        metrics = {"psnr": quality.psnr(errors, everywhere).mean()}
        if not variational:
            return losses.weighted_reconstruction(prediction, target, everywhere, axis_name=axis_name), state, metrics
        nll = losses.gaussian_nll(prediction, target, params["likelihood"]["log_scale"], axis_name=axis_name)
        kl = losses.gaussian_kl(outputs["mu"], outputs["log_variance"], axis_name=axis_name)
        metrics |= {"kl": kl, "bits_per_dim": (nll + kl) / (values * math.log(2)) + bits}
        return (nll + method.beta * kl) / values, state, metrics

    encode_image = networks.encode(make, image.image_inputs(config))

    def encode(params, state, inputs, layer=None, keys=None):
        code = encode_image(params, state, inputs, layer, keys)
        if layer is not None or not variational:
            return code
        posterior = make(None, len(code))["posterior"]
        stats = state["batch_stats"].get("posterior", {})
        found, _ = networks.run(posterior, params["posterior"], stats, code, train=keys is not None)
        return jnp.split(found, 2, axis=-1)[0]

    def groups(params):  # the deviations must move far, at a rate of their own
        return matrices_and_vectors(params) | ({"likelihood": {"log_scale": "likelihood"}} if variational else {})

    def baselines(batch, outputs):
        """The noisy image as it is; or the Gaussian that gives each value of an image a mean and variance of its own.

        That Gaussian is the best one for the very images at hand, which a model of training data cannot know.
        """
        images = batch["view_0"]
        if not variational:
            errors = (batch["noisy"] - images) * jnp.asarray(std, images.dtype)[None]
            return {"psnr of the noisy image": quality.psnr(errors, jnp.ones(images.shape[:3], bool)).mean()}
        nats = jnp.mean(jnp.log(2 * math.pi * math.e * images.var(axis=0))) / 2
        return {"bits_per_dim of a factorised Gaussian": nats / math.log(2) + bits}

    def pictures(params, state, batch, key):
        """Image (with noise) and reconstruction; for the VAE samples of the prior, and a way from image to image."""
        batch = {name: rows[:LARGEST_PICTURE] for name, rows in batch.items()}
        outputs, _ = embed(params, state, batch, key, None, None, train=False)
        images = batch["view_0"]
        if not variational:
            return {"denoising": patches.sheet(*map(to_pixels, (batch["noisy"], outputs["prediction"], images)))}

        def decoded(codes):
            stats = state["batch_stats"].get("decoder", {})
            return to_pixels(networks.run(make()["decoder"], params["decoder"], stats, codes, train=False)[0])

        mu = outputs["mu"]
        samples = normal(key, (LARGEST_PICTURE, *mu.shape), mu.dtype)
        ways = [(1 - step) * mu + step * jnp.roll(mu, 1, axis=0) for step in np.linspace(0, 1, LARGEST_PICTURE)]
        return {
            "reconstruction": patches.sheet(to_pixels(images), decoded(mu)),
            "samples": patches.sheet(*map(decoded, samples)),
            "interpolation": patches.sheet(*map(decoded, ways)),
        }

    return Method(
        init=init, views=views, embed=embed, objective=objective, encode=encode, groups=groups,
        baselines=baselines, pictures=pictures, separable=True,
    )  # fmt: skip
