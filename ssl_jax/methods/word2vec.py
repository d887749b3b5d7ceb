"""Word2Vec (Mikolov et al. 2013, arXiv 1301.3781 and 1310.4546): vectors of words that tell which words stand nearby.

Skip-gram tells a word from each word of its window, CBOW from the mean of them, by negative sampling or hierarchical
softmax or both. Windows, sub-sampling and negatives are those of the official code, tmikolov/word2vec, word2vec.c, and
so is the size of an update: the gradients of all pairs of a batch are added up, each with the whole learning rate. The
code updates after every pair; here a batch is a matrix product, and K drawn negatives of a row of tokens are shared by
its pairs, each counted `negatives / K` times, which leaves the expected loss as it is.
"""

from functools import partial

import jax
import jax.numpy as jnp

from ssl_jax import losses
from ssl_jax.collectives import axis_size
from ssl_jax.methods.api import Method
from ssl_jax.methods.parts import text, words
from ssl_jax.methods.parts.precision import wide_dtype
from ssl_jax.methods.parts.windows import around, scaled, summed, tiles, windows_of

TAKES = "text"

TILE = 32  # places whose windows are one product of matrices
product = partial(jnp.einsum, precision="highest")


def facts(source, config) -> dict:
    """The vocabulary: words that come `config.method.min_count` times, and their counts."""
    return text.vocabulary(source, text.splitter(config.method.split), config.method.min_count)


def read(source, config, facts, train: bool):
    """Rows of `config.method.length` tokens of the running text; a document a row outside of training."""
    encode = text.encoder(facts, text.splitter(config.method.split))
    if train:
        return text.Pieces.of(source, encode, config.method.length)
    return text.Documents(source, encode, config.method.document_length)


