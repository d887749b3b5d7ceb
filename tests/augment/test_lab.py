"""Lab is scikit-image's, in both directions, and stays finite in its dark corners."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.augment import lab

color = pytest.importorskip("skimage.color")


@pytest.fixture
def bytes_of_rgb():
    """All corners of the cube, greys, dark colours, and random ones."""
    corners = np.stack(np.meshgrid(*[[0, 128, 255]] * 3), axis=-1).reshape(-1, 3)
    greys = np.repeat(np.arange(256)[:, None], 3, axis=1)
    random = np.random.default_rng(0).integers(0, 256, (5000, 3))
    return np.concatenate([corners, greys, random % 12, random]).astype(np.uint8)


def test_lab_is_that_of_scikit_image(bytes_of_rgb):
    expected = color.rgb2lab(bytes_of_rgb)
    np.testing.assert_allclose(lab.rgb_to_lab(jnp.float32(bytes_of_rgb / 255)), expected, atol=1e-3)
    np.testing.assert_allclose(lab.lab_to_rgb(jnp.float32(expected)), bytes_of_rgb / 255, atol=1e-5)


def test_double_precision_agrees_to_more_digits(bytes_of_rgb, x64):
    found = lab.rgb_to_lab(jnp.asarray(bytes_of_rgb / 255))
    np.testing.assert_allclose(found, color.rgb2lab(bytes_of_rgb / 255), atol=1e-9)
    np.testing.assert_allclose(lab.lab_to_rgb(found), bytes_of_rgb / 255, atol=1e-9)


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")
def test_colours_that_srgb_does_not_have_are_clipped_as_there():
    random = np.random.default_rng(0)
    colours = np.stack([random.uniform(0, 100, 5000), *random.uniform(-110, 110, (2, 5000))], axis=-1)
    np.testing.assert_allclose(lab.lab_to_rgb(jnp.float32(colours)), color.lab2rgb(colours), atol=1e-4)


def test_gradients_are_finite_everywhere():
    colours = jnp.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.04045, 0.0, 1.0]])
    for function, x in ((lab.rgb_to_lab, colours), (lab.lab_to_rgb, lab.rgb_to_lab(colours))):
        assert np.isfinite(jax.grad(lambda x, function=function: function(x).sum())(x)).all()
