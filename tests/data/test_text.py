"""Text sources: the lines of files, generated sentences, and one sentence for what is no text."""

import pickle

import numpy as np
import pytest

from ssl_jax.data import sources, text
from ssl_jax.methods.parts import text as parts

CONTENT = "first line\n\n  a second, with ümlauts \r\nthird\n\nno end"
LINES = ["first line", "a second, with ümlauts", "third", "no end"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train.txt").write_bytes(CONTENT.encode())
    (tmp_path / "test.txt").write_text("only one\n")
    return tmp_path


@pytest.mark.parametrize("chunk", [1, 7, text.CHUNK])
def test_a_document_is_a_line(folder, chunk, monkeypatch):
    monkeypatch.setattr(text, "CHUNK", chunk)
    source = sources.load(f"text:{folder}", "train")
    assert [str(source[i]["text"]) for i in range(len(source))] == LINES
    assert source.rows(np.array([3, 0]))["text"].tolist() == ["no end", "first line"]
    assert source.labels is None and source.num_classes is None
    assert len(sources.load(f"text:{folder}", "test")) == 1
    assert len(sources.load(f"text:{folder / 'train.txt'}", "train")) == 4


def test_a_reading_process_maps_the_file_itself(folder):
    source = sources.load(f"text:{folder}", "train")
    assert source[0]["text"] == "first line"  # the map is open
    copied = pickle.loads(pickle.dumps(source))
    assert len(pickle.dumps(source)) < 2000 and copied[1]["text"] == LINES[1]


def test_bad_files_get_one_sentence(folder, tmp_path):
    cases = {
        f"text:{tmp_path / 'none'}": "does not exist", f"text:{tmp_path / 'empty.txt'}": "holds no text",
        "text:": "does not exist",
    }  # fmt: skip
    (tmp_path / "empty.txt").write_text("\n\n")
    for spec, message in cases.items():
        with pytest.raises(ValueError, match=message):
            sources.load(spec, "train")
    with pytest.raises(ValueError, match="no split 'validation'.*it has empty, test, train"):
        sources.load(f"text:{folder}", "validation")
    with pytest.raises(ValueError, match="whose one split is 'train'"):
        sources.load(f"text:{folder / 'train.txt'}", "test")
    (tmp_path / "latin.txt").write_bytes(b"good\nb\xe4d\n")
    with pytest.raises(ValueError, match="Line 2 of .*latin.txt.* is not UTF-8"):
        sources.load(f"text:{tmp_path / 'latin.txt'}", "train")[1]


def test_generated_sentences_are_functions_of_split_and_row():
    source, again = (sources.load("synthetic_text:40", "train") for _ in range(2))
    assert source[7]["text"] == again[7]["text"] != sources.load("synthetic_text:40", "test")[7]["text"]
    assert source.num_classes == 4 and np.bincount(source.labels).tolist() == [10] * 4
    topic = list(text.TOPICS.values())[source[7]["label"]]
    assert set(str(source[7]["text"]).split()) <= {*topic, *text.COMMON}
    for bad in ("synthetic_text:0", "synthetic_text:x"):
        with pytest.raises(ValueError, match="expected synthetic_text:COUNT"):
            sources.load(bad, "train")
    with pytest.raises(ValueError, match="no split 'dev'"):
        sources.load("synthetic_text", "dev")


def test_every_word_is_in_one_piece(tmp_path):
    (tmp_path / "train.txt").write_text("b a a\nrare\na b c b\n")
    source, split = sources.load(f"text:{tmp_path}", "train"), parts.splitter("spaces")
    known = parts.vocabulary(source, split, min_count=2)
    assert parts.words_of(known) == ["</s>", "b", "a"]  # of equal counts the one that came first
    assert known["counts"].tolist() == [3, 3, 3] and known["seen"] == 8
    pieces = parts.Pieces.of(source, parts.encoder(known, split), 4)
    assert len(pieces) == 3 and pieces.total == 9
    stream = pieces.rows(np.arange(3))["tokens"]
    assert stream.ravel().tolist() == [1, 2, 2, 0, 0, 2, 1, 1, 0, 0, 0, 0]  # c is rare; padded by ends of sentences
    assert pickle.loads(pickle.dumps(pieces))[1]["tokens"].tolist() == stream[1].tolist()


def test_vocabularies_that_are_none_get_one_sentence(tmp_path):
    (tmp_path / "train.txt").write_text("a b c\n")
    source = sources.load(f"text:{tmp_path}", "train")
    with pytest.raises(ValueError, match="No word of .* comes 5 times"):
        parts.vocabulary(source, str.split, 5)
    with pytest.raises(ValueError, match="expected one of spaces, words"):
        parts.splitter("bpe")
