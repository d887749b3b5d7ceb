"""Vision transformers against published sizes and against the network written out in float64 NumPy."""

import inspect
import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.models.dropout import DropPath
from ssl_jax.models.positions import sincos_mae, sincos_moco_v3
from ssl_jax.models.resnet import ResNet
from ssl_jax.models.vit import SIZES, ViT

TINY = dict(patch_size=4, width=8, depth=2, heads=2, mlp_ratio=3)
IMAGES = np.random.default_rng(0).uniform(size=(3, 8, 12, 2))  # 2 x 3 patches


def abstract_params(model, size):
    return jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, size, size, 3)))["params"]


@pytest.mark.parametrize(
    "size, patch_size, parameters",
    [
        ("tiny", 16, 5_524_416),
        ("small", 16, 21_665_664),
        ("base", 16, 85_798_656),
        ("large", 16, 303_301_632),
        ("huge", 14, 630_764_800),
    ],
)
def test_parameter_counts_are_the_published_ones(size, patch_size, parameters):
    """timm's models at 224 pixels without their classifier."""
    params = abstract_params(ViT(**SIZES[size], patch_size=patch_size), 224)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == parameters


def test_names_and_shapes():
    model = ViT(**TINY)
    params = abstract_params(model, 16)
    assert set(params) == {"patch_projection", "class_token", "position_embedding", "block_1", "block_2", "norm"}
    assert set(params["block_2"]) == {"norm_1", "attention", "norm_2", "mlp"}
    assert set(params["block_2"]["attention"]) == {"qkv", "out"}
    assert set(params["block_2"]["mlp"]) == {"dense_1", "dense_2"}
    assert params["patch_projection"]["kernel"].shape == (4 * 4 * 3, 8)
    assert params["class_token"].shape == (1, 1, 8) and params["position_embedding"].shape == (1, 17, 8)
    fixed = abstract_params(ViT(**TINY, positions="sincos_mae", class_token=False, pool="mean"), 16)
    assert set(params) - set(fixed) == {"class_token", "position_embedding"}
    assert model.feature_dim == 8


def test_encoders_are_called_alike(key):
    common = list(inspect.signature(ResNet.__call__).parameters.values())
    assert list(inspect.signature(ViT.__call__).parameters.values())[: len(common)] == common
    keys, ids = jax.random.split(key, 2), jnp.zeros(2, jnp.int32)
    for model in (ViT(**TINY), ResNet(18, 1 / 64, "cifar")):
        call = partial(model.init_with_output, train=True, group_ids=ids, keys=keys, layer=None)
        assert jax.eval_shape(call, key, jnp.ones((2, 8, 8, 3)))[0].shape == (2, model.feature_dim)


# Fixed positions, number by number.


def sincos_by_loops(h, w, width, row_first):
    table, n = np.zeros((h * w, width)), width // 4
    for row in range(h):
        for column in range(w):
            first, second = (row, column) if row_first else (column, row)
            for k in range(n):
                frequency = math.exp(-math.log(10_000) * k / n)
                for half, place in enumerate((first, second)):
                    table[row * w + column, 2 * n * half + k] = math.sin(place * frequency)
                    table[row * w + column, 2 * n * half + n + k] = math.cos(place * frequency)
    return table


@pytest.mark.parametrize("function, row_first", [(sincos_moco_v3, True), (sincos_mae, False)])
@pytest.mark.parametrize("h, w, width", [(3, 3, 8), (2, 5, 12), (14, 14, 384)])
def test_fixed_positions_are_those_of_the_paper(function, row_first, h, w, width):
    table = function(h, w, width)
    assert table.dtype == np.float64 and table.shape == (h * w, width)
    np.testing.assert_allclose(table, sincos_by_loops(h, w, width, row_first), rtol=0, atol=1e-12)


# The network written out from Dosovitskiy et al. in NumPy; parameters are the model's.


def dense(p, x):
    return x @ p["kernel"] + p["bias"]


def layer_norm(p, x):
    mean = x.mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-6) * p["scale"] + p["bias"]


