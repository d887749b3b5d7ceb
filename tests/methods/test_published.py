"""Published checkpoints: half precision, encoders made of them, and checkpoints of other networks."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from ssl_jax import methods
from ssl_jax.encoder import make_encoder
from ssl_jax.methods.parts import published, published_openai
from ssl_jax.train import parallel

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
TEXTS = ["a red circle", "a dog"]


@pytest.fixture
def stored(tiny, own_data, tmp_path):
    """`stored("clip")`: a config with the vocabulary of a file, and random parameters and state of its networks."""

    def make(name, **changes):
        config = tiny(name)
        config.update_from_flattened_dict(changes)
        _, known = own_data(config)
        (tmp_path / "tokenizer.json").write_bytes(known["tokenizer"].tobytes())
        config.method.tokenizer = str(tmp_path / "tokenizer.json")
        method, side = methods.build(config, known), config.augment.size
        views = {"view_0": jnp.zeros((2, side, side, 3)), "tokens": jnp.zeros((2, 16), int)}
        params, state = jax.jit(method.init)(jax.random.key(0), views)
        keys = iter(jax.random.split(jax.random.key(1), len(jax.tree.leaves(params))))
        params = jax.tree.map(lambda leaf: leaf + 0.02 * jax.random.normal(next(keys), leaf.shape), params)
        return config, method, params, state

    return make


def encoded(method, params, state):
    """Images and texts in their common space."""
    encoder = make_encoder(method, parallel.make("shard_map", 1, 1), params, state)
    return encoder.image(IMAGES), encoder.text(TEXTS)


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_a_checkpoint_of_half_precision_becomes_an_encoder(stored, name):
    config, method, params, state = stored(name)
    tensors = {key: x.astype(np.float16) for key, x in published.write(params, name).items()}
    read = published.read(tensors, name)
    assert {leaf.dtype for leaf in jax.tree.leaves(read)} == {np.dtype(np.float32)}
    made, own, empty = published.build(config, read)
    assert jax.tree.structure(own) == jax.tree.structure(params) and empty == state
    images, texts = encoded(made, own, empty)
    assert (images @ texts.T).argmax(axis=1).shape == (3,)
    for found, expected in zip((images, texts), encoded(method, params, state), strict=True):
        np.testing.assert_allclose(found, expected, atol=5e-3)


def test_a_checkpoint_of_a_resnet_becomes_an_encoder(stored):
    resnet = {"name": "clip_resnet", "blocks": (1, 1, 1, 1), "width": 1 / 16, "output_dim": 16, "init": "torch_default",
              "norm_momentum": 0.9, "norm_groups": 1}  # fmt: skip
    config, method, params, state = stored("clip", **{"augment.size": 32})
    config.model = {**resnet, "text": config.model.text.to_dict()}
    config.method.image_projection = False
    known = {"tokenizer": np.fromfile(config.method.tokenizer, np.uint8)}
    method = methods.build(config, known)
    views = {"view_0": jnp.zeros((2, 32, 32, 3)), "tokens": jnp.zeros((2, 16), int)}
    params, state = jax.jit(method.init)(jax.random.key(0), views)
    read = published_openai.read(published_openai.write(params, state["batch_stats"]))
    for found, expected in zip(encoded(*published.build(config, *read)), encoded(method, params, state), strict=True):
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match="state/batch_stats/encoder/.* is not in the checkpoint and "):
        published.build(config, read[0])


def test_precision_is_raised_and_never_lowered():
    rows = [("a/kernel", ["weight"], published.SAME)]
    for given, held in ((np.float16, np.float32), (ml_dtypes.bfloat16, np.float32), (np.float64, np.float64)):
        made = published.gathered({"weight": np.ones((2, 3), given)}, rows, "this")
        assert made["a"]["kernel"].dtype == held


def test_parameters_of_other_networks_and_a_missing_vocabulary_are_refused(stored):
    config, _, params, _ = stored("clip")
    deeper = params | {"text": params["text"] | {"block_3": params["text"]["block_2"]}}
    with pytest.raises(ValueError, match="params/text/block_3/.* in the checkpoint and not in the networks"):
        published.build(config, deeper)
    wider = params | {"image_projection": {"kernel": np.ones((32, 24))}}
    with pytest.raises(ValueError, match=r"image_projection/kernel is \[32, 24\] in the checkpoint and \[32, 16\] in"):
        published.build(config, wider)
    config.method.tokenizer = ""
    with pytest.raises(ValueError, match="config.method.tokenizer is ''; expected the vocabulary"):
        published.build(config, params)
