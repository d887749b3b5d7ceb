"""Colours as classes: the bins of Lab's ab plane, soft targets, the weights of rare colours, decoding; views in Lab."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ssl_jax.augment.lab import lab_to_rgb, rgb_to_lab
from ssl_jax.methods.parts import image

# The 313 bins of size 10 that sRGB reaches: a -> the lowest and the highest b. `resources/pts_in_hull.npy` of
# richzhang/colorization (BSD 2-clause licence, copyright 2016 Zhang, Isola, Efros), in its order.
RANGES = {
    -90: (50, 90), -80: (20, 90), -70: (0, 90), -60: (-20, 90), -50: (-30, 100), -40: (-40, 100), -30: (-50, 100),
    -20: (-50, 100), -10: (-60, 100), 0: (-70, 100), 10: (-80, 90), 20: (-80, 90), 30: (-90, 90), 40: (-100, 90),
    50: (-100, 80), 60: (-110, 80), 70: (-110, 80), 80: (-110, 70), 90: (-110, 70), 100: (-90, 0),
}  # fmt: skip
BINS = np.array([(a, b) for a, (low, high) in RANGES.items() for b in range(low, high + 1, 10)], np.float32)
IMAGES, PLACES = 10_000, 8  # `places` looks at so many images at most, on a grid of so many places a side
COMMON = 1e-4  # the share of places from which on a colour counts in class-balanced accuracy


def distances(ab):
    """Squared distances of colours `[..., 2]` to the bins, `[..., 313]`."""
    a, b = (jnp.square(ab[..., i, None] - BINS[:, i].reshape((1,) * (ab.ndim - 1) + (-1,))) for i in (0, 1))
    return a + b


def nearest(ab):
    """The nearest bin of colours `[..., 2]`, int32 `[...]`.

    >>> BINS[nearest(jnp.array([3.0, -12.0]))].tolist()
    [0.0, -10.0]
    """
    return jnp.argmin(distances(ab), axis=-1)


def soft_encode(ab, neighbours: int, sigma: float):
    """Colours `[..., 2]` as distributions over the bins, `[..., 313]`: a Gaussian of the distance to the nearest bins.

    >>> soft_encode(jnp.array([0.0, 5.0]), 2, 5.0).max().item()  # halfway between two bins
    0.5

    Source: Zhang et al. 2016, section 2.2: 5 neighbours and sigma 5; the code has 10.
    """
    negative, places = lax.top_k(-distances(ab).reshape(-1, len(BINS)), neighbours)
    shares = jax.nn.softmax(negative / (2 * sigma**2), axis=-1)
    rows = jnp.arange(len(shares))[:, None]
    return jnp.zeros((len(shares), len(BINS)), shares.dtype).at[rows, places].set(shares).reshape(*ab.shape[:-1], -1)


def annealed_mean(logits, temperature: float):
    """The colours `[..., 2]` of logits `[..., 313]`: the mean of the bins under `softmax(logits / T)`.

    T = 1 is the mean, which is grey where the network is in doubt; T -> 0 the mode. Equation 5 of the paper.
    """
    shares = jax.nn.softmax(logits / temperature, axis=-1)
    return jnp.einsum("...k,kc->...c", shares, BINS.astype(shares.dtype), precision=lax.Precision.HIGHEST)


def prior(source, neighbours: int, sigma: float) -> dict[str, np.ndarray]:
    """What the colours of a source are: the facts of a method that predicts them.

    Returns:
      `histogram` `[313]`, the shares of the bins; `soft` `[313]`, the mean of `soft_encode`, which is the best constant
      prediction; `mean` `[2]`, the mean colour. From at most 10,000 images, evenly spaced.

    Raises:
      ValueError: grey images.
    """
    refuse_grey(source)
    count, sums = 0, []

    @jax.jit
    def measure(images):
        ab = rgb_to_lab(images.astype(jnp.float32) / 255)[..., 1:].reshape(-1, 2)
        hard = jnp.zeros(len(BINS)).at[nearest(ab)].add(1.0)
        return hard, soft_encode(ab, neighbours, sigma).sum(0), ab.sum(0)

    for picked in places(source):
        count += picked[..., 0].size
        sums.append(jax.device_get(measure(picked)))
    hard, soft, total = zip(*sums, strict=True)
    totals = {"histogram": hard, "soft": soft, "mean": total}
    return {name: (np.sum(parts, axis=0, dtype=np.float64) / count) for name, parts in totals.items()}


def places(source) -> Iterator[np.ndarray]:
    """Images of a source, evenly spaced, as a grid of places of each, uint8 `[n, h, w, 3]`."""
    ids = np.unique(np.linspace(0, len(source) - 1, min(IMAGES, len(source))).astype(np.int64))
    for rows in np.array_split(ids, -(-len(ids) // 250)):
        images = check_colour(source.rows(rows)["image"])
        step = [max(1, side // PLACES) for side in images.shape[1:3]]
        yield images[:, step[0] // 2 :: step[0], step[1] // 2 :: step[1]]


def refuse_grey(source) -> None:
    """Refuses a source without colours, from which they cannot be learned.

    Raises:
      ValueError: grey images.
    """
    if all(jnp.abs(rgb_to_lab(jnp.float32(picked) / 255)[..., 1:]).max() < 1 for picked in places(source)):
        raise ValueError(f"All images of {source.name} are grey; give images in colour, which is what is predicted")


def rebalancing(facts, sigma: float, uniform: float) -> np.ndarray:
    """The weights `[313]` of colours: `w_q` is `1 / ((1 - uniform) p_q + uniform / Q)`, scaled to `sum_q p_q w_q = 1`.

    Args:
      facts: those of `prior`; the histogram is smoothed by a Gaussian in the ab plane to p.
      sigma: of that Gaussian, in units of ab.
      uniform: the share of the uniform distribution; 1 weighs all colours alike.

    Source: Zhang et al. 2016, equation 4, whose lambda is `uniform` = 0.5; `PriorFactor` in the code.
    """
    apart = ((BINS[:, None].astype(np.float64) - BINS[None]) ** 2).sum(-1)
    smooth = np.exp(-apart / (2 * sigma**2)) @ np.asarray(facts["histogram"], np.float64)
    smooth /= smooth.sum()
    weights = 1 / np.maximum((1 - uniform) * smooth + uniform / len(BINS), 1e-12)
    return weights / (smooth * weights).sum()


def balance(facts) -> np.ndarray:
    """Weights `[313]` under which colours count alike in a mean; those of less than 1 place in 10,000 do not (0)."""
    histogram = np.asarray(facts["histogram"], np.float64)
    common = histogram >= COMMON
    weights = np.where(common, 1 / np.maximum(histogram, COMMON), 0)
    return weights / max(common.sum(), 1)


def lab_view(config):
    """The `views` of a method on Lab: one view of `config.augment`, `view_0` `[S, S, 3]`: L, a and b.

    Raises:
      ValueError: a view that is normalised; when it is called, grey images.
    """
    if config.augment.mean is not None:
        raise ValueError("config.augment.mean is set, but Lab is made of images in [0, 1]; leave it out, and std")
    one_view = image.one_view(config)

    def views(key, example):
        check_colour(example["image"][None])
        viewed = one_view(key, example)
        return viewed | {"view_0": rgb_to_lab(viewed["view_0"])}

    return views


def lab_inputs(config):
    """`inputs -> Lab [B, S, S, 3]`: what an encoder sees outside of training; images of one channel have no colour."""
    prepare = image.image_inputs(config)

    def lab(inputs):
        images = prepare(inputs)
        return rgb_to_lab(jnp.broadcast_to(images, (*images.shape[:3], 3)))

    return lab


def check_colour(images):
    """Images `[B, H, W, 3]` as they are; others are refused."""
    if images.shape[-1] != 3:
        raise ValueError(
            f"Images of {images.shape[-1]} channel were given, and colour is what is predicted; give images in colour "
            "[H, W, 3]"
        )
    return images


def to_pixels(lightness, ab):
    """A picture uint8 `[b, H, W, 3]` of lightness `[b, H, W, 1]` and colours of any resolution `[b, h, w, 2]`."""
    ab = jax.image.resize(ab, (*lightness.shape[:3], 2), "bilinear")
    return jnp.uint8(255 * lab_to_rgb(jnp.concatenate([lightness, ab], axis=-1)) + 0.5)


def chroma(ab):
    """The mean distance of colours `[..., 2]` from grey."""
    return jnp.mean(jnp.sqrt(jnp.sum(jnp.square(ab), axis=-1)))


def fit(found, ab) -> dict[str, jax.Array]:
    """The mean squared distance of colours to the true ones, and how strong they are."""
    return {"squared_error": jnp.mean(jnp.sum(jnp.square(found - ab), axis=-1)), "chroma": chroma(found)}