def attention(p, x, heads):
    width, outputs = x.shape[-1], []
    q, k, v = (dense({name: value[..., i * width : (i + 1) * width] for name, value in p["qkv"].items()}, x)
               for i in range(3))  # fmt: skip
    for head in range(heads):
        part = slice(head * width // heads, (head + 1) * width // heads)
        weights = np.exp(np.einsum("bqd,bkd->bqk", q[..., part], k[..., part]) / math.sqrt(width / heads))
        outputs.append(np.einsum("bqk,bkd->bqd", weights / weights.sum(-1, keepdims=True), v[..., part]))
    return dense(p["out"], np.concatenate(outputs, -1))


def network(p, images, model):
    """Features, and the patch tokens after block 1."""
    side, tokens = model.patch_size, []
    h, w = images.shape[1] // side, images.shape[2] // side
    for row in range(h):
        for column in range(w):
            patch = images[:, row * side : (row + 1) * side, column * side : (column + 1) * side]
            tokens.append(dense(p["patch_projection"], patch.reshape(len(images), -1)))
    x = np.stack(tokens, axis=1)
    first = int(model.class_token)
    if model.positions == "learned":
        x = x + p["position_embedding"][:, first:]
    else:
        x = x + sincos_by_loops(h, w, model.width, model.positions == "sincos_moco_v3")
    if first:
        token = p["class_token"] + (p["position_embedding"][:, :1] if model.positions == "learned" else 0)
        x = np.concatenate([np.repeat(token, len(x), axis=0), x], axis=1)
    gelu = np.vectorize(lambda value: value * (1 + math.erf(value / math.sqrt(2))) / 2)
    for i in range(1, model.depth + 1):
        block = p[f"block_{i}"]
        x = x + attention(block["attention"], layer_norm(block["norm_1"], x), model.heads)
        hidden = gelu(dense(block["mlp"]["dense_1"], layer_norm(block["norm_2"], x)))
        x = x + dense(block["mlp"]["dense_2"], hidden)
        if i == 1:
            after_block_1 = x[:, first:].reshape(len(x), h, w, -1)
    x = layer_norm(p["norm"], x)
    return x[:, 0] if model.pool == "class" else x[:, first:].mean(1), after_block_1


def drawn_params(model):
    """Parameters away from their initial values, so that every scale and bias counts."""
    r = np.random.default_rng(1)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.asarray(IMAGES, model.dtype))["params"]
    paths = jax.tree_util.tree_map_with_path
    return paths(lambda path, v: r.normal("scale" in jax.tree_util.keystr(path), 0.3, v.shape), shapes)


@pytest.mark.parametrize(
    "options",
    [
        dict(),
        dict(positions="sincos_moco_v3"),
        dict(positions="sincos_mae", pool="mean"),
        dict(positions="sincos_mae", pool="mean", class_token=False),
    ],
    ids=str,
)
def test_equals_the_network_written_out_in_numpy(x64, options):
    model = ViT(**TINY, **options, dtype=jnp.float64)
    params = drawn_params(model)
    features, after_block_1 = network(params, IMAGES, model)
    apply = jax.jit(model.apply, static_argnames=("layer",))
    np.testing.assert_allclose(apply({"params": params}, IMAGES), features, rtol=1e-10, atol=1e-10)
    ours = apply({"params": params}, IMAGES, layer="block_1")
    np.testing.assert_allclose(ours, after_block_1, rtol=1e-10, atol=1e-10)
    # Not normalised, not the output of another block.
    last = apply({"params": params}, IMAGES, layer="block_2")
    assert last.shape == ours.shape and not np.allclose(last, ours)


@pytest.mark.parametrize("dtype, error", [("float32", 2e-5), ("bfloat16", 0.2)])
def test_lower_precision_is_near_and_keeps_float32_parameters_and_features(dtype, error):
    """Softmax and the sums of attention come from `jax.nn.dot_product_attention` here."""
    model = ViT(**TINY, dtype=dtype)
    shapes = jax.eval_shape(model.init, jax.random.key(0), IMAGES)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {np.dtype("float32")}
    params = drawn_params(model)
    variables = {"params": jax.tree.map(jnp.float32, params)}
    features, expected = model.apply(variables, jnp.asarray(IMAGES)), network(params, IMAGES, model)[0]
    assert features.dtype == jnp.float32
    np.testing.assert_allclose(features, expected, atol=error)
    assert jax.eval_shape(partial(model.apply, layer="block_2"), variables, jnp.asarray(IMAGES)).dtype == dtype


def test_the_implementation_of_attention_is_the_one_asked_for(key, monkeypatch):
    asked = []
    record = lambda q, k, v, implementation: (asked.append(implementation), v)[1]  # noqa: E731
    monkeypatch.setattr(jax.nn, "dot_product_attention", record)
    for attention in (None, "xla", "cudnn"):
        jax.eval_shape(ViT(**TINY | {"depth": 1}, attention=attention).init, key, IMAGES)
    assert asked == [None, "xla", "cudnn"]


