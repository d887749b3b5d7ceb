"""Text towers: what they may see, where their feature stands, initial values and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.models.text import TextTransformer

TINY = {"vocabulary": 20, "length": 6, "width": 32, "depth": 2, "heads": 2}
TOKENS = jnp.asarray([[18, 3, 4, 19, 19, 19], [18, 5, 19, 19, 19, 19]])


def start(**changes):
    model = TextTransformer(**TINY | changes)
    return model, model.init(jax.random.key(0), TOKENS)


@pytest.mark.parametrize(
    "changes, seen",
    [
        ({}, [[1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0]]),
        ({"causal": False, "pool": "last"}, [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]]),
    ],
)
def test_which_places_a_feature_depends_on(changes, seen):
    """Through the gradient of the positions: those up to the first end (CLIP), or all (SigLIP)."""
    model, variables = start(**changes)

    def feature(places, row):
        params = variables["params"] | {"position_embedding": places}
        return jnp.sum(model.apply({"params": params}, TOKENS)[row] * jnp.arange(32.0))

    for row, places in enumerate(seen):
        slope = jax.grad(feature)(variables["params"]["position_embedding"], row)
        np.testing.assert_array_equal(np.abs(slope[0]).max(-1) > 0, np.array(places, bool))


def test_initial_values_of_clip():
    _, variables = start(width=64, depth=3, init_scheme="clip", vocabulary=400)
    params, width = variables["params"], 64
    block = params["block_2"]
    expected = {
        0.02: params["embedding"], 0.01: params["position_embedding"],
        width**-0.5: block["attention"]["qkv"]["kernel"],
        (6 * width) ** -0.5: block["attention"]["out"]["kernel"],
        (2 * width) ** -0.5: block["mlp"]["dense_1"]["kernel"],
    }  # fmt: skip
    for deviation, values in expected.items():
        assert np.std(values) == pytest.approx(deviation, rel=0.1)
    assert np.std(block["mlp"]["dense_2"]["kernel"]) == pytest.approx((6 * width) ** -0.5, rel=0.1)


def test_layers_and_shorter_texts():
    model, variables = start()
    assert model.apply(variables, TOKENS, layer="block_1").shape == (2, 6, 32)
    whole, short = model.apply(variables, TOKENS), model.apply(variables, TOKENS[:, :4])
    np.testing.assert_allclose(whole, short, atol=1e-6)  # what is cut is behind the end


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"pool": "first"}, "pool 'first'"),
        ({"activation": "relu"}, "activation 'relu'"),
        ({"init_scheme": "bert"}, "init_scheme 'bert'"),
        ({"length": 5}, "T at most the 5 positions"),
    ],
)
def test_wrong_options_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(TextTransformer(**TINY | changes).init, jax.random.key(0), TOKENS)
