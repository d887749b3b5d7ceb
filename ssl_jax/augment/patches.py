"""Patches of an image for pretext tasks of position, and what keeps a network from solving them by a shortcut.

One image `[H, W, C]` or one patch `[p, p, C]` at a time; the caller vmaps. Doersch et al. 2015 (arXiv 1505.05192),
sections 3.1 and 3.2, name the shortcuts: borders that continue (gap and jitter), and the chromatic aberration of
lenses, which tells where in the photograph a patch was (`project_colours`, `drop_colours`).
"""

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.augment.image import accumulation_dtype, check_choice, check_image, uniform

GREEN_MAGENTA = np.array([-1.0, 2.0, -1.0])
CONTRAST = 50.0  # of a normalised patch, so that it varies about as the bytes do that AlexNet is made for


def extent(grid: int, patch: int, gap: int, jitter: int) -> int:
    """The pixels that a grid of patches needs on a side, wherever the jitter puts them.

    >>> extent(3, 96, 48, 7)
    398
    """
    return grid * patch + (grid - 1) * gap + 2 * jitter


def sample_grid(key, image, *, grid: int, patch: int, gap: int = 0, jitter: int = 0):
    """A grid of `grid` x `grid` patches at a random place of the image, each moved by up to `jitter` pixels.

    Args:
      key: PRNG key.
      image: `[H, W, C]`.
      grid: patches on a side.
      patch: side of a patch in pixels.
      gap: pixels between neighbours before they are moved.
      jitter: each patch moves by whole pixels, uniform in -jitter ... jitter, on both axes.

    Returns:
      `[grid * grid, patch, patch, C]`, row by row from the top left.

    Raises:
      ValueError: the grid does not fit into the image.

    >>> image = jnp.arange(16.0).reshape(4, 4, 1)
    >>> sample_grid(jax.random.key(0), image, grid=2, patch=2)[1, ..., 0].tolist()
    [[2.0, 3.0], [6.0, 7.0]]

    Source: Doersch et al. 2015, section 3.1; `sample_patch` of cdoersch/deepcontext, train.py.
    """
    height, width, channels = image.shape
    needed = extent(grid, patch, gap, jitter)
    if needed > min(height, width):
        raise ValueError(
            f"A grid of {grid} x {grid} patches of {patch} pixels with gaps of {gap} and a jitter of {jitter} needs "
            f"{needed} pixels on a side, but the image has {height} x {width}: make one of them smaller"
        )
    place_key, jitter_key = jax.random.split(key)
    free = jnp.array([height - needed, width - needed])
    origin = jitter + jax.random.randint(place_key, (2,), 0, free + 1)
    moves = jax.random.randint(jitter_key, (grid * grid, 2), -jitter, jitter + 1)
    places = np.stack(np.divmod(np.arange(grid * grid), grid), axis=1) * (patch + gap)
    corners = origin[None] + places + moves
    return jax.vmap(lambda corner: jax.lax.dynamic_slice(image, (*corner, 0), (patch, patch, channels)))(corners)


def pixelate(key, patch, *, probability: float = 0.33, least: int = 100):
    """With a probability, the patch scaled down to as little as `least` pixels in all, and up again; bilinear.

    The number of pixels is uniform from `least` to (p - 1)^2, its root rounded down.

    >>> pixelate(jax.random.key(0), jnp.ones((8, 8, 1)), probability=1.0, least=4).round(3).max().item()
    1.0

    Source: `prep_image` of cdoersch/deepcontext, train.py, which as well does not smooth before scaling down.
    """
    check_image(patch)
    p, (apply_key, side_key) = len(patch), jax.random.split(key)
    if not 1 <= least <= (p - 1) ** 2:
        raise ValueError(f"Patches of {p} x {p} pixels cannot be scaled down to {least}: give 1 to {(p - 1) ** 2}")
    x = patch.astype(accumulation_dtype(patch))
    side = jnp.floor(jnp.sqrt(uniform(side_key, (), least, (p - 1) ** 2))).astype(x.dtype)

    def scale(x, factor):
        factors, start = jnp.full(2, factor, x.dtype), jnp.zeros(2, x.dtype)
        return jax.image.scale_and_translate(x, x.shape, (0, 1), factors, start, "linear", antialias=False)

    small = scale(x, side / p)  # in the upper left corner
    inside = jnp.minimum(jnp.arange(p), side.astype(jnp.int32) - 1)  # whose border is continued
    made = scale(small[inside][:, inside], p / side)
    return jnp.where(uniform(apply_key) < probability, made, x).astype(patch.dtype)


