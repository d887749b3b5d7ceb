"""CLIP's modified ResNets: layers, what is refused, averages in place of strides, numbers of parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.models.clip_resnet import LAYERS, CLIPResNet, MeanAttentionPool, halved

SMALL = {"blocks": (1, 1, 1, 1), "width": 1 / 32, "output_dim": 5}


def test_the_number_of_parameters_is_the_published_one_of_rn101():
    model = CLIPResNet((3, 4, 23, 3), output_dim=512)
    made = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 224, 224, 3)))
    assert sum(leaf.size for leaf in jax.tree.leaves(made["params"])) == 56_259_936


def test_layers_halve_the_sides():
    model, images = CLIPResNet(**SMALL), jnp.zeros((2, 96, 64, 3))
    shapes = [jax.eval_shape(lambda layer=x: model.init_with_output(jax.random.key(0), images, layer=layer)[0]).shape
              for x in LAYERS]  # fmt: skip
    assert shapes == [(2, 24, 16, 2), (2, 24, 16, 8), (2, 12, 8, 16), (2, 6, 4, 32), (2, 3, 2, 64)]
    assert model.layers == LAYERS and model.feature_dim == 5


def test_halving_is_a_mean_and_drops_an_odd_row():
    x = np.random.default_rng(0).normal(size=(1, 5, 4, 2)).astype(np.float32)
    expected = x[:, :4].reshape(1, 2, 2, 2, 2, 2).mean((2, 4))
    np.testing.assert_allclose(halved(jnp.asarray(x)), expected, atol=1e-6)


def test_the_pooling_does_not_know_the_order_of_places_but_by_their_positions(key):
    pool, x = MeanAttentionPool(heads=2, output_dim=3), jax.random.normal(key, (1, 2, 2, 8))
    params = pool.init(key, x)["params"]
    turned = pool.apply({"params": params}, x[:, ::-1]), pool.apply({"params": params}, x)
    assert not np.allclose(*turned, atol=1e-3)
    params = params | {"position_embedding": jnp.zeros_like(params["position_embedding"])}
    np.testing.assert_allclose(*(pool.apply({"params": params}, y) for y in (x[:, ::-1], x)), atol=1e-6)


def test_wrong_settings_and_images_are_refused(key):
    def init(shape=(1, 64, 64, 3), layer=None, **changes):
        return jax.eval_shape(lambda x: CLIPResNet(**SMALL | changes).init(key, x, layer=layer), jnp.zeros(shape))

    for changes, message in (
        ({"width": 3 / 64}, "3 channels, and expects an even number"), ({"blocks": (1, 1, 1)}, "four numbers above 0"),
        ({"layer": "stage_5"}, "layer 'stage_5'"), ({"shape": (1, 24, 24, 3)}, "at least 32 pixels"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            init(**changes)
    with pytest.raises(ValueError, match="positions of 4 places and was given images of 3 x 3 places"):
        jax.eval_shape(CLIPResNet(**SMALL).apply, init(), jnp.zeros((1, 96, 96, 3)))