@pytest.mark.parametrize("dtype, centre, error", [("bfloat16", 100, 0.02), ("float32", 10_000, 1e-3)])
def test_statistics_are_float32_and_exact_far_from_0(key, dtype, centre, error):
    """Means rounded to bfloat16, or variances from mean squares, would lose the differences between channels."""
    model = ViT(**TINY, dtype=dtype)
    params = model.init(key, jnp.asarray(IMAGES))["params"]
    tokens = jnp.round(centre + 3 * jax.random.normal(key, (1, 7, 8)))
    nothing = jax.tree.map(jnp.zeros_like, params["patch_projection"])
    params |= {"position_embedding": tokens, "patch_projection": nothing, "class_token": jnp.zeros((1, 1, 8))}
    norms = lambda module, _: isinstance(module, nn.LayerNorm)  # noqa: E731
    _, state = model.apply({"params": params}, jnp.asarray(IMAGES), capture_intermediates=norms)
    (normed,) = state["intermediates"]["block_1"]["norm_1"]["__call__"]
    expected = layer_norm({"scale": 1, "bias": 0}, np.asarray(tokens, np.float64))
    np.testing.assert_allclose(normed[:1], expected, atol=error)
    (features,) = state["intermediates"]["norm"]["__call__"]
    np.testing.assert_allclose(features.mean(-1), 0, atol=1e-5)


# Initialisation.


@pytest.mark.parametrize("scheme, token_std, qkv_out", [("moco_v3", 1e-6, 64), ("mae", 0.02, 3 * 64)])
def test_initial_values(key, scheme, token_std, qkv_out):
    model = ViT(patch_size=8, width=64, depth=1, heads=2, init_scheme=scheme)
    params = jax.jit(model.init)(key, jnp.ones((1, 16, 16, 3)))["params"]
    block = params["block_1"]
    for p, fan_in, fan_out in [
        (params["patch_projection"], 192, 64),
        (block["attention"]["qkv"], 64, qkv_out),
        (block["attention"]["out"], 64, 64),
        (block["mlp"]["dense_1"], 64, 256),
        (block["mlp"]["dense_2"], 256, 64),
    ]:
        limit = math.sqrt(6 / (fan_in + fan_out))
        assert 0.99 * limit < abs(p["kernel"]).max() <= limit
        np.testing.assert_allclose(p["kernel"].std(), limit / math.sqrt(3), rtol=0.05)
        if p is not params["patch_projection"]:
            assert not p["bias"].any()
    bias = params["patch_projection"]["bias"]
    if scheme == "moco_v3":
        assert not bias.any()
    else:  # the default of a convolution in torch
        assert 0.9 / math.sqrt(192) < bias.max() <= 1 / math.sqrt(192) and -1 / math.sqrt(192) <= bias.min() < 0
    np.testing.assert_allclose(params["class_token"].std(), token_std, rtol=0.3)
    np.testing.assert_allclose(params["position_embedding"].std(), 0.02, rtol=0.15)
    for norm in (params["norm"], block["norm_1"], block["norm_2"]):
        assert (norm["scale"] == 1).all() and not norm["bias"].any()


def test_initial_values_of_dino(key):
    model = ViT(patch_size=8, width=64, depth=1, heads=2, init_scheme="dino")
    params = jax.jit(model.init)(key, jnp.ones((1, 16, 16, 3)))["params"]
    block, limit = params["block_1"], 1 / math.sqrt(192)
    for layer in [*block["attention"].values(), *block["mlp"].values()]:
        np.testing.assert_allclose(layer["kernel"].std(), 0.02, rtol=0.05)
        assert abs(layer["kernel"]).max() > 0.06 and not layer["bias"].any()  # a normal distribution, not a uniform one
    for leaf in params["patch_projection"].values():
        assert 0.9 * limit < abs(leaf).max() <= limit
    for name in ("class_token", "position_embedding"):
        np.testing.assert_allclose(params[name].std(), 0.02, rtol=0.3)


def test_double_precision_has_parameters_of_double_precision(x64):
    params = jax.eval_shape(ViT(**TINY, dtype=jnp.float64).init, jax.random.key(0), IMAGES)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype("float64")}


# Options that change no value, and drop path.


def test_remat_changes_no_value(key):
    images, keys = jnp.asarray(IMAGES), jax.random.split(key, 3)

    def run(remat):
        model = ViT(**TINY, remat=remat, drop_path=0.5)
        variables = jax.jit(partial(model.init, train=True))(key, images, keys=keys)
        loss = lambda variables: jnp.sum(jnp.sin(model.apply(variables, images, train=True, keys=keys)))  # noqa: E731
        return variables, jax.jit(jax.value_and_grad(loss))(variables), str(jax.make_jaxpr(loss)(variables))

    (plain, plain_values, plain_program), (again, again_values, again_program) = run(False), run(True)
    jax.tree.map(np.testing.assert_array_equal, plain, again)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), plain_values, again_values)
    assert again_program.count("prevent_cse") == 2 and "prevent_cse" not in plain_program