def build(config, facts) -> Method:
    """Word2Vec with vectors of `config.model.dim` values, from `config.method`:

    `architecture`, "skip_gram" or "cbow"; `negatives` a pair, 0 for none, and `shared_negatives`, K, how many are drawn
    for a row; `hierarchical`, whether hierarchical softmax is trained; `window`, the largest distance; `sample`, the
    threshold of sub-sampling, 0 for none; `power` of the counts by which negatives are drawn; `length` of a row of
    tokens; `most_repeats`, see `words.slower`; `split`, how text becomes words, and `min_count`, see `parts/text.py`;
    `document_length`, the most words of a document that `encode` takes the mean of.

    Raises:
      ValueError: an unknown architecture, a vocabulary too small, no loss, or a length that is no multiple of the tile.
    """
    method, dim, dtype = config.method, config.model.dim, wide_dtype(config)
    size, length, window = len(facts["counts"]), method.length, method.window
    tile, drawn = min(TILE, length), method.shared_negatives if method.negatives else 0  # K
    words.check(method, size, tile)
    kept = jnp.asarray(words.keep_probabilities(facts["counts"], method.sample), jnp.float32)
    thresholds = jnp.asarray(words.negative_thresholds(facts["counts"], method.power))
    skip_gram = method.architecture == "skip_gram"
    nodes, codes = words.huffman(facts["counts"]) if method.hierarchical else (None, None)
    slower = words.slower(facts["counts"], method, config.train.batch_size * length, nodes, codes)

    def views(key, example):
        """One row: sub-sampled before windows are formed, the width of each window, the negatives."""
        keep_key, radius_key, negative_key = jax.random.split(key, 3)
        tokens = example["tokens"]
        stays = (tokens > 0) & (jax.random.uniform(keep_key, (length,)) < kept[tokens])
        places = jnp.where(stays, jnp.cumsum(stays) - 1, length)  # out of range: dropped
        closed_up = lambda x: jnp.zeros(length, jnp.int32).at[places].set(x.astype(jnp.int32), mode="drop")  # noqa: E731
        viewed = {
            "tokens": closed_up(tokens), "sentence": closed_up(jnp.cumsum(tokens == 0)),
            "radius": jax.random.randint(radius_key, (length,), 1, window + 1), "index": example["index"],
        }  # fmt: skip
        if drawn:
            bits = jax.random.bits(negative_key, (drawn,), jnp.uint32)
            viewed["negatives"] = jnp.searchsorted(thresholds, bits, side="right").clip(1, size - 1).astype(jnp.int32)
        return viewed

    def init(key, batch):
        rows = {"outputs": size * bool(drawn), "nodes": (size - 1) * method.hierarchical}
        params = {name: jnp.zeros((count, dim), dtype) for name, count in rows.items() if count}
        return params | {"inputs": (jax.random.uniform(key, (size, dim), dtype) - 0.5) / dim}, {}

    def table_rows(batch):
        tokens, rows = batch["tokens"], {"inputs": batch["tokens"]}
        if drawn:
            rows["outputs"] = jnp.concatenate([tokens, batch["negatives"]], axis=1)
        if method.hierarchical:
            rows["nodes"] = jnp.asarray(nodes)[tokens].reshape(len(tokens), -1)
        return rows

    def embed(params, state, batch, key, progress, axis_name, train=True):
        if method.most_repeats:
            ids = table_rows(batch)
            params = {name: scaled(params[name], jnp.asarray(slower[name])[ids[name]]) for name in ids}
        tokens = tiles(batch["tokens"], tile)  # [b, t, s]: tiles of s places
        near = around(params["inputs"], tile, window)  # [b, t, c, d]: the words around them
        inside = windows_of(batch, tile, window)  # [b, t, s, c]: whether place c is in the window of place s
        pairs, within = inside, inside.astype(near.dtype)
        if skip_gram:  # every word of a window is to tell the word in its middle
            telling = near
        else:
            total, count = product("btsc,btcd->btsd", within, near), within.sum(-1, keepdims=True)
            # As in the code, every vector of the window gets the whole gradient of their mean.
            telling = total + jax.lax.stop_gradient(total / jnp.maximum(count, 1) - total)  # [b, t, s, d]
            pairs = count > 0
        outputs = {"pairs": pairs}
        if drawn:
            target, negatives = tiles(params["outputs"][:, :length], tile), params["outputs"][:, length:]
            differ = (tokens[..., None] != batch["negatives"][:, None, None]).astype(near.dtype)  # the word is none
            if skip_gram:
                outputs["positive"] = product("btsd,btcd->btsc", target, telling)
                weights = summed(product("btsc,btsk->btck", within, differ), tile, window)
                outputs["negative"] = product("bld,bkd->blk", params["inputs"], negatives)
            else:
                outputs["positive"], weights = jnp.sum(target * telling, axis=-1, keepdims=True), pairs * differ
                outputs["negative"] = product("btsd,bkd->btsk", telling, negatives)
            outputs["weights"] = weights * (method.negatives / drawn)
        if method.hierarchical:
            path = tiles(params["nodes"].reshape(len(tokens), length, -1, dim), tile)  # [b, t, s, p, d]
            code = jnp.asarray(codes)[tokens]  # -1 beyond the end of a path
            if skip_gram:
                outputs["nodes"] = product("btspd,btcd->btspc", path, telling)
                code, pairs = code[..., None], pairs[..., None, :]
            else:
                outputs["nodes"] = product("btspd,btsd->btsp", path, telling)
            outputs["codes"] = jnp.broadcast_to(jnp.where(pairs, code, -1), outputs["nodes"].shape)
        return outputs, state

    def objective(params, outputs, state, progress, axis_name):
        loss = 0.0
        if drawn:
            loss += losses.negative_sampling(
                outputs["positive"], outputs["negative"], weights=outputs["pairs"],
                negative_weights=outputs["weights"], axis_name=axis_name,
            )  # fmt: skip
        if method.hierarchical:
            codes = outputs["codes"]
            loss += losses.hierarchical_softmax(outputs["nodes"], codes, weights=codes >= 0, axis_name=axis_name)
        return loss, state, {"pairs": axis_size(axis_name) * jnp.sum(outputs["pairs"]).astype(loss.dtype)}

    def encode(params, state, inputs, layer=None, keys=None):
        """The mean of the vectors of a document's words, `tokens` int32 `[B, T]`; padding is below 0."""
        known = inputs["tokens"] > 0
        vectors = jnp.where(known[..., None], params["inputs"][jnp.maximum(inputs["tokens"], 0)], 0)
        return vectors.sum(1) / jnp.maximum(known.sum(1, keepdims=True), 1)

    covered = 100 * facts["counts"][1:].sum() / max(int(facts["seen"]), 1)
    return Method(
        init=init, views=views, embed=embed, objective=objective, encode=encode, table_rows=table_rows,
        describe=lambda batch_size: {"vocabulary": f"{size - 1:,} words, {covered:.1f} % of the text"},
        words=lambda params: (text.words_of(facts), params["inputs"]),
    )  # fmt: skip
