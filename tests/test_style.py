"""One style for the whole tree."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("ssl_jax", "configs", "benchmarks", "tests")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def test_ruff_finds_nothing():
    found = subprocess.run([sys.executable, "-m", "ruff", "check", "."], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


def test_files_are_short_and_have_one_subject():
    assert FILES
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in FILES}
    assert {name: length for name, length in lengths.items() if length > 350} == {}
    assert [name for name in lengths if re.search(r"(utils?|helpers?|misc)\.py$", name)] == []


def test_nothing_is_left_to_do():
    marks = re.compile(r"\b(TO[D]O|FIX[M]E)\b")
    assert [str(path.relative_to(ROOT)) for path in FILES if marks.search(path.read_text())] == []
