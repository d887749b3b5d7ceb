"""Pictures of text: attention is what the blocks compute with, hidden tokens stand in their text."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.data import wordpiece
from ssl_jax.methods.parts import reading
from ssl_jax.models.bert import Bert


def test_attention_gives_what_the_blocks_give():
    model = Bert(vocabulary=12, width=8, depth=2, heads=2, positions=6)
    tokens, segments = jnp.array([[1, 5, 2, 7, 9]]), jnp.array([[0, 0, 0, 1, 1]])
    params = jax.jit(model.init)(jax.random.key(0), tokens)["params"]
    params = jax.tree.map(lambda leaf: leaf + np.random.default_rng(leaf.size).normal(0, 0.5, leaf.shape), params)
    found = np.asarray(jax.jit(partial(reading.attention, model.clone(remat=True)))(params, tokens, segments))
    assert found.shape == (1, 2, 2, 5, 5)
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-5)

    @jax.jit
    def run(params):
        return model.apply(
            {"params": params}, tokens, segments, mutable=["intermediates"],
            capture_intermediates=lambda module, _: module.name in ("norm", "norm_2", "attention"),
        )[1]["intermediates"]  # fmt: skip

    held = jax.device_get(run(params))
    for i, x in enumerate((held["norm"]["__call__"][0], held["block_1"]["norm_2"]["__call__"][0])):
        own = jax.tree.map(np.asarray, params[f"block_{i + 1}"]["attention"])
        value = (x[0] @ own["qkv"]["kernel"] + own["qkv"]["bias"]).reshape(5, 3, 2, 4)[:, 2]
        mixed = np.einsum("hqk,khd->qhd", found[0, i], value).reshape(5, 8)
        given = held[f"block_{i + 1}"]["attention"]["__call__"][0][0]
        np.testing.assert_allclose(given, mixed @ own["out"]["kernel"] + own["out"]["bias"], atol=1e-4)


def test_the_hidden_token_that_is_asked_for_is_the_first_that_is_masked():
    tokenizer = wordpiece.load(wordpiece.train(["the cat sat on the mat"] * 4, 60, True))
    ids = tokenizer.encode("the cat sat on the mat", add_special_tokens=False).ids
    mask, padding = (tokenizer.token_to_id(name) for name in ("[MASK]", "[PAD]"))
    row = [*ids[:3], mask, *ids[4:], padding]
    batch = {
        "tokens": np.array([row, row]), "places": np.array([[1, 3], [0, 0]]), "counts": np.array([[1, 1], [0, 0]]),
        "masked": np.array([[0, 1], [0, 0]]), "target": np.array([[ids[1], ids[3]], [0, 0]]),
    }  # fmt: skip
    shares = np.zeros((2, 2, tokenizer.get_vocab_size()))
    shares[0, 1, ids[3]], shares[0, 1, ids[0]] = 0.75, 0.25
    table = reading.fill_ins(tokenizer, batch, shares)
    ((text, hidden, likeliest),) = table.rows  # the second row hides nothing
    assert "____" in text and "[PAD]" not in text and "[MASK]" not in text
    assert hidden == tokenizer.id_to_token(ids[3])
    assert likeliest.startswith(f"{hidden} 75 %, {tokenizer.id_to_token(ids[0])} 25 %")
