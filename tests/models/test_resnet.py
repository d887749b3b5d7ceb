"""ResNets against published sizes and against the network written out in float64 NumPy (and in torch)."""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.models.norm import BatchNorm
from ssl_jax.models.resnet import LAYERS, Conv, ResidualBlock, ResNet, Stage, variance_scaling


def abstract_params(model):
    return jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 32, 32, 3)))["params"]


def waves(key, shape, dtype):
    """A deterministic initializer that compiles at once."""
    return jnp.cos(jnp.arange(np.prod(shape), dtype=dtype)).reshape(shape)


def count(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize(
    "depth, parameters", [(18, 11_176_512), (34, 21_284_672), (50, 23_508_032), (101, 42_500_160), (152, 58_143_808)]
)
def test_parameter_counts_are_the_published_ones(depth, parameters):
    """torchvision's models without their classifier."""
    assert count(abstract_params(ResNet(depth))) == parameters


def test_wide_networks_have_the_sizes_of_the_simclr_paper():
    """ResNet-50 (2x) has "94M" and (4x) "375M" parameters."""
    assert [round(count(abstract_params(ResNet(50, width))) / 1e6) for width in (2, 4)] == [94, 375]


@pytest.mark.parametrize(
    "depth, stem, size, expected",
    [
        (50, "imagenet", 224, [(56, 64), (56, 256), (28, 512), (14, 1024), (7, 2048)]),
        (18, "imagenet", 97, [(25, 64), (25, 64), (13, 128), (7, 256), (4, 512)]),
        (18, "cifar", 32, [(32, 64), (32, 64), (16, 128), (8, 256), (4, 512)]),
    ],
)
def test_feature_maps_have_the_published_shapes(depth, stem, size, expected):
    model = ResNet(depth, stem=stem)
    images = jnp.ones((2, size, size, 3))

    def shape(layer):
        return jax.eval_shape(partial(model.init_with_output, layer=layer), jax.random.key(0), images)[0].shape

    assert [shape(layer) for layer in LAYERS] == [(2, side, side, channels) for side, channels in expected]
    assert shape(None) == (2, model.feature_dim)


def test_names_and_stems():
    params = abstract_params(ResNet(50, width=0.25, stem="cifar"))
    assert set(params) == {"stem_conv", "stem_norm", "stage_1", "stage_2", "stage_3", "stage_4"}
    assert params["stem_conv"]["kernel"].shape == (3, 3, 3, 16)
    layers = ["conv_1", "norm_1", "conv_2", "norm_2", "conv_3", "norm_3"]
    assert sorted(params["stage_2"]["block_2"]) == sorted(layers)
    assert sorted(params["stage_2"]["block_1"]) == sorted([*layers, "shortcut_conv", "shortcut_norm"])
    assert set(params["stage_2"]["block_1"]["conv_1"]) == {"kernel"}
    assert "shortcut_conv" not in abstract_params(ResNet(18))["stage_1"]["block_1"]


# The network written out from He et al. with the operations of NumPy or of torch; parameters are the model's.


def network(ops, params, images, stem, stages):
    norm = lambda p, x: ops.norm(x, p["scale"], p["bias"])  # noqa: E731
    if stem == "imagenet":
        x = ops.conv(images, params["stem_conv"]["kernel"], 2, 3)
        x = ops.max_pool(ops.relu(norm(params["stem_norm"], x)))
    else:
        x = ops.relu(norm(params["stem_norm"], ops.conv(images, params["stem_conv"]["kernel"], 1, 1)))
    for stage in range(1, stages + 1):
        for name, p in sorted(params[f"stage_{stage}"].items()):
            stride = 2 if stage > 1 and name == "block_1" else 1
            if "conv_3" in p:
                y = ops.relu(norm(p["norm_1"], ops.conv(x, p["conv_1"]["kernel"], 1, 0)))
                y = ops.relu(norm(p["norm_2"], ops.conv(y, p["conv_2"]["kernel"], stride, 1)))
                y = norm(p["norm_3"], ops.conv(y, p["conv_3"]["kernel"], 1, 0))
            else:
                y = ops.relu(norm(p["norm_1"], ops.conv(x, p["conv_1"]["kernel"], stride, 1)))
                y = norm(p["norm_2"], ops.conv(y, p["conv_2"]["kernel"], 1, 1))
            if "shortcut_conv" in p:
                x = norm(p["shortcut_norm"], ops.conv(x, p["shortcut_conv"]["kernel"], stride, 0))
            x = ops.relu(x + y)
    return x


def numpy_windows(x, size, stride, pad, value):
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)), constant_values=value)
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))[:, ::stride, ::stride]


