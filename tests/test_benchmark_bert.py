"""`benchmarks/bert.py` at its smallest: both sides train the same network on the same hidden words."""

import argparse

import pytest

pytest.importorskip("torch", reason="needs the parity extra: pip install 'ssl_jax[parity]'")
pytest.importorskip("transformers", reason="needs the parity extra: pip install 'ssl_jax[parity]'")
pytestmark = pytest.mark.parity


def test_both_sides_begin_with_the_same_loss():
    from benchmarks import bert

    sizes = dict(size="nano", length=16, batch_size=4, vocabulary=60, dropout=0.0, rounds=2, steps=1)
    said = bert.measure(argparse.Namespace(**sizes))
    ours, theirs = said["first loss"].values()
    assert ours == pytest.approx(theirs, rel=1e-5)
    assert {len(times) for times in said["rounds ms"].values()} == {2}
    assert said["ratio"] == pytest.approx(said["median ms"]["ssl_jax"] / said["median ms"]["torch"])
