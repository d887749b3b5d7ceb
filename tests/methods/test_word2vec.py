"""Word2Vec: its updates are those of word2vec.c, pair by pair; its windows, its draws and its tree are the tool's."""

import heapq
import json
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import methods
from ssl_jax.methods import api, word2vec
from ssl_jax.methods.parts import text, words
from tests.methods import c_word2vec
from tests.methods.by_hand import PROGRESS


def made(config, own_batch, rows=6, seed=1):
    """The method of a config, a batch after `views`, and its facts."""
    batch, known = own_batch(config, rows)
    method = methods.build(config, known)
    views = jax.jit(jax.vmap(method.views))(jax.random.split(jax.random.key(seed), rows), batch)
    return method, batch, views, known


# What the tool wrote, compiled with `typedef double real` and made to print 14 digits.
TOOL = json.loads(Path(__file__).with_name("c_word2vec.json").read_text())


def paths_of(counts):
    """word -> [(node, code)]."""
    nodes, codes = words.huffman(counts)
    return [[(n, c) for n, c in zip(*path, strict=True) if c >= 0] for path in zip(nodes, codes, strict=True)]


@pytest.mark.parametrize("settings", [name for name in TOOL if name != "words"])
def test_the_transcription_is_the_tool(settings):
    """`word2vec -size 4 -window 3 -sample 0.05 -iter 1 -threads 1 -min-count 1 -alpha 0.05` and the settings."""
    cbow, hierarchical, negative = (int(setting.split("=")[1]) for setting in settings.split())
    lines = [[f"w{(i * i + 3 * j * j + i * j) % 31 % (j + 2)}" for j in range(i % 17)] for i in range(1, 300)]
    tokens = [TOOL["words"].index(word) for line in lines for word in [*line, "</s>"]]
    counts = np.bincount(tokens)
    found = c_word2vec.train(
        tokens, counts.tolist(), 4, cbow=bool(cbow), window=3, negative=negative, sample=0.05, rate=0.05,
        paths=paths_of(counts) if hierarchical else None,
    )  # fmt: skip
    np.testing.assert_allclose(found, TOOL[settings], atol=1e-10)


@pytest.mark.parametrize("architecture", ["skip_gram", "cbow"])
@pytest.mark.parametrize("loss", ["negatives", "hierarchical", "both"])
def test_a_batch_adds_up_the_updates_of_the_c_tool(architecture, loss, tiny, own_batch, x64):
    config = tiny("word2vec")
    config.compute_dtype, config.method.architecture = "float64", architecture
    config.method.hierarchical = loss != "negatives"
    config.method.negatives = 0 if loss == "hierarchical" else 5
    config.method.length, config.method.window, config.method.most_repeats = 64, 4, 0  # two tiles
    method, _, views, known = made(config, own_batch)
    params, _ = method.init(jax.random.key(0), views)
    numbers = np.random.default_rng(0)
    params = {name: jnp.asarray(numbers.normal(size=table.shape, scale=0.4)) for name, table in params.items()}
    taken, ids = api.take(method, params, views)

    def total(taken):
        outputs, state = method.embed(taken, {}, views, None, PROGRESS, None)
        return method.objective(taken, outputs, state, PROGRESS, None)[0]

    gradients = jax.jit(jax.grad(total))(taken)
    found = {name: np.array(table) for name, table in params.items()}
    for name, table in found.items():
        np.add.at(table, np.asarray(ids[name]), -0.025 * np.asarray(gradients[name]))

    frozen = {name: np.array(table) for name, table in params.items()}
    tables = {name: table.copy() for name, table in frozen.items()}
    paths = paths_of(known["counts"])
    views, drawn = jax.device_get(views), config.method.shared_negatives
    for row in range(len(views["tokens"])):
        sentences, ends = views["tokens"][row], views["sentence"][row]
        for end in np.unique(ends[sentences > 0]):
            there = np.flatnonzero((ends == end) & (sentences > 0))
            for place in range(len(there)):
                c_word2vec.update(
                    sentences[there].tolist(), place, views["radius"][row, there[place]], tables, frozen=frozen,
                    rate=0.025, cbow=architecture == "cbow", paths=paths if config.method.hierarchical else None,
                    negatives=(lambda row=row: views["negatives"][row].tolist()) if config.method.negatives else None,
                    weight=config.method.negatives / drawn,
                )  # fmt: skip
    for name, table in tables.items():
        np.testing.assert_allclose(found[name], table, atol=1e-12, rtol=1e-12, err_msg=name)
        assert np.abs(table - frozen[name]).max() > 1e-3