def numpy_norm(x, scale, bias):
    return (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5) * scale + bias


NUMPY = SimpleNamespace(
    conv=lambda x, kernel, stride, pad: np.einsum(
        "bhwiyx,yxio->bhwo", numpy_windows(x, len(kernel), stride, pad, 0), kernel, optimize=True
    ),
    max_pool=lambda x: numpy_windows(x, 3, 2, 1, -np.inf).max((-2, -1)),
    norm=numpy_norm,
    relu=lambda x: np.maximum(x, 0),
)


def model_and_inputs(depth, stem, size):
    """A float64 model with parameters away from their initial values, so that every scale and bias counts."""
    model = ResNet(depth, width=0.0625, stem=stem, dtype=jnp.float64)
    r = np.random.default_rng(0)
    images = r.uniform(size=(3, size, size, 3))
    variables = jax.eval_shape(partial(model.init, layer="stage_2"), jax.random.key(0), images)
    draw = lambda v: r.normal(1 if v.ndim == 1 else 0, 0.3, v.shape)  # noqa: E731
    params = jax.tree.map(draw, variables["params"])
    statistics = jax.tree.map(lambda v: np.zeros(v.shape), variables["batch_stats"])
    apply = lambda params: model.apply(  # noqa: E731
        {"params": params, "batch_stats": statistics}, images, train=True, layer="stage_2", mutable=["batch_stats"]
    )[0]
    return apply, params, images


@pytest.mark.parametrize("depth, stem, size", [(18, "imagenet", 24), (18, "imagenet", 17), (50, "cifar", 7)])
def test_equals_the_network_written_out_in_numpy(x64, depth, stem, size):
    apply, params, images = model_and_inputs(depth, stem, size)
    expected = network(NUMPY, params, images, stem, stages=2)
    np.testing.assert_allclose(jax.jit(apply)(params), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parity
@pytest.mark.parametrize("depth, stem, size", [(18, "imagenet", 21), (50, "imagenet", 24)])
def test_values_and_gradients_equal_torch(x64, depth, stem, size):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    ops = SimpleNamespace(
        conv=lambda x, kernel, stride, pad: F.conv2d(x, kernel.permute(3, 2, 0, 1), stride=stride, padding=pad),
        max_pool=lambda x: F.max_pool2d(x, 3, 2, 1),
        norm=lambda x, scale, bias: F.batch_norm(x, None, None, scale, bias, training=True, eps=1e-5),
        relu=F.relu,
    )
    apply, params, images = model_and_inputs(depth, stem, size)
    theirs = jax.tree.map(lambda v: torch.tensor(v, requires_grad=True), params)
    output = network(ops, theirs, torch.tensor(images).permute(0, 3, 1, 2), stem, stages=2).permute(0, 2, 3, 1)
    weights = np.random.default_rng(1).normal(size=output.shape)
    (output * torch.tensor(weights)).sum().backward()

    gradient, ours = jax.jit(jax.grad(lambda p: (lambda y: (jnp.sum(y * weights), y))(apply(p)), has_aux=True))(params)
    np.testing.assert_allclose(ours, output.detach().numpy(), rtol=1e-10, atol=1e-10)
    close = lambda a, b: np.testing.assert_allclose(a, b.grad.numpy(), rtol=1e-9, atol=1e-9)  # noqa: E731
    jax.tree.map(close, gradient, theirs)


def test_a_1x1_convolution_is_a_convolution(x64):
    x, conv = np.random.default_rng(0).normal(size=(2, 5, 6, 3)), Conv(4, 1, 2, variance_scaling, jnp.float64)
    y, variables = conv.init_with_output(jax.random.key(0), x)
    kernel = np.asarray(variables["params"]["kernel"])
    assert kernel.shape == (1, 1, 3, 4)
    np.testing.assert_allclose(y, NUMPY.conv(x, kernel, 2, 0), rtol=1e-12, atol=1e-12)


def test_kernels_start_with_variance_one_over_fan_in(key):
    kernel = Conv(256, 3, 1, variance_scaling, jnp.float32).init(key, jnp.ones((1, 4, 4, 64)))["params"]["kernel"]
    np.testing.assert_allclose(kernel.std(), (9 * 64) ** -0.5, rtol=0.01)
    np.testing.assert_allclose(abs(kernel).max() / kernel.std(), 2 / 0.87962566, rtol=0.01)


@pytest.mark.parametrize("bottleneck", [False, True])
def test_zero_initialisation_makes_every_block_its_shortcut(key, bottleneck):
    conv = partial(Conv, kernel_init=waves, dtype=jnp.float32)
    x = jax.random.uniform(key, (2, 6, 6, 3))

    def block_outputs(zero_init_residual):
        stage = Stage(3, 4, 2, bottleneck, zero_init_residual, conv, BatchNorm)
        blocks = lambda module, _: isinstance(module, ResidualBlock)  # noqa: E731
        run = lambda key: stage.init_with_output(key, x, train=False, capture_intermediates=blocks)[1]  # noqa: E731
        outputs = jax.jit(run)(key)["intermediates"]
        return [outputs[f"block_{i}"]["__call__"][0] for i in (1, 2, 3)]

    first, second, third = block_outputs(zero_init_residual=True)
    assert (first == second).all() and (second == third).all() and (first > 0).any()
    first, second, third = block_outputs(zero_init_residual=False)
    assert not (first == second).all() and not (second == third).all()


def test_bfloat16_computation_keeps_float32_parameters_statistics_and_features(key):
    model = ResNet(18, width=0.0625, stem="cifar", dtype=jnp.bfloat16)
    images = jnp.ones((2, 8, 8, 3))
    variables = jax.eval_shape(model.init, key, images)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype("float32")}
    assert jax.eval_shape(model.apply, variables, images).dtype == jnp.float32
    assert jax.eval_shape(partial(model.apply, layer="stage_3"), variables, images).dtype == jnp.bfloat16


