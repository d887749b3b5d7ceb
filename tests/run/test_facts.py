"""What a method knows of its data is computed once, kept with the run, and part of what a checkpoint belongs to."""

import types

import numpy as np
import pytest
from ml_collections import ConfigDict

from ssl_jax import methods
from ssl_jax.run import facts

CONFIG = ConfigDict({"method": {"name": "counting"}})


@pytest.fixture
def calls(monkeypatch):
    """A method file with facts, and how often they were computed."""
    calls = []

    def compute(source, config):
        calls.append(source)
        return {"counts": np.bincount(source), "size": np.int64(len(source))}

    module = types.SimpleNamespace(facts=compute, build=lambda config, facts: facts)
    load = methods.api.load
    monkeypatch.setattr(methods.api, "load", lambda name: module if name == "counting" else load(name))
    monkeypatch.setattr(methods, "load", methods.api.load)
    return calls


def test_facts_are_computed_once_and_kept(calls, tmp_path):
    first = facts.gather(tmp_path, CONFIG, [0, 1, 1])
    facts.keep(tmp_path, first)
    again = facts.gather(tmp_path, CONFIG, [2, 2, 2])  # other data: those of the run stay
    assert len(calls) == 1 and again["counts"].tolist() == [1, 2] and again["size"] == 3
    assert methods.build(CONFIG, facts.read(tmp_path))["counts"].tolist() == [1, 2]
    assert facts.gather(None, CONFIG, [5])["size"] == 1  # a dry run has no directory


def test_a_method_without_its_facts_is_refused(calls):
    with pytest.raises(ValueError, match="needs facts of its data"):
        methods.build(CONFIG)


def test_methods_without_facts_write_nothing(tmp_path):
    assert facts.gather(tmp_path, ConfigDict({"method": {"name": "simclr"}}), None) == {}
    facts.keep(tmp_path, {})
    assert list(tmp_path.iterdir()) == [] and facts.read(tmp_path) == {} and facts.digest("abc", {}) == "abc"


def test_other_facts_are_another_run():
    one, other = {"counts": np.array([1, 2])}, {"counts": np.array([1, 3])}
    assert facts.digest("abc", one) != facts.digest("abc", other) != facts.digest("abd", other)
    assert facts.digest("abc", one) == facts.digest("abc", dict(one))


def test_a_damaged_file_is_named(tmp_path):
    facts.keep(tmp_path, {"counts": np.arange(100)})
    path = tmp_path / facts.NAME
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="facts.npz is damaged"):
        facts.read(tmp_path)