def test_drop_path_belongs_to_the_examples_and_to_training(key):
    model, images, keys = ViT(**TINY, drop_path=0.5), jnp.asarray(np.tile(IMAGES[:1], (8, 1, 1, 1))), None
    variables = model.init(key, images, train=True)
    keys = jax.random.split(key, 8)
    apply = jax.jit(partial(model.apply, variables), static_argnames="train")
    y = apply(images, train=True, keys=keys)
    assert len(np.unique(np.asarray(y).round(4), axis=0)) > 1
    order = jnp.array([3, 1, 0, 2, 7, 6, 4, 5])
    np.testing.assert_allclose(apply(images, train=True, keys=keys[order]), y[order], atol=1e-6)
    np.testing.assert_allclose(apply(images[:4], train=True, keys=keys[4:]), y[4:], atol=1e-6)
    np.testing.assert_array_equal(apply(images, keys=keys), apply(images))
    with pytest.raises(ValueError, match="rate 0.5 with train=True and no keys"):
        apply(images, train=True)


def test_drop_path_grows_from_0_to_its_rate_and_no_two_layers_share_masks(key):
    seen = []

    def record(call, args, kwargs, context):
        if isinstance(context.module, DropPath):
            seen.append((context.module.rate, context.module.layer))
        return call(*args, **kwargs)

    with nn.intercept_methods(record):
        jax.eval_shape(ViT(**TINY | {"depth": 4}, drop_path=0.3).init, key, IMAGES)
    rates, layers = zip(*seen, strict=True)
    np.testing.assert_allclose(rates, np.repeat([0, 0.1, 0.2, 0.3], 2))
    assert len(set(layers)) == 8


def test_dropped_branches_leave_the_tokens_as_they_are(key):
    model, keys = ViT(**TINY, drop_path=0.999999), jax.random.split(key, 3)
    variables = model.init(key, jnp.asarray(IMAGES))
    run = partial(model.apply, variables, jnp.asarray(IMAGES), train=True, keys=keys)
    np.testing.assert_array_equal(run(layer="block_1"), run(layer="block_2"))


@pytest.mark.parametrize(
    "options, images, layer, message",
    [
        ({"positions": "rotary"}, jnp.ones((1, 8, 8, 3)), None, r"positions 'rotary' and expects one of \['learned'"),
        ({"pool": "max"}, jnp.ones((1, 8, 8, 3)), None, r"pool 'max' and expects one of \['class', 'mean', 'map'\]"),
        ({"init_scheme": "he"}, jnp.ones((1, 8, 8, 3)), None, r"init_scheme 'he' and expects one of \['moco_v3'"),
        ({"attention": "flash"}, jnp.ones((1, 8, 8, 3)), None, r"attention 'flash' and expects one of \[None, 'xla'"),
        ({"heads": 3}, jnp.ones((1, 8, 8, 3)), None, "width 8 and expects a multiple of heads=3"),
        ({"class_token": False}, jnp.ones((1, 8, 8, 3)), None, "pool 'class' with class_token=False"),
        ({}, jnp.ones((1, 8, 8, 3)), "block_3", "layer 'block_3' and expects 'block_1' to 'block_2'"),
        ({}, jnp.ones((8, 8, 3)), None, r"float32 \[8, 8, 3\] and expects float images \[b, H, W, C\]"),
        ({}, jnp.ones((1, 8, 8, 3), jnp.uint8), None, r"uint8 \[1, 8, 8, 3\] and expects float images"),
        ({}, jnp.ones((1, 8, 10, 3)), None, "images of 8 x 10 pixels and expects multiples of patch_size=4"),
        ({}, jnp.ones((1, 10, 8, 3)), None, "images of 10 x 8 pixels and expects multiples of patch_size=4"),
        (
            {"width": 6, "positions": "sincos_moco_v3"}, jnp.ones((1, 8, 8, 3)), None,
            "width 6 and expect a multiple of 4",
        ),
    ],
)  # fmt: skip
def test_wrong_use_gets_one_sentence(key, options, images, layer, message):
    with pytest.raises(ValueError, match=message):
        ViT(**TINY | options).init(key, images, layer=layer)
