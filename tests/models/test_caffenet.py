"""CaffeNet for patches: the maps and parameters of the official code, its norms, Caffe's pooling and normalisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.models.caffenet import CaffeNet, local_response_norm, max_pool


def test_shapes_are_those_of_the_official_code():
    model, images = CaffeNet(), jnp.zeros((2, 96, 96, 3))
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    shapes = [jax.eval_shape(lambda v, i=i: model.apply(v, images, layer=f"conv_{i}"), variables) for i in range(1, 6)]
    assert [(s.shape[1], s.shape[3]) for s in shapes] == [(24, 96), (12, 256), (6, 384), (6, 384), (6, 256)]
    params = variables["params"]
    assert params["dense_6"]["kernel"].shape == (3 * 3 * 256, 4096)
    assert set(params) == {*(f"conv_{i}" for i in range(1, 6)), "dense_6"}  # norms have neither scale nor offset
    assert set(variables["batch_stats"]) == {"norm_3", "norm_4", "norm_5", "norm_6"}
    assert ["bias" in params[f"conv_{i}"] for i in range(1, 6)] == [True, True, False, False, False]


def test_convolutions_take_whole_images():
    model = CaffeNet(width=0.05)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 96, 96, 3)))
    assert model.apply(variables, jnp.zeros((1, 227, 150, 3)), layer="conv_5").shape[1:3] == (14, 9)


def test_pools_round_up():
    x = np.random.default_rng(0).normal(size=(1, 6, 7, 2)).astype(np.float32) - 10
    found = max_pool(jnp.asarray(x))
    assert found.shape == (1, 3, 3, 2)
    np.testing.assert_array_equal(found[0, 2, 2], x[0, 4:, 4:].max((0, 1)))


def test_local_response_norm_is_caffes(x64):
    x = np.random.default_rng(0).normal(0, 40, (2, 3, 3, 9))
    expected = np.empty_like(x)
    for c in range(9):
        total = (x[..., max(0, c - 2) : c + 3] ** 2).sum(-1)
        expected[..., c] = x[..., c] / (1 + 1e-4 / 5 * total) ** 0.75
    np.testing.assert_allclose(local_response_norm(jnp.asarray(x)), expected, rtol=1e-12)


def test_wrong_images_and_layers_are_refused():
    with pytest.raises(ValueError, match="at least 21"):
        CaffeNet(width=0.05).init(jax.random.key(0), jnp.zeros((1, 12, 12, 3)))
    with pytest.raises(ValueError, match="expects one of"):
        CaffeNet(width=0.05).init(jax.random.key(0), jnp.zeros((1, 96, 96, 3)), layer="conv_6")


def test_the_network_of_jigsaw_is_that_of_its_code():
    model, images = CaffeNet(jigsaw=True), jnp.zeros((2, 64, 64, 3))
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    shapes = [jax.eval_shape(lambda v, i=i: model.apply(v, images, layer=f"conv_{i}"), variables) for i in range(1, 6)]
    assert [(s.shape[1], s.shape[3]) for s in shapes] == [(27, 96), (13, 256), (6, 384), (6, 384), (6, 256)]
    kernels = {name: leaf["kernel"].shape[-2] for name, leaf in variables["params"].items()}
    assert [kernels[f"conv_{i}"] for i in range(1, 6)] == [3, 48, 256, 192, 192]
    assert "batch_stats" not in variables and variables["params"]["dense_6"]["kernel"].shape == (9 * 256, 1024)
    small = CaffeNet(jigsaw=True, width=1 / 16)
    variables = small.init(jax.random.key(0), images)
    assert [float(variables["params"][f"conv_{i}"]["bias"].mean()) for i in range(1, 6)] == [0, 1, 0, 1, 1]
    features = small.apply(variables, images, train=True, keys=jax.random.split(jax.random.key(1), 2))
    assert 0.3 < float((features == 0).mean()) < 0.7  # dropout
    assert (small.apply(variables, images) > 0).all()
