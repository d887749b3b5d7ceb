import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.augment.image import normalise, random_apply, to_float


def test_bytes_become_float32_between_0_and_1():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    result = to_float(image)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, image / 255.0, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_floating_point_passes_unchanged(dtype):
    assert to_float(jnp.full((2, 2, 3), 0.5, dtype)).dtype == dtype


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4), np.uint8), "shape"),
        (np.zeros((2, 4, 4, 3), np.float32), "vmap"),
        (np.zeros((4, 4, 3), np.int32), "dtype"),
    ],
)
def test_wrong_rank_or_dtype_is_refused(image, message):
    with pytest.raises(ValueError, match=message):
        to_float(image)


def test_normalise_is_per_channel(x64):
    image = np.random.default_rng(0).random((5, 7, 3))
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    result = normalise(jnp.asarray(image), mean, std)
    np.testing.assert_allclose(result, (image - np.array(mean)) / np.array(std), rtol=1e-14)
    with pytest.raises(ValueError, match="shape"):
        normalise(jnp.zeros((2, 3, 4, 3)), mean, std)


@pytest.mark.parametrize(("channels", "values"), [(1, 3), (3, 1), (4, 3), (13, 12), (13, 14)])
def test_every_channel_has_its_mean(channels, values):
    image = jnp.ones((2, 2, channels))
    for mean, std, name in (((0.5,) * values, (1.0,) * channels, "mean"), ((0.5,) * channels, (1.0,) * values, "std")):
        with pytest.raises(ValueError, match=f"{channels} channels and a {name} of {values} values"):
            normalise(image, mean, std)
    np.testing.assert_array_equal(normalise(image, 0.5, 0.5), image)  # one number is that of all channels


def test_random_apply_happens_with_its_probability(key):
    keys = jax.random.split(key, 10_000)
    image = jnp.zeros((1, 1, 1))
    apply = jax.jit(jax.vmap(lambda key, p: random_apply(key, p, lambda image: image + 1, image), (0, None)))
    for p in (0.0, 0.3, 1.0):
        applied = apply(keys, p)
        # Four standard errors of the mean of 10,000 draws.
        assert abs(float(applied.mean()) - p) <= 4 * np.sqrt(p * (1 - p) / 10_000)
