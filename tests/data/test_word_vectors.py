"""Files of word vectors: what is written is read back, by us and by gensim, and what gensim writes by us."""

import numpy as np
import pytest

from ssl_jax.data import word_vectors

WORDS = ["</s>", "the", "König", "new_york"]
VECTORS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("told", [False, True])
def test_what_is_written_is_read_back(tmp_path, binary, told):
    word_vectors.write(tmp_path / "v", WORDS, VECTORS, binary=binary)
    words, vectors = word_vectors.read(tmp_path / "v", binary=binary if told else None)
    assert words == WORDS and vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, VECTORS)


@pytest.mark.parametrize("binary", [False, True])
def test_gensim_reads_and_writes_the_same(tmp_path, binary):
    keyed = pytest.importorskip("gensim.models", reason="gensim is not installed").KeyedVectors
    word_vectors.write(tmp_path / "ours", WORDS, VECTORS, binary=binary)
    loaded = keyed.load_word2vec_format(str(tmp_path / "ours"), binary=binary)
    assert loaded.index_to_key == WORDS
    np.testing.assert_array_equal(loaded.vectors, VECTORS)
    loaded.save_word2vec_format(str(tmp_path / "theirs"), binary=binary)
    words, vectors = word_vectors.read(tmp_path / "theirs")
    assert sorted(words) == sorted(WORDS)
    np.testing.assert_array_equal(vectors[[words.index(word) for word in WORDS]], VECTORS)


def test_the_tools_trailing_spaces_are_read(tmp_path):
    (tmp_path / "v.txt").write_text("2 2 \n</s> 0.5 -1.5 \nthe 1e-3 2 \n".replace("2 2 \n", "2 2\n"))
    words, vectors = word_vectors.read(tmp_path / "v.txt")
    assert words == ["</s>", "the"]
    np.testing.assert_array_equal(vectors, np.array([[0.5, -1.5], [1e-3, 2]], np.float32))


def test_bad_files_get_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="holds white space"):
        word_vectors.write(tmp_path / "v", ["new york"], VECTORS[:1])
    with pytest.raises(ValueError, match=r"expected \[V, D\], V words"):
        word_vectors.write(tmp_path / "v", WORDS, VECTORS[:2])
    with pytest.raises(ValueError, match="cannot be read"):
        word_vectors.read(tmp_path / "none")
    (tmp_path / "junk").write_text("no header\n")
    with pytest.raises(ValueError, match="cannot be read"):
        word_vectors.read(tmp_path / "junk")
    for binary in (False, True):
        word_vectors.write(tmp_path / "v", WORDS, VECTORS, binary=binary)
        content = (tmp_path / "v").read_bytes()
        (tmp_path / "cut").write_bytes(content[: content.rindex(b"new_york")])
        with pytest.raises(ValueError, match="announces 4 words and holds 3|is no binary file"):
            word_vectors.read(tmp_path / "cut", binary=binary)