def project_colours(image):
    """Without the green-magenta axis a = (-1, 2, -1): every pixel times I - a^T a / (a a^T); `[..., 3] -> [..., 3]`.

    Lenses bend green light otherwise than red and blue: what is left does not show by how much.

    >>> project_colours(jnp.array([[[0.0, 1.0, 0.0]]])).round(3).tolist()
    [[[0.3330000042915344, 0.3330000042915344, 0.3330000042915344]]]

    Source: Doersch et al. 2015, section 3.1, "projection".
    """
    check_image(image, channels=3)
    matrix = np.eye(3) - np.outer(GREEN_MAGENTA, GREEN_MAGENTA) / (GREEN_MAGENTA @ GREEN_MAGENTA)
    product = jnp.matmul(image, jnp.asarray(matrix, image.dtype), precision=jax.lax.Precision.HIGHEST)
    return product.astype(image.dtype)


def drop_colours(key, patch, noise: str, *, level: float = 1 / 255):
    """One random channel stays, and noise takes the place of the other two.

    Args:
      key: PRNG key.
      patch: `[p, p, 3]`.
      noise: "gaussian", of a hundredth of the standard deviation of the channel that stays (the paper), or "uniform",
        in -1/2 ... 1/2 grey levels (the code).
      level: a grey level in the values of the patch.

    >>> kept = drop_colours(jax.random.key(0), jnp.ones((2, 2, 3)), "gaussian")
    >>> sorted(kept.sum((0, 1)).tolist())
    [0.0, 0.0, 4.0]

    Source: Doersch et al. 2015, section 3.1, "color dropping"; `prep_image` of cdoersch/deepcontext, train.py.
    """
    check_image(patch, channels=3)
    check_choice("noise", noise, ("gaussian", "uniform"))
    channel_key, noise_key = jax.random.split(key)
    kept = jax.random.randint(channel_key, (), 0, 3)
    if noise == "gaussian":
        deviation = jnp.std(patch[..., kept])
        drawn = deviation / 100 * jax.random.normal(noise_key, patch.shape, jnp.float32)
    else:
        drawn = level * uniform(noise_key, patch.shape, -0.5, 0.5)
    return jnp.where(jnp.arange(3) == kept, patch, drawn.astype(patch.dtype))


def centred(patch):
    """The patch without the mean of each channel, `[p, p, C]`.

    >>> centred(jnp.array([[[1.0], [3.0]]]))[0, :, 0].tolist()
    [-1.0, 1.0]
    """
    return patch - jnp.mean(patch, axis=(0, 1), keepdims=True)


def unit_contrast(patch, epsilon: float = 1e-12):
    """The patch divided by its root mean square over all channels, times 50; `[p, p, C]`.

    >>> unit_contrast(jnp.array([[[-3.0], [3.0]]]))[0, :, 0].round().tolist()
    [-50.0, 50.0]

    Source: `prep_image` of cdoersch/deepcontext, train.py: "so that gradients are a less useful cue".
    """
    return patch * (CONTRAST * jax.lax.rsqrt(jnp.mean(patch * patch) + epsilon))


def overlapping_grid(image, patch: int, stride: int):
    """All patches of `patch` pixels at a stride, `[n, n, patch, patch, C]`, n = (size - patch) / stride + 1.

    Raises:
      ValueError: the image is not square, or the stride leaves a rest.

    >>> overlapping_grid(jnp.arange(16.0).reshape(4, 4, 1), patch=2, stride=1)[0, 2, ..., 0].tolist()
    [[2.0, 3.0], [6.0, 7.0]]
    """
    height, width, _ = image.shape
    if height != width or height < patch or (height - patch) % stride:
        raise ValueError(
            f"An image of {height} x {width} pixels was given for patches of {patch} at a stride of {stride}; expected "
            "a square one that they fill"
        )
    places = np.arange(0, height - patch + 1, stride)
    return jnp.stack([jnp.stack([image[y : y + patch, x : x + patch] for x in places]) for y in places])
