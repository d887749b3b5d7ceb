"""Paths as users write them go through one door."""

from pathlib import Path

import pytest

from ssl_jax import paths
from ssl_jax.data import sources

PACKAGE = Path(paths.__file__).parent


def test_the_home_directory_is_expanded_everywhere(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.expand("~/runs/x") == tmp_path / "runs/x" and paths.expand("a/~") == Path("a/~")
    with pytest.raises(ValueError, match="npz:~/none is no directory"):
        sources.load("npz:~/none", "train")
    others = [str(file) for file in PACKAGE.rglob("*.py") if ".expanduser(" in file.read_text()]
    assert others == [paths.__file__]


def test_a_home_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="~nobody-here/x begins with a home directory that is not known"):
        paths.expand("~nobody-here/x")
    with pytest.raises(ValueError, match="zero byte"):
        paths.expand("a\0b")


def test_where_nothing_can_be_made_is_said_before(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for text, folder in (("file/run", True), ("file", True), ("file/deep/f.npz", False)):
        with pytest.raises(ValueError, match=f"cannot be made, because {tmp_path}/file is a file"):
            paths.output(tmp_path / text, folder=folder)
    with pytest.raises(ValueError, match="is a directory; give the name of a file"):
        paths.output(tmp_path)
    assert paths.output(tmp_path / "new/run", folder=True) == tmp_path / "new/run"
    assert paths.output(tmp_path / "file") == tmp_path / "file" and not (tmp_path / "new").exists()
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(ValueError, match="may not be written"):
        paths.output(tmp_path / "new/f.npz")
