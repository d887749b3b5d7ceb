"""SIGKILL at any instant: the run goes on by the same command and ends as if nothing had happened."""

import random
import time

import numpy as np

import ssl_jax
from ssl_jax.data import sources
from tests.faults.conftest import TINY, rows, same


def saves(checkpoints, more_than):
    """A condition: the files of another save than the first so many are being written."""
    seen = set()

    def saving():
        seen.update(path.name for path in checkpoints.glob("*.partial"))
        return len(seen) > more_than

    return saving


def features(directory):
    """The bytes of the test images' features."""
    images = sources.load("digits", "test").rows(np.arange(360))["image"]
    return ssl_jax.load_encoder(directory)(images).tobytes()


def test_a_killed_run_ends_as_if_it_had_not_been(lab, reference, long, tmp_path):
    kills, in_saves = (50, 12) if long else (4, 2)
    chance, inside, done, most_repeated, run = random.Random(0), 0, 0, 0, 0
    began = time.monotonic()
    lab.run(tmp_path / "timed")
    whole = time.monotonic() - began  # a run from start to end, the instants are drawn from it
    same(tmp_path / "timed", reference)
    while done < kills:
        run += 1
        directory = tmp_path / f"run_{run}"
        checkpoints = directory / "checkpoints"
        while True:
            process = lab.start(directory)
            if done >= kills:
                lab.end(process)
                break
            if inside < in_saves:  # wait for the first or a later save, and strike somewhere within
                running = lab.wait_until(process, saves(checkpoints, more_than=chance.randrange(3)))
                time.sleep(chance.uniform(0, 0.02))
            else:
                time.sleep(chance.uniform(0, whole))
                running = process.poll() is None
            if not running or not lab.kill(process):
                lab.end(process)  # it was faster: this run is complete, the next one begins anew
                break
            done += 1
            inside += bool(list(checkpoints.glob("*.partial")) + list(checkpoints.glob("*.deleting")))
            reached = max((row["step"] for row in rows(directory)), default=0)
            saved = max((int(path.name) for path in checkpoints.glob("*") if path.name.isdigit()), default=0)
            most_repeated = max(most_repeated, reached - saved)
            assert reached - saved <= 2 * TINY["train.checkpoint_every"]  # the one before that which was being written
        same(directory, reference)
        assert features(directory) == features(reference)
    print(f"\n{done} kills in {run} runs, {inside} inside a save; at most {most_repeated} logged steps repeated")
    assert inside >= (10 if long else 1)
