"""BERT: packing and pairs, documents that do not see each other, trivial predictions, features, filling in, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import evaluate, methods, pretrain
from ssl_jax.data import sources, text, wordpiece
from ssl_jax.fill import fill
from ssl_jax.methods import bert
from ssl_jax.methods.parts import ngrams, packing
from tests.methods.by_hand import PROGRESS

SPECIAL = {name: number for number, name in enumerate(wordpiece.SPECIAL)}
RNG = np.random.default_rng(0)
KINDS = ("input", "vectors", "random", "encoder")


def documents(count=40, sentences=8):
    """Every document's tokens begin with its own number times 1000; a sentence has 3 to 6 one-token words."""
    made = []
    for number in range(1, count + 1):
        sizes = RNG.integers(3, 7, sentences)
        ids = [1000 * number + 10 * place + np.arange(size) for place, size in enumerate(sizes)]
        made.append([(one, np.arange(len(one))) for one in ids])
    return made


def test_pairs_are_those_of_the_official_code():
    docs = documents()
    rng = np.random.default_rng(1)
    found = [(number, *pair) for number in range(40) for pair in packing.pairs(docs, number, 29, rng)]
    random = np.array([pair[3] for pair in found])
    assert 0.5 < random.mean() < 0.75  # more than half: where a chunk has one sentence, too
    for number, (first, _), (second, _), is_random in found:
        assert len(first) + len(second) <= 29 and len(first) and len(second)
        assert (first // 1000 == number + 1).all()
        assert len(set(second // 1000)) == 1 and (second[0] // 1000 == number + 1) != is_random
        if not is_random:
            assert second[0] > first[-1]
    single = list(packing.pairs([docs[0][:1], *docs[1:]], 0, 29, rng))
    assert [pair[2] for pair in single] == [True]


def test_sentences_in_whose_place_a_random_segment_stands_are_used_again():
    docs = documents(10, 6)
    for number in range(10):
        chunks = [(*pair,) for pair in packing.pairs(docs, number, 200, np.random.default_rng(number))]
        first = np.concatenate([pair[0][0] for pair in chunks])
        own = np.concatenate([pair[1][0] for pair in chunks if not pair[2]] or [np.array([], int)])
        assert set(np.concatenate([ids for ids, _ in docs[number]])) == set(first) | set(own)


def test_rows_of_pairs_have_segments_and_padding():
    row = packing.pair_row((np.array([7, 8]), np.array([0, 0])), (np.array([9]), np.array([4])), True, SPECIAL, 8)
    assert row["tokens"].tolist() == [2, 7, 8, 3, 9, 3, 0, 0]
    assert row["segments"].tolist() == [0, 0, 0, 0, 1, 1, 0, 0]
    assert row["documents"].tolist() == [1] * 6 + [0, 0] and row["next"] == 1
    assert row["words"][1] == row["words"][2] != row["words"][4] and (row["words"][[0, 3, 5, 6]] == -1).all()


def test_full_rows_lose_no_token_and_number_their_documents(monkeypatch):
    docs = [(np.arange(100 * k + 10, 100 * k + 10 + size), np.arange(size)) for k, size in enumerate((5, 9, 3, 12))]
    (block,) = packing.full_rows(docs, SPECIAL, 8, True)
    rows = [{key: values[i] for key, values in block.items()} for i in range(len(block["tokens"]))]
    tokens = np.concatenate([row["tokens"][1:] for row in rows])
    whole = np.concatenate([np.append(ids, 3) for ids, _ in docs])
    np.testing.assert_array_equal(tokens, whole[: len(tokens)])
    assert len(whole) - len(tokens) < 7 and all(row["tokens"][0] == 2 for row in rows)
    assert rows[0]["documents"].tolist() == [1] * 7 + [2] and rows[1]["documents"][0] == 1
    assert rows[0]["words"][1:6].tolist() == [0, 1, 2, 3, 4] and rows[0]["words"][[0, 6]].tolist() == [-1, -1]
    monkeypatch.setattr(packing, "AT_ONCE", 1)  # a block a document: the same rows
    blocks = list(packing.full_rows(docs, SPECIAL, 8, True))
    for key, values in block.items():
        found = np.concatenate([one[key] for one in blocks])
        np.testing.assert_array_equal(found, values)


@pytest.fixture(scope="module")
def parts():
    from ssl_jax.recipes import CONFIGS, config_module

    config = config_module(CONFIGS / "bert.py").get_config("tiny").unlock()
    config.model.dropout = config.model.attention_dropout = 0.0
    source = sources.load("synthetic_text:60", "train")
    known = bert.facts(source, config)
    method = methods.build(config, known)
    rows = methods.read(source, config, known, train=True)
    batch = rows.rows(np.arange(4)) | {"index": np.arange(4, dtype=np.int32)}
    views = jax.vmap(method.views)(jax.random.split(jax.random.key(1), 4), batch)
    params, state = method.init(jax.random.key(0), views)
    return config, known, method, views, params, state


def test_no_token_sees_padding_or_another_document(parts):
    """Through gradients with respect to the embeddings of tokens, whose ids all differ."""
    _, _, method, views, params, state = parts
    length = views["tokens"].shape[1]
    documents = np.array([[1] * 8 + [2] * 9 + [0] * 7])
    one = {name: rows[:1] for name, rows in views.items()}
    one |= {"tokens": jnp.arange(length)[None], "documents": jnp.asarray(documents)}

    def hidden(table, place):
        changed = params | {"encoder": params["encoder"] | {"token_embedding": table}}
        batch = one | {"places": jnp.full_like(one["places"], place)}
        outputs, _ = method.embed(changed, state, batch, jax.random.key(0), PROGRESS, None, train=False)
        return jnp.sum(outputs["hidden"] ** 2)

    gradient = jax.jit(jax.grad(hidden))
    for place, number in ((3, 1), (12, 2)):
        seen = np.abs(gradient(params["encoder"]["token_embedding"], place)[:length]).max(1) > 0
        np.testing.assert_array_equal(seen, documents[0] == number)


def test_the_loss_is_that_of_the_places_that_count_and_of_the_pairs(parts):
    _, _, method, views, params, state = parts
    outputs, _ = method.embed(params, state, views, jax.random.key(0), PROGRESS, None)
    loss, _, metrics = method.objective(params, outputs, state, PROGRESS, None)
    table = np.asarray(params["encoder"]["token_embedding"], np.float64)
    scores = np.asarray(outputs["hidden"], np.float64) @ table.T + np.asarray(params["masked_head"]["bias"])
    log_shares = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    own = np.take_along_axis(log_shares, np.asarray(outputs["target"])[..., None], axis=-1)[..., 0]
    told = -own[np.asarray(outputs["counts"])].mean()
    pair = np.asarray(outputs["next_logits"], np.float64)
    pair = pair - np.log(np.exp(pair).sum(-1, keepdims=True))
    following = -pair[np.arange(4), np.asarray(outputs["next"])].mean()
    assert loss == pytest.approx(told + following, rel=1e-5)
    right = (scores.argmax(-1) == outputs["target"])[np.asarray(outputs["masked"])]
    assert metrics["mask_token_top1"] == pytest.approx(right.mean())
    own = own[np.asarray(outputs["masked"])]
    assert metrics["mask_token_log_perplexity"] == pytest.approx(-own.mean(), rel=1e-5)


def test_trivial_predictions_by_counting():
    tokens = np.array([[2, 7, 8, 9, 3, 0], [2, 7, 8, 5, 3, 0], [2, 7, 6, 5, 3, 0], [2, 7, 8, 5, 3, 0]], np.int32)
    known = ngrams.count(tokens, 10)
    told = ngrams.tell(known, jnp.array([[2, 7, 4, 5, 3, 0]]), jnp.array([[2]]))
    assert {name: int(token[0, 0]) for name, token in told.items()} == {
        "the commonest word": 7, "the left neighbour": 8, "both neighbours": 8
    }  # fmt: skip
    known |= {"between": np.where(known["pairs"] == 7 * 10 + 5, 6, known["between"])}
    assert int(ngrams.tell(known, jnp.array([[2, 7, 4, 5]]), jnp.array([[2]]))["both neighbours"][0, 0]) == 6


def test_features_are_those_of_the_words_whatever_the_padding(parts):
    config, known, method, _, params, state = parts
    seen = methods.read(sources.load("synthetic_text:8", "test"), config, known, train=False)
    tokens = seen.rows(np.arange(8))["tokens"]
    assert tokens[0][0] == SPECIAL["[CLS]"] and tokens[0].min() == -1
    for pool in ("mean", "class"):
        config.method.pool = pool
        encode = methods.build(config, known).encode
        features = encode(params, state, {"tokens": tokens})
        cut = encode(params, state, {"tokens": tokens[:, : (tokens >= 0).sum(1).max()]})
        np.testing.assert_allclose(features, cut, atol=1e-5)
    assert encode(params, state, {"tokens": tokens}, layer="tokens").shape == (8, 24, 16)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of the smallest recipe."""
    from ssl_jax.recipes import CONFIGS, config_module

    directory = tmp_path_factory.mktemp("bert") / "run"
    config = config_module(CONFIGS / "bert.py").get_config("tiny").unlock()
    config.eval.protocols = ()
    assert pretrain.pretrain(config, directory) == "finished"
    return directory


def test_a_run_fills_in_words(run):
    (told,) = fill(run, "the cat [MASK] the dog", count=3)
    assert len(told) == 3 and told[0][1] >= told[1][1] > 0
    with pytest.raises(ValueError, match=r"has 0 \[MASK\]"):
        fill(run, "the cat")


def test_a_run_is_fine_tuned_on_sentences(run, capsys):
    settings = "epochs=24,learning_rate=0.12,layer_decay=1,batch_size=32"
    rows = evaluate.evaluate(run, ("finetune",), data="synthetic_text:96", finetune=settings)
    assert {row["features"]: row["n"] for row in rows} == {"random": 96, "encoder": 96}
    assert min(row["value"] for row in rows) > 0.6  # of four topics
    assert evaluate.evaluate(run, ("finetune",), data="synthetic_text:96", finetune="mixup=0.8") == []
    assert "are for images, and the data has tokens" in capsys.readouterr().out


def test_sentences_of_another_file_are_classified_beside_all_baselines(run, tmp_path, capsys):
    for split, count in (("train", 120), ("test", 60)):
        source = sources.load(f"synthetic_text:{count}", split)
        lines = [f"{source[i]['label'] % 2}\t{source[i]['text']}" for i in range(count)]
        (tmp_path / f"topics_{split}.tsv").write_text("\n".join(["label\tsentence", *lines]))
    rows = evaluate.evaluate(run, ("knn", "linear"), data=f"tsv:{tmp_path / 'topics'}")
    said = capsys.readouterr().out
    value = {(row["protocol"], row["features"]): row["value"] for row in rows}
    assert value.keys() == {(name, kind) for name in ("knn", "linear") for kind in KINDS}
    assert all(title in said for title in ("TF-IDF", "input vectors", "random encoder", "trained encoder"))
    assert value["linear", "input"] > 0.9  # topics are told by their words
    assert {row["n"] for row in rows} == {60}


def test_held_out_words_are_told_beside_counting(run, capsys):
    rows = evaluate.evaluate(run, ("pretext",))
    value = {(row["features"], row["metric"]): row["value"] for row in rows}
    assert value["encoder", "mask_token_perplexity"] == pytest.approx(
        np.exp(value["encoder", "mask_token_log_perplexity"])
    )
    trivial = ("the commonest word", "the left neighbour", "both neighbours")
    assert all(0 <= value["input", f"mask_token_top1 of {name}"] <= 1 for name in trivial)
    assert "trivial  mask_token_top1 of both neighbours" in capsys.readouterr().out


def test_published_vocabularies_are_read(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join([*wordpiece.SPECIAL, "un", "##affable", "##aff", "##able"]))
    found = wordpiece.load(wordpiece.read(str(path))).encode("Unaffable xyz", add_special_tokens=False)
    assert found.tokens == ["un", "##affable", "[UNK]"]
    for name, content, message in (
        ("vocab.txt", b"a\nb", r"lacks \[PAD\]"), ("vocab.txt", b"b\xe4d", "cannot be read .*UTF-8"),
        ("tokenizer.json", b"{}", "cannot be read .*Model missing"), ("vocab.bin", b"", "is no vocabulary"),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=message):
            wordpiece.read(str(tmp_path / name))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"method.length": 30}, "length is 30; expected 8 to config.model.positions=24"),
        ({"method.mask_ratio": 0.0}, "mask_ratio is 0.0"),
        ({"method.packing": "full"}, "next_sentence needs pairs"),
        ({"method.pool": "max"}, "pool is 'max'; expected one of mean, class"),
        ({"model.attention": "cudnn", "model.attention_dropout": 0.1}, "cudnn', which has no dropout"),
    ],
)
def test_wrong_settings_are_refused(parts, tiny, changes, message):
    config = tiny("bert")
    config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=message):
        methods.build(config, parts[1])


def test_wrong_data_is_refused(tmp_path, tiny):
    config = tiny("bert")
    with pytest.raises(ValueError, match="and no text; set config.data.source"):
        bert.facts(sources.load("digits", "train"), config)
    config.method.vocabulary = 4
    with pytest.raises(ValueError, match="5 are special"):
        bert.facts(sources.load("synthetic_text:9", "train"), config)
    config.method.vocabulary = 100
    (tmp_path / "train.txt").write_bytes(b"good words\nb\xe4d words\n")
    with pytest.raises(ValueError, match="Line 2 of .* is not UTF-8"):
        bert.facts(sources.load(f"text:{tmp_path}", "train"), config)
    (tmp_path / "train.txt").write_text("one document\n")
    with pytest.raises(ValueError, match="has 1 document; expected 2 or more"):
        bert.facts(sources.load(f"text:{tmp_path}", "train"), config)
    config.method.update(packing="full", next_sentence=False)
    with pytest.raises(ValueError, match="gives no row of 24 tokens"):
        bert.facts(sources.load(f"text:{tmp_path}", "train"), config)
    (tmp_path / "sst_train.tsv").write_text("label\tsentence\n1\tgood\nbad\n")
    with pytest.raises(ValueError, match="line 3 is 'bad'"):
        text.load_tsv(str(tmp_path / "sst"), "train")