def test_words_are_dropped_by_the_formula_and_windows_reach_across(tiny, own_batch):
    config = tiny("word2vec")
    config.method.sample, config.method.length, config.method.shared_negatives = 0.02, 64, 64
    batch, known = own_batch(config, 8)
    method, kept, seen = methods.build(config, known), Counter(), Counter()
    radii, negatives = Counter(), Counter()
    views = jax.jit(jax.vmap(method.views))
    for k in range(60):
        viewed = jax.device_get(views(jax.random.split(jax.random.key(k), 8), batch))
        radii.update(viewed["radius"].ravel().tolist())
        negatives.update(viewed["negatives"].ravel().tolist())
        kept.update(viewed["tokens"][viewed["tokens"] > 0].tolist())
        seen.update(batch["tokens"].ravel().tolist())
        for tokens, sentence, whole in zip(viewed["tokens"], viewed["sentence"], batch["tokens"], strict=True):
            count = int((tokens > 0).sum())
            assert (tokens[:count] > 0).all() and (np.diff(sentence[:count]) >= 0).all()  # closed up, in order
            parts = [part[part > 0].tolist() for part in np.split(whole, np.flatnonzero(whole == 0))]
            for end in np.unique(sentence[:count]):  # each sentence is the old one without what was dropped
                remaining = iter(parts[end])
                assert all(word in remaining for word in tokens[:count][sentence[:count] == end].tolist())
    share = words.keep_probabilities(known["counts"], 0.02)
    assert share.min() < 0.8
    for word in (1, 2, 3, 30):
        deviation = np.sqrt(share[word] * (1 - share[word]) / seen[word])
        assert abs(kept[word] / seen[word] - share[word]) <= 4 * deviation
    assert set(radii) == {1, 2} and abs(radii[1] / radii.total() - 0.5) < 0.02
    expected = known["counts"] ** 0.75
    expected[1:] += expected[0] / (len(expected) - 1)
    expected = expected[1:] / expected[1:].sum()
    drawn = np.array([negatives[word] for word in range(1, len(known["counts"]))]) / negatives.total()
    assert negatives[0] == 0
    assert np.abs(drawn - expected).max() < 4 * np.sqrt(expected.max() / negatives.total())


def test_the_share_that_is_kept_and_the_negatives_by_hand():
    counts = np.array([100, 400, 300, 200])
    f = np.array([0.1, 0.4, 0.3, 0.2])
    np.testing.assert_allclose(words.keep_probabilities(counts, 0.05), np.minimum(np.sqrt(0.05 / f) + 0.05 / f, 1))
    shares = counts**0.75 / (counts**0.75).sum()
    cumulated = words.negative_thresholds(counts, 0.75) / 2.0**32
    np.testing.assert_allclose(np.diff(cumulated), shares[1:] + shares[0] / 3, atol=1e-9)
    assert cumulated[0] == 0


def test_the_tree_is_a_huffman_tree():
    counts = np.sort(np.random.default_rng(0).integers(1, 1000, 40))[::-1]
    nodes, codes = words.huffman(counts)
    lengths = (codes >= 0).sum(1)
    heap, merged = counts.tolist(), 0
    heapq.heapify(heap)
    while len(heap) > 1:  # the least total length of all codes is the sum of all inner nodes
        both = heapq.heappop(heap) + heapq.heappop(heap)
        merged += both
        heapq.heappush(heap, both)
    assert counts @ lengths == merged
    branches = {}
    for path, code, length in zip(nodes, codes, lengths, strict=True):
        assert path[0] == len(counts) - 2  # the root
        for k in range(length):
            following = path[k + 1] if k + 1 < length else ("word", tuple(code[:length]))
            assert branches.setdefault((path[k], code[k]), following) == following
    assert len(branches) == 2 * len(counts) - 2


