"""BERT (Devlin et al. 2019, arXiv 1810.04805): tell hidden words from the words on both sides of them.

15 % of the tokens are to be told, of which 80 % are replaced by [MASK]; a second loss tells whether the second segment
of a pair follows the first. RoBERTa's form (Liu et al. 2019, arXiv 1907.11692) has rows of running text and no pairs;
masks are drawn anew at every step in both. Official code: google-research/bert, run_pretraining.py.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax import losses
from ssl_jax.augment.token_masks import choose_places, hide
from ssl_jax.data import wordpiece
from ssl_jax.losses.embeddings import mean
from ssl_jax.methods.api import Method
from ssl_jax.methods.parts import networks, ngrams, packing, reading
from ssl_jax.methods.parts.precision import compute_dtype
from ssl_jax.methods.parts.text import Documents
from ssl_jax.models.bert import SIZES, Bert, MaskedHead, NextSentenceHead
from ssl_jax.models.initializers import choose
from ssl_jax.models.transformer import ACTIVATIONS

TAKES = "text"
COUNTED = 2**24  # tokens, the first ones of a text, of which the trivial predictions are counted


def facts(source, config) -> dict:
    """The vocabulary, trained on the source or read from a file, and what words stand beside each other."""
    method = config.method
    if "text" not in source[0]:
        raise ValueError(
            f"{source.name} has {', '.join(sorted(source[0]))} and no text; set config.data.source to text:PATH"
        )
    if method.vocabulary_file:
        held = wordpiece.read(method.vocabulary_file, method.lower_case)
    else:
        texts = (source[i]["text"] for i in range(len(source)))
        held = wordpiece.train(texts, method.vocabulary, method.lower_case)
    rows = read(source, config, {"tokenizer": np.frombuffer(held.encode(), np.uint8)}, True)
    seen = rows.rows(np.arange(min(len(rows), max(1, COUNTED // config.method.length))))["tokens"]
    counts = ngrams.count(seen, wordpiece.load(held).get_vocab_size())
    return {"tokenizer": np.frombuffer(held.encode(), np.uint8), **counts}


def read(source, config, facts, train: bool):
    """Rows of `config.method.length` tokens by `config.method.packing`; a document a row outside of training."""
    tokenizer, method = tokenizer_of(facts), config.method
    special = {name: tokenizer.token_to_id(name) for name in wordpiece.SPECIAL}
    if not train:
        return Documents(source, lambda text: one_text(tokenizer, text, method.length), method.length)

    def encode(texts):
        found = tokenizer.encode_batch(texts, add_special_tokens=False)
        return [(np.array(one.ids, np.int32), np.array(one.word_ids, np.int32)) for one in found]

    return packing.rows_of(
        source, encode, special, kind=method.packing, length=method.length, copies=method.copies, seed=config.seed
    )


def build(config, facts) -> Method:
    """BERT of `config.model` (`size`, `dropout`, `attention_dropout`, `activation`, `epsilon`, `positions`,
    `attention`, `remat`), from `config.method`:

    `length` of a row; `packing`, "pairs", "full" or "separate", see `parts/packing.py`, and `copies`, how often pairs
    are drawn; `next_sentence`, whether pairs are told from random ones; `mask_ratio` and `most_masked` of a row;
    `whole_words`; `rounding` of their number and `random_specials`, see `augment/token_masks.py`; `vocabulary`, its
    size, or `vocabulary_file`; `lower_case`; `pool`, what `encode` gives: "mean" over the tokens or "class".

    Raises:
      ValueError: an unknown choice, or a length that the positions do not have.
    """
    method, tokenizer = config.method, tokenizer_of(facts)
    size, mask = tokenizer.get_vocab_size(), tokenizer.token_to_id("[MASK]")
    check(config)
    encoder, masked_head, next_head = make_networks(config, size)
    first_word = 0 if method.random_specials else len(wordpiece.SPECIAL)

    def views(key, example):
        words = example["words"]
        if not method.whole_words:
            words = jnp.where(words >= 0, jnp.arange(len(words)), words)
        words = jnp.where(example["documents"] == 0, -2, words)
        choose_key, hide_key = jax.random.split(key)
        places, counts = choose_places(
            choose_key, words, method.mask_ratio, method.most_masked, rounding=method.rounding
        )
        tokens, masked = hide(
            hide_key, example["tokens"], places, counts, mask=mask, vocabulary=size, first_word=first_word
        )
        kept = {name: example[name] for name in ("segments", "documents", "next", "index")}
        found = {"places": places, "counts": counts, "masked": masked, "target": example["tokens"][places]}
        return {"tokens": tokens, **kept, **found}

    def init(key, batch):
        keys = jax.random.split(key, 3)
        hidden, found = encoder.init_with_output(keys[0], batch["tokens"])
        params = {"encoder": found["params"], "masked_head": masked_head.init(keys[1], hidden)["params"]}
        if method.next_sentence:
            params["next_head"] = next_head.init(keys[2], hidden[:, 0])["params"]
        return params, {}

    def embed(params, state, batch, key, progress, axis_name, train=True):
        keys = networks.example_keys(key, batch["index"], 0)
        text = batch["tokens"], batch["segments"], batch["documents"]
        # And the first token, which tells whether a pair is one; an even number, as cuDNN's attention asks for.
        places = jnp.pad(batch["places"], ((0, 0), (1, 1 - method.most_masked % 2)))
        hidden = encoder.apply({"params": params["encoder"]}, *text, train=train, keys=keys, places=places)
        outputs = {name: batch[name] for name in ("target", "counts", "masked", "next")}
        outputs["hidden"] = masked_head.apply(
            {"params": params["masked_head"]}, hidden[:, 1 : 1 + method.most_masked]
        )
        if method.next_sentence:
            outputs["next_logits"] = next_head.apply({"params": params["next_head"]}, hidden[:, 0])
        return outputs, state

    def objective(params, outputs, state, progress, axis_name):
        flat = {name: outputs[name].reshape(-1, *outputs[name].shape[2:]) for name in ("hidden", "target", "counts")}
        loss, (own, right) = losses.vocabulary_cross_entropy(
            flat["hidden"], params["encoder"]["token_embedding"], params["masked_head"]["bias"], flat["target"],
            flat["counts"], axis_name=axis_name,
        )  # fmt: skip
        masked, right = outputs["masked"].reshape(-1), right.astype(loss.dtype)
        metrics = {
            "masked_loss": loss, "chance_loss": jnp.asarray(math.log(size), loss.dtype),
            "mask_token_top1": mean(right, masked, axis_name=axis_name),
            "mask_token_log_perplexity": mean(own, masked, axis_name=axis_name),
            "masked_top1": mean(right, flat["counts"], axis_name=axis_name),
        }  # fmt: skip
        if method.next_sentence:
            next_loss = losses.cross_entropy(outputs["next_logits"], outputs["next"], axis_name=axis_name)
            metrics["next_top1"] = jnp.mean(jnp.argmax(outputs["next_logits"], axis=1) == outputs["next"])
            loss, metrics["next_loss"] = loss + next_loss, next_loss
        return loss, state, metrics

    def encode(params, state, inputs, layer=None, keys=None):
        tokens = inputs["tokens"]
        real = tokens >= 0
        hidden = encoder.apply(
            {"params": params["encoder"]}, jnp.where(real, tokens, 0), None, real.astype(jnp.int32),
            train=keys is not None, keys=keys, layer=None if layer == "tokens" else layer,
        )  # fmt: skip
        if layer == "tokens":
            return hidden
        hidden = hidden.astype(jnp.promote_types(hidden.dtype, jnp.float32))
        if method.pool == "class" and layer is None:
            return hidden[:, 0]
        weights = real[..., None].astype(hidden.dtype)
        return jnp.sum(hidden * weights, axis=1) / jnp.maximum(jnp.sum(weights, axis=1), 1)

    def baselines(batch, outputs):
        told = ngrams.tell(facts, batch["tokens"], batch["places"])
        right = {name: (token == batch["target"]).astype(jnp.float32) for name, token in told.items()}
        return {f"mask_token_top1 of {name}": mean(x.ravel(), batch["masked"].ravel()) for name, x in right.items()}

    def pictures(params, state, batch, key):
        """What is told of hidden tokens; and which token (a column) each token (a row) of a text attends to.

        Attention is the mean over heads; each row is stretched from its smallest value (empty) to its largest (full).
        """
        outputs, _ = embed(params, state, batch, key, None, None, train=False)
        logits = jnp.einsum("bpd,vd->bpv", outputs["hidden"], params["encoder"]["token_embedding"])
        shares = jax.nn.softmax(logits + params["masked_head"]["bias"][None, None])
        one = batch["documents"][0] == batch["documents"][0, 0]
        text = (np.asarray(batch[name][0])[np.asarray(one)] for name in ("tokens", "segments"))
        shown = {"hidden_tokens": reading.fill_ins(tokenizer, batch, np.asarray(shares))}
        return shown | reading.attention_maps(encoder, tokenizer, params["encoder"], *text)

    return Method(
        init=init,
        views=views,
        embed=embed,
        objective=objective,
        encode=encode,
        baselines=baselines,
        pictures=pictures,
        input_layer="embedding",
        describe=lambda batch_size: {"vocabulary": f"{size} tokens", "tokens": f"{batch_size * method.length} a step"},
    )


def make_networks(config, vocabulary: int) -> tuple[Bert, MaskedHead, NextSentenceHead]:
    """The encoder and its heads, as `config.model` describes them."""
    model, dtype = config.model, compute_dtype(config)
    head = {"activation": model.activation, "epsilon": model.epsilon, "dtype": dtype}
    encoder = Bert(
        vocabulary, **choose(SIZES, model.size, "config.model.size"), positions=model.positions, dropout=model.dropout,
        attention_dropout=model.attention_dropout, implementation=model.attention, remat=model.remat, **head,
    )  # fmt: skip
    return encoder, MaskedHead(vocabulary, **head), NextSentenceHead(dtype)


def logits(config, facts):
    """`(params, tokens int32 [B, T]) -> logits [B, T, V]` of what stands at every place."""
    encoder, masked_head, _ = make_networks(config, tokenizer_of(facts).get_vocab_size())

    def tell(params, tokens):
        hidden = encoder.apply({"params": params["encoder"]}, tokens)
        hidden = masked_head.apply({"params": params["masked_head"]}, hidden)
        return hidden @ params["encoder"]["token_embedding"].T + params["masked_head"]["bias"][None, None]

    return tell


def tokenizer_of(facts):
    """The tokenizer that the facts hold."""
    return wordpiece.load(facts["tokenizer"].tobytes().decode())


def one_text(tokenizer, text: str, length: int) -> np.ndarray:
    """`[CLS] text [SEP]` as ids, cut to a length."""
    ids = tokenizer.encode(text, add_special_tokens=False).ids[: length - 2]
    return np.array([tokenizer.token_to_id("[CLS]"), *ids, tokenizer.token_to_id("[SEP]")], np.int32)


def check(config) -> None:
    """Refuses what does not fit together."""
    model, method = config.model, config.method
    choices = {
        "method.packing": packing.KINDS, "method.rounding": ("nearest", "random"), "method.pool": ("mean", "class"),
        "model.activation": tuple(ACTIVATIONS),
    }  # fmt: skip
    for name, allowed in choices.items():
        section, key = name.split(".")
        if config[section][key] not in allowed:
            raise ValueError(f"config.{name} is {config[section][key]!r}; expected one of {', '.join(allowed)}")
    if not 8 <= method.length <= model.positions:
        raise ValueError(
            f"config.method.length is {method.length}; expected 8 to config.model.positions={model.positions} tokens"
        )
    if not 0 < method.mask_ratio < 1 or not 1 <= method.most_masked <= method.length:
        raise ValueError(
            f"config.method.mask_ratio is {method.mask_ratio} and .most_masked {method.most_masked}; expected a ratio "
            "in (0, 1) and 1 place to as many as the row has"
        )
    if model.attention == "cudnn" and model.attention_dropout:
        raise ValueError(
            f"config.model.attention is 'cudnn', which has no dropout, and .attention_dropout is "
            f"{model.attention_dropout}; set it to 0, or attention to 'xla'"
        )
    if method.next_sentence and method.packing != "pairs":
        raise ValueError(f"config.method.next_sentence needs pairs, but .packing is {method.packing!r}; change one")
