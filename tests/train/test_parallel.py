"""Where a step runs: every refusal says what to do, and rows land on their devices."""

import numpy as np
import pytest

from ssl_jax.train import parallel


def test_a_batch_that_devices_cannot_share_is_refused():
    with pytest.raises(ValueError, match="100, which 8 devices cannot share evenly; use 96 or 104"):
        parallel.make("shard_map", None, 100)
    with pytest.raises(ValueError, match="use 8,"):
        parallel.make("shard_map", None, 4)


def test_more_devices_than_there_are_is_refused():
    with pytest.raises(ValueError, match="config.parallel.devices is 9; expected 1 to 8"):
        parallel.make("shard_map", 9, 18)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="expected one of shard_map, pmap"):
        parallel.make("pjit", None, 8)


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_rows_are_split_in_order(devices):
    where = parallel.make("shard_map", devices, 16)
    rows = np.arange(32).reshape(16, 2)
    placed = where.place({"x": rows})["x"]
    shards = sorted(placed.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    assert len(shards) == devices
    np.testing.assert_array_equal(np.concatenate([shard.data for shard in shards]), rows)


def test_pmap_takes_a_leading_device_axis():
    where = parallel.make("pmap", 4, 16)
    assert where.place({"x": np.zeros((16, 3))})["x"].shape == (4, 4, 3)