def test_what_comes_often_in_a_batch_moves_as_if_it_came_seldom(tiny, own_data):
    config = tiny("word2vec")
    _, known = own_data(config)
    counts, (nodes, codes) = known["counts"], words.huffman(known["counts"])
    config.method.sample, config.method.most_repeats = 0.0, 4
    factors = words.slower(counts, config.method, 1000, nodes, codes)
    times = 1000 * counts / counts.sum()
    np.testing.assert_allclose(factors["inputs"], np.minimum(1, 4 / times), rtol=1e-6)
    assert factors["nodes"][-1] == pytest.approx(4 / 1000)  # every word passes the root
    rows = jnp.ones((1, 2, 3))
    gradient = jax.grad(lambda rows: word2vec.scaled(rows, jnp.array([[1.0, 0.25]])).sum())(rows)
    np.testing.assert_array_equal(gradient[0, :, 0], [1, 0.25])
    np.testing.assert_array_equal(word2vec.scaled(rows, jnp.array([[1.0, 0.25]])), rows)


def test_a_document_is_the_mean_of_its_known_words(tiny, own_batch):
    method, _, views, known = made(tiny("word2vec"), own_batch)
    params, state = method.init(jax.random.key(0), views)
    assert float(jnp.abs(params["inputs"]).max()) <= 0.5 / 8 and not params["outputs"].any()
    source = [{"text": np.array("the cat of unheard")}, {"text": np.array("unheard")}]
    encode = text.encoder(known, text.splitter("spaces"))
    tokens = np.stack([text.Documents(source, encode, 5)[i]["tokens"] for i in range(2)])
    listed = text.words_of(known)
    assert [listed[i] for i in tokens[0, :3]] == ["the", "cat", "of"] and (tokens[0, 3:] == -1).all()
    features = method.encode(params, state, {"tokens": tokens})
    np.testing.assert_allclose(features[0], np.asarray(params["inputs"])[tokens[0, :3]].mean(0), rtol=1e-6)
    assert not features[1].any()


def test_the_tables_learn_which_words_stand_together(tiny, own_data):
    """Generated sentences are of one topic each: words of a topic come nearer to each other than to others."""
    from ssl_jax.data import pipeline
    from ssl_jax.data.text import TOPICS
    from ssl_jax.train import experiment

    config = tiny("word2vec")
    config.train.steps, config.parallel.devices, config.method.window = 300, 1, 5
    rows, known = own_data(config)
    batches = pipeline.Batches(rows, batch_size=16, seed=0)
    run = experiment.build(config, batches[0], examples=len(rows), facts=known)
    state = run.create()
    for k in range(300):
        state, _ = run.step(state, run.parallel.place(batches[k]))
    listed, vectors = run.method.words(jax.device_get(state.params))
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    topics = [[listed.index(word) for word in topic] for topic in TOPICS.values()]
    means = np.array([[(vectors[a] @ vectors[b].T).mean() for b in topics] for a in topics])
    assert (np.diag(means) > 0.2 + (means.sum(1) - np.diag(means)) / 3).all(), means


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "glove"}, "expected 'skip_gram' or 'cbow'"),
        ({"negatives": 0}, "has no loss"),
        ({"length": 40}, "a length that 32 divides"),
        ({"split": "lines"}, "expected one of spaces, words"),
        ({"min_count": 10_000}, "comes 10000 times"),
    ],
)
def test_bad_settings_get_one_sentence(change, message, tiny, own_data):
    config = tiny("word2vec")
    config.method.update(change)
    with pytest.raises(ValueError, match=message):
        _, known = own_data(config)
        methods.build(config, known)


def test_images_are_no_text(tiny, own_data):
    config = tiny("word2vec")
    config.data.source = "digits"
    with pytest.raises(ValueError, match="has image, label and no text"):
        own_data(config)
