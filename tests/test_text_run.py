"""A run on text, end to end: it trains, is evaluated, continues, is encoded, and tells which words are near."""

import json
import subprocess
import sys
import types

import numpy as np
import pytest

import ssl_jax
from ssl_jax import embed, evaluate, neighbours
from ssl_jax.data import sources, word_vectors
from ssl_jax.data.text import TOPICS


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of 20 steps on a file, evaluated on questions about its words."""
    folder = tmp_path_factory.mktemp("text")
    source = sources.load("synthetic_text:400", "train")
    (folder / "train.txt").write_text("\n".join(str(source[i]["text"]) for i in range(400)))
    a, b, *_ = TOPICS.values()
    (folder / "questions").write_text(f": topics\n{a[0]} {a[1]} {b[0]} {b[1]}\n{a[2]} {a[3]} {b[2]} unheard\n")
    (folder / "pairs").write_text("".join(f"{a[0]}\t{topic[k]}\t{k}\n" for topic in (a, b) for k in range(1, 6)))
    config = ssl_jax.get_config("word2vec:tiny")
    config.data.source, config.train.steps, config.train.checkpoint_every = f"text:{folder / 'train.txt'}", 20, 10
    config.eval.update(test_split="train", analogies=str(folder / "questions"), similarities=str(folder / "pairs"))
    config.parallel.devices = 2
    assert ssl_jax.fit(config, folder / "run") == "finished"
    return folder, config


def test_it_is_evaluated_on_words_and_on_its_own_task(run, capsys):
    folder, _ = run
    rows = evaluate.evaluate(folder / "run", ("analogy", "similarity", "pretext", "knn"))
    said = capsys.readouterr().out
    assert "knn is left out" in said and "coverage" in said and "spearman" in said
    found = {(row["protocol"], row["features"], row["metric"]): row["value"] for row in rows}
    assert found["analogy", "encoder", "coverage"] == 0.5 and found["similarity", "random", "coverage"] == 1.0
    assert found["pretext", "encoder", "loss"] < found["pretext", "random", "loss"]
    assert json.loads((folder / "run" / "evaluation.json").read_text()) == rows


def test_documents_with_labels_are_probed(run, capsys):
    folder, _ = run
    rows = evaluate.evaluate(folder / "run", ("knn",), data="synthetic_text")
    assert {row["features"] for row in rows} == {"input", "random", "encoder"}  # the input: TF-IDF
    assert all(row["value"] > 0.4 for row in rows)  # of four topics, from the words alone
    arrays = embed.embed(folder / "run", "synthetic_text", "test", folder / "features.npz")
    assert arrays["features"].shape == (400, 8) and arrays["label"].shape == (400,)


def test_it_continues(run):
    folder, config = run
    rows = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert ssl_jax.fit(config, folder / "run") == "finished"  # nothing left to do
    assert rows[-1]["event"] == "finished" and rows[-1]["step"] == 20
    assert rows[0]["pairs"] > 0 and "probe_loss" not in rows[0]


def test_its_words(run):
    folder, _ = run
    words, vectors = neighbours.vectors_of(folder / "run")
    assert words[0] == "</s>" and vectors.shape == (len(words), 8)
    output = folder / "vectors.bin"
    done = subprocess.run(
        [sys.executable, "-m", "ssl_jax.neighbours", f"--workdir={folder / 'run'}", "--word=cat", f"--output={output}"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 11
    assert all(line.split()[0] in words and -1 <= float(line.split()[1]) <= 1 for line in lines[1:])
    np.testing.assert_array_equal(word_vectors.read(output)[1], vectors)
    tokens = np.array([[words.index("cat"), -1], [-1, -1]], np.int32)
    features = ssl_jax.load_encoder(folder / "run")({"tokens": tokens})
    np.testing.assert_allclose(features, [vectors[words.index("cat")], np.zeros(8)], rtol=1e-6)


def test_a_method_without_words_gets_one_sentence(run, monkeypatch):
    monkeypatch.setattr(neighbours.methods, "build", lambda *_: types.SimpleNamespace(words=None))
    with pytest.raises(ValueError, match="a run of word2vec, which has no vectors of words"):
        neighbours.vectors_of(run[0] / "run")
