"""Analogies by the rules of compute-accuracy.c, similarities against SciPy, nearest words."""

import numpy as np
import pytest
from scipy import stats

from ssl_jax.evaluation import protocols, word_tests

WORDS = ["</s>", "man", "woman", "king", "queen", "Man", "apple"]
VECTORS = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1], [-9, 3, 3], [-1, 0.2, -1]], np.float32)


def test_an_analogy_is_solved_without_its_own_words():
    sections = {"family": [("man", "woman", "king", "queen"), ("MAN", "king", "woman", "Queen")]}
    assert word_tests.analogies(WORDS, VECTORS, sections) == {"family": (2, 2, 2)}
    # "king" itself is nearer to king - man + king than any other: what is asked is the next
    found = word_tests.analogies(WORDS, VECTORS, {"x": [("man", "king", "king", "king")]})
    assert found == {"x": (0, 1, 1)}


def test_unknown_words_are_not_asked_and_cases_are_one():
    sections = {"a": [("man", "woman", "king", "pear")], "b": [("apple", "king", "man", "queen")]}
    found = word_tests.analogies(WORDS, VECTORS, sections)
    assert found["a"] == (0, 0, 1) and found["b"][1:] == (1, 1)
    assert word_tests.upper_ids(WORDS)["MAN"] == 1  # the commoner one


def test_a_product_below_zero_is_no_answer():
    vectors = np.array([[0, 0], [1, 0], [0, 1], [0.1, -1], [-1, -0.5]], np.float32)
    words = ["</s>", "a", "b", "c", "d"]  # b - a + c points to (-0.9, 0): d has a positive product, unless turned
    question = {"s": [("a", "b", "c", "d")]}
    assert word_tests.analogies(words, vectors, question)["s"] == (1, 1, 1)
    vectors[4] = [1, 0.5]
    assert word_tests.analogies(words, vectors, question)["s"] == (0, 1, 1)


def test_the_parts_of_many_questions_are_all_asked(monkeypatch):
    questions = {"s": [("man", "woman", "king", "queen")] * 7}
    monkeypatch.setattr(word_tests, "QUESTIONS", 3)
    assert word_tests.analogies(WORDS, VECTORS, questions)["s"] == (7, 7, 7)


def test_correlations_are_those_of_scipy():
    rng = np.random.default_rng(0)
    words, vectors = [f"w{i}" for i in range(30)], rng.normal(size=(30, 5))
    pairs = [(f"W{i}", f"w{i + 1}", float(rng.integers(0, 5))) for i in range(0, 28)] + [("w1", "unknown", 3.0)]
    found = word_tests.similarities(words, vectors, pairs)
    cosines = [vectors[i] @ vectors[i + 1] / np.linalg.norm(vectors[i]) / np.linalg.norm(vectors[i + 1])
               for i in range(28)]  # fmt: skip
    given = [score for *_, score in pairs[:28]]
    assert found["spearman"] == pytest.approx(stats.spearmanr(cosines, given).statistic)
    assert found["pearson"] == pytest.approx(stats.pearsonr(cosines, given).statistic)
    assert found["coverage"] == 28 / 29


def test_nearest_words():
    assert [word for word, _ in word_tests.nearest(WORDS, VECTORS, "king", 2)] == ["queen", "man"]
    with pytest.raises(ValueError, match="did you mean 'king'"):
        word_tests.nearest(WORDS, VECTORS, "kings")


def test_rows_and_lines_have_coverage_and_both_kinds(tmp_path):
    (tmp_path / "q").write_text(": family\nman woman king queen\nman woman boy girl\n: gram1\nman king woman queen\n")
    (tmp_path / "p").write_text("# comment\nman\twoman\t8\nking\tqueen\t9\nman\tapple\t1\nking\tpear\t2\n")
    context = protocols.Context(
        split="train", files={"analogies": tmp_path / "q", "similarities": tmp_path / "p"},
        words=lambda kind: (WORDS, VECTORS if kind == "encoder" else -VECTORS[::-1]),
    )  # fmt: skip
    rows = protocols.evaluate(context, ("analogy", "similarity"))
    trained = [row for row in rows if row["features"] == "encoder"]
    values = {(row["protocol"], row["metric"]): (row["value"], row["n"]) for row in trained}
    assert values["analogy", "coverage"] == (2 / 3, 3) and values["analogy", "total"] == (1.0, 2)
    assert values["analogy", "family"] == (1.0, 1) and values["similarity", "coverage"] == (0.75, 4)
    assert values["similarity", "spearman"][0] == pytest.approx(1.0) and values["similarity", "spearman"][1] == 3
    lines = protocols.word_lines(rows)
    assert "coverage" in lines and "random" in lines and protocols.word_lines([]) == ""


def test_what_no_file_was_given_for_is_left_out(capsys):
    assert protocols.possible(("analogy",), frozenset({"words"})) == ()
    assert "set config.eval.analogies" in capsys.readouterr().out
    assert protocols.possible(("analogy", "similarity"), frozenset({"words", "analogies"})) == ("analogy",)


def test_bad_files_get_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        word_tests.read_analogies(tmp_path / "none")
    (tmp_path / "q").write_text(": s\na b c\n")
    with pytest.raises(ValueError, match="Line 2 of .* `a b c d`"):
        word_tests.read_analogies(tmp_path / "q")
    (tmp_path / "p").write_text("a\tb\tmuch\n")
    with pytest.raises(ValueError, match="Line 1 of .* by tabs"):
        word_tests.read_pairs(tmp_path / "p")
    with pytest.raises(ValueError, match="expected at least 3"):
        word_tests.similarities(WORDS, VECTORS, [("man", "pear", 1.0)])
