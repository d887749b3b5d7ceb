"""Batches: the order of rows, which nothing but the seed decides."""

import hashlib

import numpy as np
import pytest

from ssl_jax.data import sources
from ssl_jax.data.pipeline import Batches, sequential


@pytest.fixture(scope="module")
def digits():
    return sources.load("digits", "train")


@pytest.fixture(scope="module")
def small():
    return sources.load("synthetic:16x50", "train")


def assert_equal(a, b):
    assert set(a) == set(b)
    for key in a:
        assert a[key].dtype == b[key].dtype
        np.testing.assert_array_equal(a[key], b[key])


def order(batches, count):
    return np.concatenate([batches[k]["row"] for k in range(count)])


def test_order_is_the_same_in_every_version(digits):
    rows = order(Batches(digits, batch_size=256, seed=0), 3)
    digest = hashlib.sha256(rows.astype("<i4").tobytes()).hexdigest()
    assert digest == "e3d2f63f06b6bcfa0f8a3c5a7a9fc4442d7eabd65b3a037cdabbcbe360444ff9"


def test_batch_holds_the_rows_it_names(digits):
    batch = Batches(digits, batch_size=64, seed=3)[5]
    assert set(batch) == {"image", "label", "index", "row"}
    assert batch["row"].dtype == batch["index"].dtype == np.int32
    np.testing.assert_array_equal(batch["index"], np.arange(64))
    np.testing.assert_array_equal(batch["image"], digits.arrays["image"][batch["row"]])
    np.testing.assert_array_equal(batch["label"], digits.arrays["label"][batch["row"]])


@pytest.mark.parametrize("processes", [2, 4])
def test_blocks_of_the_processes_make_the_global_batch(digits, processes):
    whole = Batches(digits, batch_size=128, seed=1)
    parts = [
        Batches(digits, batch_size=128, seed=1, process_index=p, process_count=processes) for p in range(processes)
    ]
    for k in (0, 11, 1000):  # batch 11 crosses the end of the first epoch
        blocks = [part[k] for part in parts]
        assert_equal({key: np.concatenate([block[key] for block in blocks]) for key in blocks[0]}, whole[k])
    assert_equal(next(parts[1].iterate(7)), parts[1][7])


def test_every_epoch_visits_every_row_once_in_a_new_order(small):
    epochs = order(Batches(small, batch_size=20, seed=0), 10).reshape(4, 50)  # every other epoch ends within a batch
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(50), (4, 1)))
    assert len({epoch.tobytes() for epoch in epochs}) == 4


def test_seeds_do_not_share_epochs(small):
    # A seed that is merely added to the epoch number would give seed 1 the second epoch of seed 0.
    orders = [order(Batches(small, batch_size=50, seed=seed), 4).reshape(4, 50) for seed in range(4)]
    assert len({epoch.tobytes() for epochs in orders for epoch in epochs}) == 16


def test_unshuffled_batches_follow_the_source(small):
    np.testing.assert_array_equal(order(Batches(small, batch_size=20, seed=0, shuffle=False), 5), np.arange(100) % 50)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_iterating_from_any_batch_equals_random_access(small, workers):
    batches = Batches(small, batch_size=20, seed=0, workers=workers)
    stream = batches.iterate(3)
    for k in range(3, 8):
        batch = next(stream)
        assert_equal(batch, batches[k])
        assert all(type(array) is np.ndarray for array in batch.values())
    stream.close()


def test_strings_stay_behind(small):
    assert small[0]["text"].dtype.kind == "U"
    assert set(Batches(small, batch_size=20, seed=0)[0]) == {"image", "label", "box", "index", "row"}
    assert "text" not in next(sequential(small, 20))


def test_sequential_visits_all_rows_in_order_and_masks_the_rest(small):
    batches = list(sequential(small, 20))
    assert [batch["valid"].sum() for batch in batches] == [20, 20, 10]
    assert all(len(array) == 20 for batch in batches for array in batch.values())
    mask = np.concatenate([batch["valid"] for batch in batches])
    for key in ("image", "label", "box"):
        rows = np.concatenate([batch[key] for batch in batches])[mask]
        np.testing.assert_array_equal(rows, small.rows(np.arange(50))[key])


