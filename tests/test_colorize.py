"""The command that colours a photograph: what it writes, and what it refuses."""

import cv2
import numpy as np
import pytest

from ssl_jax import colorize
from ssl_jax.run import workdir
from tests.methods.by_hand import prepare


@pytest.fixture
def run(tiny, own_batch, tmp_path, monkeypatch):
    """A run directory with an untrained network."""
    config = tiny("colorization")
    batch, facts = own_batch(config, 4)
    _, _, params, state = prepare(config, batch, facts)
    workdir.prepare(tmp_path, config)
    monkeypatch.setattr(colorize, "load_model", lambda *where: {"params": params, "method": state})
    return tmp_path


def test_a_photograph_is_coloured_and_keeps_its_size(run, monkeypatch, capsys):
    grey = np.random.default_rng(0).integers(60, 200, (20, 31), dtype=np.uint8)
    cv2.imwrite(str(run / "grey.png"), grey)
    flags = {"image": run / "grey.png", "output": run / "new" / "coloured.png", "workdir": run}
    values = {name: str(path) for name, path in flags.items()} | {"temperature": 0.5, "checkpoint": "latest"}
    monkeypatch.setattr(colorize, "FLAGS", type("Flags", (), values))
    assert colorize.main() == 0 and "31 x 20 pixels" in capsys.readouterr().out
    written = cv2.imread(str(run / "new" / "coloured.png"))[..., ::-1]
    np.testing.assert_array_equal(written, colorize.colorize(run, grey, 0.5))
    assert np.ptp(written.astype(int), axis=-1).max() > 2  # it is no longer grey
    for name, value, message in (
        ("output", "out.gif", "expected a name that ends in one of .png"), ("image", "none.png", "is no image that can")
    ):  # fmt: skip
        monkeypatch.setattr(colorize, "FLAGS", type("Flags", (), values | {name: value}))
        with pytest.raises(ValueError, match=message):
            colorize.main()


def test_what_cannot_be_coloured_is_refused(run, tiny, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"expected uint8 \[H, W\]"):
        colorize.colorize(run, np.zeros((4, 4, 2), np.uint8))
    with pytest.raises(ValueError, match="temperature is 0; expected a positive number"):
        colorize.colorize(run, np.zeros((4, 4), np.uint8), 0)
    monkeypatch.setattr(workdir, "read_config", lambda directory: tiny("simclr"))
    with pytest.raises(ValueError, match="is a run of 'simclr'; give one of configs/colorization.py"):
        colorize.colorize(run, np.zeros((4, 4), np.uint8))
