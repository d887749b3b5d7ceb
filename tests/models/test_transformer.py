"""Blocks: who attends to whom, where the norms stand, what dropout draws, and subsets of a vision transformer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import enable_x64

from ssl_jax.models.dropout import Dropout
from ssl_jax.models.transformer import Block
from ssl_jax.models.vit import ViT

TINY = dict(patch_size=4, width=8, depth=2, heads=2)


def influence(block, tokens=5, mask=None, dtype="float32"):
    """bool [T, T]: whether output q depends on input k."""
    x = jax.random.normal(jax.random.key(1), (1, tokens, 8), dtype)
    variables = block.init(jax.random.key(0), x, None, False, mask)
    jacobian = jax.jacobian(lambda x: block.apply(variables, x, None, False, mask))(x)[0, :, :, 0]
    return np.asarray(jnp.abs(jacobian).max((1, 3)) > 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("norm_first", [True, False])
def test_a_causal_block_never_looks_ahead(norm_first, dtype):
    with enable_x64(dtype == "float64"):
        block = Block(1, 2, 16, norm_first=norm_first, causal=True, dtype=dtype)
        np.testing.assert_array_equal(influence(block, dtype=dtype), np.tri(5, dtype=bool))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_documents_that_share_a_row_do_not_see_each_other(dtype):
    document = np.array([0, 0, 1, 1, 1])
    same = document[:, None] == document
    with enable_x64(dtype == "float64"):
        found = influence(Block(1, 2, 16, dtype=dtype), mask=jnp.asarray(same)[None, None], dtype=dtype)
    np.testing.assert_array_equal(found, same)


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tokens_at_places_are_those_of_the_whole_block(norm_first, dtype):
    mask, places = np.random.default_rng(1).random((2, 1, 5, 5)) < 0.6, np.array([[4, 1, 1], [0, 2, 3]])
    mask = jnp.asarray(mask | np.eye(5, dtype=bool))
    with enable_x64(dtype == "float64"):
        x = jax.random.normal(jax.random.key(1), (2, 5, 8), dtype)
        block = Block(1, 2, 16, norm_first=norm_first, dtype=dtype)
        whole, variables = block.init_with_output(jax.random.key(0), x, None, False, mask)
        found = block.apply(variables, x, None, False, mask, jnp.asarray(places))
        np.testing.assert_allclose(found, np.take_along_axis(whole, places[..., None], axis=1), atol=1e-6)
        with pytest.raises(ValueError, match="A causal block was given places"):
            Block(1, 2, 16, causal=True).init(jax.random.key(0), x, None, False, None, jnp.asarray(places))


def test_the_explicit_attention_of_wider_numbers_is_that_of_jax():
    """Float64 and dropout take another way than `jax.nn.dot_product_attention`."""
    x = np.random.default_rng(0).normal(size=(2, 5, 8))
    mask = jnp.asarray((np.random.default_rng(1).random((2, 1, 5, 5)) < 0.6) | np.eye(5, dtype=bool))
    for causal in (True, False):
        narrow = Block(1, 2, 16, causal=causal)
        variables = narrow.init(jax.random.key(0), jnp.float32(x), None, False, mask)
        with enable_x64(True):
            wide = Block(1, 2, 16, causal=causal, dtype="float64")
            expected = wide.apply(jax.tree.map(jnp.float64, variables), jnp.asarray(x), None, False, mask)
        found = narrow.apply(variables, jnp.float32(x), None, False, mask)
        np.testing.assert_allclose(found, expected, atol=2e-6)


def test_the_last_norm_of_a_post_norm_block_normalises_its_output():
    x = 5 + 3 * jax.random.normal(jax.random.key(1), (2, 4, 8))
    normalised = []
    for norm_first in (False, True):
        y, _ = Block(1, 2, 16, norm_first=norm_first).init_with_output(jax.random.key(0), x, None, False)
        normalised.append(np.allclose(y.mean(-1), 0, atol=1e-5) and np.allclose(y.std(-1), 1, atol=1e-2))
    assert normalised == [True, False]


def test_dropout_draws_by_the_example_for_every_value_and_keeps_the_mean():
    keys, x = jax.random.split(jax.random.key(0), 64), jnp.ones((64, 6, 50))
    y = Dropout(0.25, 3).apply({}, x, keys, True)
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.75], rtol=1e-6)
    assert abs(float(y.mean()) - 1) < 0.02 and 0 < float(y[0].std())
    halves = [Dropout(0.25, 3).apply({}, x[rows], keys[rows], True) for rows in (slice(0, 32), slice(32, 64))]
    np.testing.assert_array_equal(jnp.concatenate(halves), y)
    other = Dropout(0.25, 4).apply({}, x, keys, True)
    assert 0.5 < float(jnp.mean((other > 0) == (y > 0))) < 0.75  # 0.625 if independent


def test_each_dropout_of_a_block_is_wired_and_needs_keys():
    x, keys = jax.random.normal(jax.random.key(1), (2, 4, 8)), jax.random.split(jax.random.key(2), 2)
    variables = Block(1, 2, 16).init(jax.random.key(0), x, None, False)
    still = Block(1, 2, 16).apply(variables, x, keys, True)
    for rates in ({"dropout": 0.5}, {"attention_dropout": 0.5}):
        block = Block(1, 2, 16, **rates)
        assert not np.allclose(block.apply(variables, x, keys, True), still)
        np.testing.assert_array_equal(block.apply(variables, x, keys, False), still)
        with pytest.raises(ValueError, match="no keys"):
            block.apply(variables, x, None, True)


def test_a_vision_transformer_of_visible_patches_sees_those_alone():
    images, visible = jax.random.normal(jax.random.key(1), (2, 8, 12, 3)), jnp.array([[4, 0], [1, 5]])
    model = ViT(**TINY)
    variables = model.init(jax.random.key(0), images)
    apply = lambda images, **options: model.apply(variables, images, layer="tokens", **options)  # noqa: E731
    tokens = apply(images, visible=visible)
    assert tokens.shape == (2, 3, 8)
    gradient = jax.grad(lambda images: jnp.sum(apply(images, visible=visible) ** 3))(images)
    seen = np.abs(gradient).reshape(2, 2, 4, 3, 4, 3).max((2, 4, 5)).reshape(2, 6) > 0
    np.testing.assert_array_equal(seen, [[1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, 1]])
    # All patches in another order: the tokens in that order.
    order = jnp.broadcast_to(jnp.array([5, 3, 1, 0, 2, 4]), (2, 6))
    np.testing.assert_allclose(apply(images, visible=order)[:, 1:], apply(images)[:, 1:][:, order[0]], atol=1e-5)
    with pytest.raises(ValueError, match="visible patches and layer 'block_1'"):
        model.apply(variables, images, layer="block_1", visible=visible)


def test_masked_patches_of_a_vision_transformer_are_one_learned_token():
    images = jax.random.normal(jax.random.key(1), (2, 8, 8, 3))
    masked = jnp.array([[True, False, False, True], [False, True, False, False]])
    model = ViT(**TINY)
    variables = model.init(jax.random.key(0), images, masked=masked)
    assert variables["params"]["mask_token"].shape == (1, 1, 8)
    apply = lambda images: jnp.sum(model.apply(variables, images, layer="tokens", masked=masked) ** 3)  # noqa: E731
    seen = np.abs(jax.grad(apply)(images)).reshape(2, 2, 4, 2, 4, 3).max((2, 4, 5)).reshape(2, 4) > 0
    np.testing.assert_array_equal(seen, ~masked)