@pytest.mark.parametrize("processes", [2, 4])
def test_sequential_blocks_of_the_processes_make_the_batch_of_one(small, processes):
    parts = [list(sequential(small, 20, process_index=p, process_count=processes)) for p in range(processes)]
    for *blocks, whole in zip(*parts, sequential(small, 20), strict=True):
        assert all(len(block["valid"]) == 20 // processes for block in blocks)
        assert_equal({key: np.concatenate([block[key] for block in blocks]) for key in whole}, whole)
    with pytest.raises(ValueError, match="batch_size is 18; expected a positive multiple of the 4 processes"):
        next(sequential(small, 18, process_count=4))


def test_one_batch_can_hold_more_than_the_source(small):
    (batch,) = sequential(small, 64)
    assert batch["valid"].sum() == 50 and len(batch["image"]) == 64


class Unplugged:
    """A source whose disk is gone by the time batches are read."""

    name, num_classes, labels = "unplugged", None, None

    def __len__(self):
        return 50

    def __getitem__(self, i):
        return {"image": np.zeros((2, 2, 1), np.uint8)}

    def rows(self, ids):
        raise OSError("the disk is gone")


def test_an_error_while_reading_ahead_arrives():
    with pytest.raises(OSError, match="the disk is gone"):
        next(Batches(Unplugged(), batch_size=10, seed=0).iterate())


@pytest.mark.parametrize(
    "options, message",
    [
        ({"batch_size": 6, "process_count": 4}, "batch_size 6 is not a positive multiple of the 4 processes"),
        ({"batch_size": 0}, "batch_size 0 is not a positive multiple"),
        ({"batch_size": 64}, "exceeds the 50 rows of synthetic:16x50/train"),
        ({"batch_size": 8, "process_index": 2, "process_count": 2}, r"process_index 2 is not in \[0, 2\)"),
    ],
)
def test_wrong_batches_are_refused(small, options, message):
    with pytest.raises(ValueError, match=message):
        Batches(small, seed=0, **options)


def test_reserved_names_are_refused():
    image = np.zeros((4, 2, 2, 1), np.uint8)
    with pytest.raises(ValueError, match="array 'row', a name that batches use themselves; rename it"):
        Batches(sources.from_arrays({"image": image, "row": np.arange(4)}), batch_size=2, seed=0)
    with pytest.raises(ValueError, match="array 'valid'"):
        next(sequential(sources.from_arrays({"image": image, "valid": image}), 2))


class Sentences:
    """Strings, of which the host makes numbers: the length and a random word."""

    name, num_classes, labels = "sentences/train", None, None

    def __len__(self):
        return 10

    def __getitem__(self, i):
        return {"text": "word " * (i + 1)}

    def rows(self, ids):
        return {"text": np.array([self[i]["text"] for i in ids])}

    def prepare(self, example, rng):
        words = example["text"].split()
        return {"length": np.int32(len(words)), "drawn": np.int32(rng.integers(1 << 30)), "text": np.array("left")}


@pytest.mark.parametrize("processes", [1, 2])
def test_the_host_prepares_rows_by_seed_row_and_epoch(processes):
    alone = Batches(Sentences(), batch_size=4, seed=3)
    parts = [
        Batches(Sentences(), batch_size=4, seed=3, process_index=p, process_count=processes)
        for p in range(processes)
    ]
    seen = {}
    for k in range(10):  # four epochs
        batch, made = alone[k], [part[k] for part in parts]
        assert set(batch) == {"length", "drawn", "index", "row"}  # strings stop at `prepare`
        np.testing.assert_array_equal(batch["length"], batch["row"] + 1)
        for name in batch:
            np.testing.assert_array_equal(batch[name], np.concatenate([part[name] for part in made]))
        for i, row in enumerate(batch["row"]):
            epoch = (4 * k + i) // 10
            assert batch["drawn"][i] == np.random.default_rng([3, row, epoch]).integers(1 << 30)
            seen.setdefault(int(row), set()).add(int(batch["drawn"][i]))
    assert all(len(drawn) == 4 for drawn in seen.values())  # another draw in every epoch
    stream = alone.iterate(7)
    np.testing.assert_array_equal(next(stream)["drawn"], alone[7]["drawn"])
    stream.close()


def test_evaluation_prepares_too():
    batches = list(sequential(Sentences(), 4))
    assert np.concatenate([batch["length"] for batch in batches])[:10].tolist() == list(range(1, 11))
