"""Byte-level BPE: what training merges, how a text ends, published vocabularies, and what is refused."""

import gzip
import json

import numpy as np
import pytest
import tokenizers

from ssl_jax.data import tokenizer
from ssl_jax.data.tokenizer import SMALLEST, Tokenizer


def test_frequent_words_become_one_token_and_rare_ones_stay_bytes():
    held = tokenizer.train(["low low low low lower"], SMALLEST + 3)
    made = Tokenizer(held, 12)
    assert made.size == SMALLEST + 3
    start, word, end = made.size - 2, made("low", truncate=False)[1], made.size - 1
    assert made(" LOW  low", truncate=False).tolist() == [start, word, word] + 9 * [end]  # case and spaces are nothing
    assert made("é!", truncate=False)[:5].tolist()[-1] == end  # two bytes of é and one more: nothing is unknown
    assert len(set(made("é!", truncate=False)[1:4])) == 3


def test_bytes_stand_in_the_order_of_clips_vocabulary():
    model = json.loads(tokenizer.train(["a"], SMALLEST))["model"]["vocab"]
    assert model["!"] == 0 and model["a"] == 64 and model["!</w>"] == 256 and model["<|endoftext|>"] == SMALLEST - 1


def test_long_texts_are_cut_before_the_end_or_refused():
    made = Tokenizer(tokenizer.train(["a"], SMALLEST), 4)
    assert made("a a", truncate=False).tolist()[-1] == SMALLEST - 1
    cut = made("a a a a", truncate=True)
    assert cut.dtype == np.int32 and cut.tolist()[0] == SMALLEST - 2 and cut.tolist()[-1] == SMALLEST - 1
    with pytest.raises(ValueError, match=r"has 5 tokens; expected at most 4, the positions of the text tower"):
        made("a a a", truncate=False)


def test_truncation_and_padding_of_a_file_are_switched_off():
    held = tokenizer.train(["a"], SMALLEST)
    stored = tokenizers.Tokenizer.from_str(held)
    stored.enable_truncation(2)
    stored.enable_padding(length=6, pad_id=5, pad_token="!")
    made = Tokenizer(stored.to_str(), 6)
    assert made("a a a", truncate=False).tolist() == Tokenizer(held, 6)("a a a", truncate=False).tolist()
    assert made("a", truncate=False).tolist() == Tokenizer(held, 6)("a", truncate=False).tolist()
    with pytest.raises(ValueError, match="has 7 tokens; expected at most 6"):
        made("a a a a a", truncate=False)


def test_texts_that_are_cut_are_counted():
    made = Tokenizer(tokenizer.train(["a"], SMALLEST), 4)
    texts = ["a", "a a", "a a a", "a a a a"]
    assert made.count_longer(texts) == 2 and made.count_longer([]) == 0
    for text, cut in zip(texts, (False, False, True, True), strict=True):
        whole = Tokenizer(made.json, 9)(text, truncate=False)
        assert np.array_equal(made(text, truncate=True), whole[:4]) != cut


def test_the_end_and_the_size_are_those_of_the_numbers():
    held = json.loads(tokenizer.train(["a"], SMALLEST))
    assert Tokenizer(json.dumps(held), 4).end == SMALLEST - 1
    held["model"]["vocab"]["</s>"] = held["model"]["vocab"].pop("<|endoftext|>") + 10
    held["model"]["unk_token"], held["added_tokens"] = "</s>", []
    made = Tokenizer(json.dumps(held), 4)
    assert made.end == SMALLEST + 9 and made.size == SMALLEST + 10


def test_published_merges_and_files_of_the_library_are_read(tmp_path):
    path = tmp_path / "bpe_simple_vocab_16e6.txt.gz"
    path.write_bytes(gzip.compress(b'"bpe_simple_vocab_16e6.txt#version: 0.2\nl o\nlo w</w>\n'))
    made = Tokenizer(tokenizer.read(str(path)), 5)
    assert made.size == SMALLEST + 2 and made("low", truncate=False).tolist() == [514, 513, 515, 515, 515]
    (tmp_path / "tokenizer.json").write_text(made.json)
    assert tokenizer.read(str(tmp_path / "tokenizer.json")) == made.json
    with pytest.raises(ValueError, match="is no vocabulary; expected a file tokenizer.json, or bpe_simple"):
        tokenizer.read(str(tmp_path / "vocab.txt"))


def test_a_vocabulary_without_an_end_and_one_that_is_too_small_are_refused():
    held = tokenizer.train(["a"], SMALLEST).replace("<|endoftext|>", "<|other|>")
    with pytest.raises(ValueError, match="has neither"):
        Tokenizer(held, 4)("a", truncate=False)
    with pytest.raises(ValueError, match=f"bytes alone need {SMALLEST}"):
        tokenizer.train(["a"], 300)
