import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from ssl_jax.augment.resample import resample

# One compilation for each case, not one for each of its operations.
resample_jit = jax.jit(resample, static_argnums=2, static_argnames=("method", "antialias"))

PHOTO = load_sample_image("china.jpg")[100:196, 200:328]
PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
# (top, left, height, width) and (height, width): shrink, enlarge, one of each, a whole image, a very narrow crop.
CASES = [
    ((7, 11, 80, 100), (32, 24)),
    ((30, 40, 15, 20), (32, 48)),
    ((5, 60, 90, 13), (20, 40)),
    ((0, 0, 96, 128), (56, 56)),
    ((95, 3, 1, 2), (8, 8)),
]


def pillow(channel, box, size, method):
    top, left, height, width = box
    crop = Image.fromarray(channel).crop((left, top, left + width, top + height))
    return np.asarray(crop.resize(size[::-1], PILLOW[method]))


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
def test_equals_pillow_in_floating_point(x64, method):
    """Pillow keeps float32 between its two passes, hence 1e-6 of the range."""
    image = jnp.asarray(PHOTO / 255.0)
    for box, size in CASES:
        result = resample_jit(image, box, size, method=method)
        channels = [pillow((PHOTO[..., c] / 255.0).astype(np.float32), box, size, method) for c in range(3)]
        np.testing.assert_allclose(result, np.stack(channels, axis=-1), atol=1e-6)


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
def test_equals_pillow_on_bytes(method):
    """Pillow rounds to bytes and clips after each of its two passes: 2 steps of 1/255."""
    box, size = CASES[0]
    result = np.clip(resample_jit(np.float32(PHOTO / 255.0), box, size, method=method), 0, 1)
    np.testing.assert_allclose(result * 255, pillow(PHOTO, box, size, method), atol=2)


@pytest.mark.parametrize(("method", "jax_method"), [("bilinear", "linear"), ("bicubic", "cubic")])
def test_without_antialiasing_equals_jax_image(x64, method, jax_method):
    image = jnp.asarray(PHOTO / 255.0)
    result = resample_jit(image, (0, 0, 96, 128), (40, 50), method=method, antialias=False)
    expected = jax.image.resize(image, (40, 50, 3), jax_method, antialias=False)
    np.testing.assert_allclose(result, expected, atol=1e-12)


def test_fractional_boxes_sample_where_they_say(x64):
    """On a ramp the value is the place: pixel centres of a box from 2.3 over 6 pixels, away from its edges."""
    ramp = jnp.arange(12.0).reshape(1, 12, 1)
    result = resample_jit(ramp, (0.0, 2.3, 1.0, 6.0), (1, 12))[0, :, 0]
    places = 2.3 + (np.arange(12) + 0.5) * 0.5 - 0.5
    np.testing.assert_allclose(result[1:-1], places[1:-1], atol=1e-12)


def test_boxes_of_any_size_keep_a_constant_image():
    """The weights of every output pixel sum to 1, for boxes much smaller than a pixel too."""
    rng = np.random.default_rng(0)
    extents = 10.0 ** rng.uniform(-3, 1, (200, 2))
    boxes = np.float32(np.concatenate([rng.random((200, 2)) * (16 - extents), extents], axis=1))
    image = np.full((16, 16, 1), 0.7, np.float32)
    results = jax.jit(jax.vmap(lambda box: resample(image, box, 5, method="bicubic")))(boxes)
    np.testing.assert_allclose(results, 0.7, rtol=1e-5)


def test_pixels_outside_the_box_do_not_contribute():
    image = np.full((20, 20, 1), 1e30, np.float32)
    image[4:12, 6:16] = 0.5
    np.testing.assert_allclose(resample_jit(image, (4, 6, 8, 10), (3, 4), method="bicubic"), 0.5, rtol=1e-6)


def test_flip_mirrors_the_output():
    image = np.float32(PHOTO / 255.0)
    plain, flipped = (resample_jit(image, (3, 4, 60, 50), (20, 30), flip=flip) for flip in (False, True))
    np.testing.assert_allclose(flipped, plain[:, ::-1], atol=1e-6)


def test_keeps_bfloat16_and_computes_in_float32():
    image = jnp.asarray(PHOTO / 255.0, jnp.bfloat16)
    result = resample_jit(image, (0, 0, 96, 128), 32)
    assert result.dtype == jnp.bfloat16
    exact = resample_jit(image.astype(jnp.float32), (0, 0, 96, 128), 32)
    np.testing.assert_array_equal(result, exact.astype(jnp.bfloat16))


def test_wrong_use_is_refused():
    with pytest.raises(ValueError, match="lanczos"):
        resample(jnp.zeros((4, 4, 3)), (0, 0, 4, 4), 2, method="lanczos")
    with pytest.raises(ValueError, match="uint8"):
        resample(jnp.zeros((4, 4, 3), jnp.uint8), (0, 0, 4, 4), 2)
