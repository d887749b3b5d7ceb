"""Convolutions against XLA's own gradients, and their layout."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ssl_jax.models.convolution import convolve

LAYOUT = ("NHWC", "HWIO", "NHWC")


def plain(x, kernel, stride):
    margin = ((len(kernel) - 1) // 2,) * 2
    return lax.conv_general_dilated(x, kernel, (stride, stride), (margin, margin), dimension_numbers=LAYOUT)


def gradients(function, x, kernel, stride):
    return jax.grad(lambda *arguments: jnp.sum(jnp.sin(function(*arguments, stride))), argnums=(0, 1))(x, kernel)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 3, 7])
def test_gradients_are_those_of_xla(size, stride):
    numbers = np.random.default_rng(0)
    for height, width in ((7, 8), (9, 10)):
        x, kernel = numbers.normal(size=(2, height, width, 3)), numbers.normal(size=(size, size, 3, 4))
        np.testing.assert_array_equal(convolve(x, kernel, stride), plain(x, kernel, stride))
        for found, expected in zip(*(gradients(f, x, kernel, stride) for f in (convolve, plain)), strict=True):
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_gradients_keep_the_dtype():
    x, kernel = jnp.ones((1, 4, 4, 2), jnp.bfloat16), jnp.ones((3, 3, 2, 2), jnp.bfloat16)
    assert {x.dtype for x in gradients(convolve, x, kernel, 1)} == {jnp.dtype("bfloat16")}


def test_all_convolutions_of_a_step_have_the_layout_that_is_fast_on_cpus():
    x, kernel = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 2))
    text = jax.jit(lambda *arguments: gradients(convolve, *arguments, 1)).lower(x, kernel).as_text()
    layouts = re.findall(r"stablehlo.convolution\(.*?dim_numbers = (\[.*?\]->\[.*?\])", text)
    assert layouts == ["[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]"] * 3
