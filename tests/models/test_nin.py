"""NIN against the shapes of the official code and against torch's operations."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.models import nin


def shape(model, size, layer=None):
    images = jnp.ones((2, size, size, 3))
    return jax.eval_shape(partial(model.init_with_output, layer=layer), jax.random.key(0), images)[0].shape


def counted_by_hand(blocks):
    """Kernels, and scale and offset of every norm, of the official layers."""
    layers = [(5, 3, 192), (1, 192, 160), (1, 160, 96), (5, 96, 192), (1, 192, 192), (1, 192, 192)]
    layers += [(3, 192, 192), (1, 192, 192), (1, 192, 192)] * (blocks - 2)
    return sum(size * size * fan_in * channels + 2 * channels for size, fan_in, channels in layers)


@pytest.mark.parametrize("blocks", [3, 4, 5])
def test_parameters_are_those_of_the_official_code(blocks):
    variables = jax.eval_shape(nin.NIN(blocks).init, jax.random.key(0), jnp.ones((1, 32, 32, 3)))
    leaves = jax.tree.leaves(variables["params"])
    assert sum(leaf.size for leaf in leaves) == counted_by_hand(blocks)
    assert len(leaves) == 9 * blocks  # kernel, scale and offset: no biases


def test_maps_have_the_published_shapes():
    """The second block of a 32 pixel image has 192 x 8 x 8 features, which the published probe reads."""
    found = [shape(nin.NIN(5), 32, layer) for layer in nin.NIN(5).layers]
    assert found == [(2, 16, 16, 96)] + [(2, 8, 8, 192)] * 4
    assert shape(nin.NIN(4), 32) == (2, 192) == (2, nin.NIN(4).feature_dim)


@pytest.mark.parity
def test_values_are_those_of_torch(x64, key):
    torch = pytest.importorskip("torch")
    model = nin.NIN(blocks=3, width=1 / 24, dtype=jnp.float64)
    images = np.random.default_rng(0).normal(size=(3, 9, 8, 3))
    variables = model.init(key, images)
    params = jax.tree.map(lambda leaf: np.cos(np.arange(leaf.size)).reshape(leaf.shape) / 2, variables["params"])
    with torch.no_grad():
        x = torch.tensor(images).permute(0, 3, 1, 2)
        for block, size in enumerate((5, 5, 3), start=1):
            for i in (1, 2, 3):
                kernel = torch.tensor(params[f"block_{block}_{i}_conv"]["kernel"]).permute(3, 2, 0, 1)
                norm = params[f"block_{block}_{i}_norm"]
                x = torch.nn.functional.conv2d(x, kernel, padding=(kernel.shape[-1] - 1) // 2)
                assert kernel.shape[-1] == (size if i == 1 else 1)
                x = torch.nn.functional.batch_norm(
                    x, None, None, torch.tensor(norm["scale"]), torch.tensor(norm["bias"]), training=True
                ).relu()
            if block == 1:
                x = torch.nn.functional.max_pool2d(x, 3, 2, 1)
            if block == 2:
                x = torch.nn.functional.avg_pool2d(x, 3, 2, 1)
        expected = x.mean((2, 3)).numpy()
    variables = {"params": params, "batch_stats": variables["batch_stats"]}
    found, _ = model.apply(variables, images, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("blocks", "images", "layer"),
    [
        (2, jnp.ones((1, 8, 8, 3)), None),
        (3, jnp.ones((1, 8, 8, 3)), "block_4"),
        (3, jnp.ones((8, 8, 3)), None),
        (3, jnp.ones((1, 8, 8, 3), jnp.uint8), None),
    ],
)
def test_refusals(blocks, images, layer, key):
    with pytest.raises(ValueError, match="NIN was given"):
        jax.eval_shape(partial(nin.NIN(blocks).init, layer=layer), key, images)
