"""A method meets data of another kind, or an encoder images of other channels: a sentence, in one place."""

import jax
import numpy as np
import pytest

from ssl_jax import methods
from ssl_jax.data import sources
from ssl_jax.encoder import make_encoder
from ssl_jax.recipes import CONFIGS, config_module
from ssl_jax.train import parallel

OWN = {"bert": "text", "word2vec": "text", "cpc_audio": "audio"}
DATA = {"image": "digits", "text": "synthetic_text:16", "audio": "synthetic_sound:16"}


@pytest.mark.parametrize("method", methods.names())
def test_data_of_another_kind_are_refused(method):
    config, own = config_module(CONFIGS / f"{method}.py").get_config("tiny"), OWN.get(method, "image")
    assert own in sources.load(config.data, "train")[0]
    for kind, spec in DATA.items():
        source = sources.load(spec, "train")
        if kind == own:
            methods.check_source(source, config)
            continue
        with pytest.raises(ValueError, match=f"'{method}' takes '{own}', and the examples of {source.name} have "):
            methods.read(source, config, {}, train=True)


def test_an_encoder_names_the_channels_that_it_takes(tiny, tiny_batch):
    config = tiny()
    config.augment.mean = config.augment.std = None
    method = methods.build(config)
    viewed = jax.eval_shape(jax.vmap(method.views), jax.random.split(jax.random.key(0), 2), tiny_batch(2))
    params, state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), jax.eval_shape(
        method.init, jax.random.key(0), viewed
    ))  # fmt: skip
    encoder = make_encoder(method, parallel.make("shard_map", 1, 1), params, state)
    for channels in (3, 13):
        sentence = f"Images of {channels} channels were given, and this encoder was trained on images of 1 channels"
        with pytest.raises(ValueError, match=sentence):
            encoder(np.zeros((2, 8, 8, channels), np.uint8))
        with pytest.raises(ValueError, match=sentence):
            encoder.rows(sources.from_arrays({"image": np.zeros((2, 8, 8, channels), np.uint8)}))
