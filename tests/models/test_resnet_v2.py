"""ResNets of pre-activation blocks: their formula against PyTorch's functions, sizes, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.models.norm import MapNorm, NoNorm
from ssl_jax.models.resnet_v2 import ResNetV2

SMALL = {"blocks": (1, 2), "channels": (2, 3), "outputs": (8, 12), "norm": MapNorm}


@pytest.mark.parity
@pytest.mark.parametrize("norm", [MapNorm, NoNorm])
def test_features_are_those_of_the_formula(norm, x64, key):
    torch = pytest.importorskip("torch", reason="needs the parity extra: pip install 'ssl_jax[parity]'")
    functional = torch.nn.functional
    model = ResNetV2(**SMALL | {"norm": norm}, dtype=jnp.float64)
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3))
    leaves, tree = jax.tree.flatten(jax.eval_shape(model.init, key, jnp.asarray(images))["params"])
    rng = np.random.default_rng(1)
    params = jax.tree.unflatten(tree, [0.5 * rng.normal(size=leaf.shape) for leaf in leaves])

    def conv(x, held, stride):
        kernel = torch.tensor(np.asarray(held["kernel"]).transpose(3, 2, 0, 1))
        return functional.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)

    def act(x, held, name):
        if norm is MapNorm:
            scale, bias = (torch.tensor(np.asarray(held[name][part]))[:, None, None] for part in ("scale", "bias"))
            x = functional.layer_norm(x, x.shape[1:], eps=1e-5) * scale + bias
        return torch.relu(x)

    x = conv(torch.tensor(images.transpose(0, 3, 1, 2)), params["stem_conv"], 2)
    x = functional.max_pool2d(x, 3, 2, 1)
    for name, stride in (("stage_1_1", 1), ("stage_2_1", 2), ("stage_2_2", 1)):
        held = params[name]
        y = act(x, held, "norm_1")
        x = conv(y, held["shortcut_conv"], stride) if "shortcut_conv" in held else x
        y = conv(act(conv(y, held["conv_1"], 1), held, "norm_2"), held["conv_2"], stride)
        x = x + conv(act(y, held, "norm_3"), held["conv_3"], 1)
    expected = act(x, params, "norm").mean((2, 3))
    np.testing.assert_allclose(jax.jit(model.apply)({"params": params}, images), expected, atol=1e-10)


@pytest.mark.parametrize(
    "blocks, channels, outputs, count",
    [  # ResNet-161 of CPC, which the paper counts as 305 million; ResNet-50 without its classifier
        ((3, 4, 46), (64, 128, 512), (256, 512, 4096), 303_642_176),
        ((3, 4, 6, 3), (64, 128, 256, 512), (256, 512, 1024, 2048), 23_500_352),
    ],
)
def test_numbers_of_parameters_and_layers(blocks, channels, outputs, count):
    model = ResNetV2(blocks, channels, outputs, norm=MapNorm)
    made = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 80, 80, 3)))
    assert sum(leaf.size for leaf in jax.tree.leaves(made["params"])) == count
    assert model.feature_dim == outputs[-1] and model.layers[-1] == f"stage_{len(blocks)}"


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"channels": (2,)}, "expects one number of each for a stage"),
        ({"stem": "small"}, "stem 'small'"),
        ({"layer": "stage_3"}, "layer 'stage_3'"),
    ],
)
def test_wrong_settings_are_refused(key, changes, message):
    layer = changes.pop("layer", None)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda x: ResNetV2(**SMALL | changes).init(key, x, layer=layer), jnp.zeros((1, 32, 32, 3)))
