"""A run that had been saved and has no checkpoint any more is refused; one that never was begins anew."""

import shutil

import pytest

from ssl_jax.run import checkpoint, restore
from ssl_jax.run.checkpoint import Checkpoints
from tests.run.test_checkpoint import full, make

ROWS = '{"step": 1, "loss": 3.1}\n{"step": 4, "loss": 2.5}\n'


@pytest.mark.parametrize(("mark", "rows"), [(True, ROWS), (False, ROWS + '{"event": "finished", "step": 4}\n')])
def test_a_run_whose_checkpoints_are_gone_is_not_begun_anew(tmp_path, mark, rows):
    run, directory = tmp_path, tmp_path / "checkpoints"
    with Checkpoints(directory) as checkpoints:
        checkpoints.save(4, make(4), {}, wait=True)
    (run / "metrics.jsonl").write_text(rows)
    if not mark:  # a run of an earlier version, whose metrics say that it ended
        (run / restore.SAVED).unlink()
    (directory / "4").rename(directory / "0004")
    sentence = f"{run} has been saved and had reached step 4, but its checkpoints/ holds none"
    with pytest.raises(ValueError, match=f"{sentence} but '0004', which no run writes; put them back, or begin anew"):
        restore.refuse_lost(run)
    shutil.rmtree(directory)
    with pytest.raises(ValueError, match=f"{sentence}; put them back, or begin anew with another --workdir"):
        restore.refuse_lost(run)


def test_a_run_that_was_never_saved_may_begin_anew(tmp_path, monkeypatch):
    restore.refuse_lost(tmp_path)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints, monkeypatch.context() as patch:
        patch.setattr(checkpoint.os, "replace", full)
        assert "could not be written" in checkpoints.save(4, make(4), {}, wait=True)
    (tmp_path / "metrics.jsonl").write_text(ROWS + '{"event": "warning", "step": 4, "text": ""}\n')
    restore.refuse_lost(tmp_path)
