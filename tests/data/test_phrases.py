"""Phrases: those that the compiled word2phrase makes of the same text, and some by hand."""

import hashlib
import subprocess
import sys

import pytest

from ssl_jax.data import phrases

LINES = [[f"w{(i * i + 3 * j * j + i * j) % 31 % (j + 2)}" for j in range(i % 17)] for i in range(1, 300) if i % 17]


@pytest.mark.parametrize(
    ("threshold", "min_count", "joined", "digest"),
    [(2.0, 3, 99, "32297cf9ce1c787a"), (5.0, 2, 12, "5347bb5e7c78f9ce"), (1.0, 1, 897, "7fdf972f769099bf")],
)
def test_they_are_those_of_the_tool(threshold, min_count, joined, digest):
    """`word2phrase -min-count ... -threshold ...` on `LINES`; the digest is of its words, line by line."""
    counts, total = phrases.count(LINES, min_count)
    found = list(phrases.join(LINES, counts, total, min_count=min_count, threshold=threshold))
    assert sum("_" in word for words in found for word in words) == joined
    assert hashlib.sha256(repr(found).encode()).hexdigest()[:16] == digest


def test_a_phrase_by_hand():
    lines = [["a", "b", "a", "b", "c"], ["c", "a", "b"], ["b"]]
    counts, total = phrases.count(lines, 2)
    assert counts == {"a": 3, "b": 4, "c": 2, "a_b": 3} and total == 9
    score = (3 - 2) * 9 / (3 * 4)
    for threshold, expected in ((score - 1e-6, [["a_b", "a_b", "c"], ["c", "a_b"], ["b"]]), (score, lines)):
        assert list(phrases.join(lines, counts, total, min_count=2, threshold=threshold)) == expected


def test_the_command(tmp_path):
    (tmp_path / "in.txt").write_text("in new york they say\nnew  york is new\nold york\n")
    done = subprocess.run(
        [sys.executable, "-m", "ssl_jax.phrases", f"--input={tmp_path / 'in.txt'}", f"--output={tmp_path / 'out.txt'}",
         "--min_count=1", "--threshold=0.9"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.txt").read_text() == "in new_york they say\nnew_york is new\nold york\n"
    assert "3 documents, 1 phrases" in done.stdout