def test_norm_and_group_ids_reach_every_norm(key):
    norm = partial(BatchNorm, groups=2)
    model = ResNet(18, width=0.0625, stem="cifar", norm=norm, zero_init_residual=False, kernel_init=waves)
    images = jax.random.uniform(key, (8, 8, 8, 3))
    variables = jax.jit(partial(model.init, layer="stage_2"))(key, images)

    @jax.jit
    def apply(x, ids):
        options = dict(train=True, group_ids=ids, layer="stage_2", mutable=["batch_stats"])
        return model.apply(variables, x, **options)[0]

    ids = jnp.array([0, 1, 1, 0, 1, 0, 0, 1])
    order = jnp.argsort(ids)
    np.testing.assert_allclose(apply(images, ids)[order], apply(images[order], jnp.arange(8) // 4), atol=1e-4)
    other = images.at[1].set(0)
    same_group = np.asarray(jnp.abs(apply(images, ids) - apply(other, ids)).max((1, 2, 3)) > 0)
    np.testing.assert_array_equal(same_group, ids == 1)


@pytest.mark.parametrize(
    "options, images, layer, message",
    [
        ({"depth": 20}, jnp.ones((1, 8, 8, 3)), None, r"depth 20 and expects one of \[6, 10, 18, 34, 50, 101, 152\]"),
        ({"stem": "mnist"}, jnp.ones((1, 8, 8, 3)), None, "stem 'mnist' and expects 'imagenet' or 'cifar'"),
        ({"width": 0.01}, jnp.ones((1, 8, 8, 3)), None, "width 0.01 and expects at least 1/64"),
        ({}, jnp.ones((1, 8, 8, 3)), "stage_5", r"layer 'stage_5' and expects one of \['stem', 'stage_1'"),
        ({}, jnp.ones((8, 8, 3)), None, r"float32 \[8, 8, 3\] and expects float images \[b, H, W, C\]"),
        ({}, jnp.ones((1, 8, 8, 3), jnp.uint8), None, r"uint8 \[1, 8, 8, 3\] and expects float images"),
    ],
)
def test_wrong_use_gets_one_sentence(key, options, images, layer, message):
    with pytest.raises(ValueError, match=message):
        ResNet(**options).init(key, images, layer=layer)
