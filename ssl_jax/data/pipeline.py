"""Batches of a source: in shuffled order for training, in source order for evaluation.

Batch k is a pure function of (seed, k), for any number of processes and workers, so that resuming is setting k.
"""

import signal
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from functools import cached_property

import grain
import numpy as np
from absl import flags

from ssl_jax.data.rows import stacked
from ssl_jax.data.sources import Source


@dataclass(frozen=True, eq=False)
class Batches:
    """The endless sequence of this process's blocks of the global batches.

    All rows are shuffled anew for each epoch and the epochs are joined end to end: every epoch visits every row exactly
    once, and the batch that crosses the end of one may hold a row twice. Of global batch k, the process gets the
    contiguous block of positions [p B / n, (p + 1) B / n).

    A source with `prepare(example, rng)` has every example prepared, with a generator of (seed, row, epoch). A batch
    holds the numeric arrays of the source, stacked (strings stay behind), and
    `index` int32 [b], the position in the GLOBAL batch, from which randomness per example is derived, and
    `row` int32 [b], the row number in the source.

    Args:
      source: where rows come from.
      batch_size: rows of the global batch, B.
      seed: of the order of rows.
      process_index: this process, p.
      process_count: number of processes, n.
      workers: processes that read ahead for `iterate`; 0 reads ahead in a thread, best for data in memory.
      shuffle: False keeps the order of the source.

    Raises:
      ValueError: the processes do not divide the batch, it is larger than the source, or the source has an array
        `index` or `row` of its own.

    >>> from ssl_jax.data.sources import load
    >>> batches = Batches(load("digits", "train"), batch_size=256, seed=0)
    >>> batches[7]["image"].shape
    (256, 8, 8, 1)
    """

    source: Source
    _: KW_ONLY
    batch_size: int
    seed: int
    process_index: int = 0
    process_count: int = 1
    workers: int = 0
    shuffle: bool = True

    def __post_init__(self):
        if self.batch_size < 1 or self.batch_size % self.process_count:
            raise ValueError(
                f"batch_size {self.batch_size} is not a positive multiple of the {self.process_count} processes; each "
                f"of them takes an equal block of the batch"
            )
        if self.batch_size > len(self.source):
            raise ValueError(
                f"batch_size {self.batch_size} exceeds the {len(self.source)} rows of {self.source.name}; expected at "
                f"most one epoch, so that no batch is sure to hold a row twice"
            )
        if not 0 <= self.process_index < self.process_count:
            raise ValueError(f"process_index {self.process_index} is not in [0, {self.process_count})")
        _refuse_reserved(self.source, "index", "row")

    def __getitem__(self, k: int) -> dict[str, np.ndarray]:
        """This process's block of global batch k >= 0."""
        return self._read(self._blocks[k])

    def iterate(self, start: int = 0) -> Iterator[dict[str, np.ndarray]]:
        """Batches from number `start` on, for ever, read ahead; close the iterator to end the workers."""
        return _read_ahead(self._blocks[start:].map(self._read), self.workers)

    @cached_property
    def _blocks(self) -> grain.MapDataset:
        """Row numbers int64 [b] of each of this process's blocks."""
        rows = grain.MapDataset.range(len(self.source))
        if self.shuffle:
            rows = rows.seed(self.seed).shuffle()
        # Process p's block of global batch k is block k n + p of all the blocks of B / n rows.
        blocks = rows.repeat().batch(self.batch_size // self.process_count)
        return blocks.map_with_index(_numbered)[self.process_index :: self.process_count]

    def _read(self, numbered: tuple[int, np.ndarray]) -> dict[str, np.ndarray]:
        block, rows = numbered
        index = np.arange(len(rows), dtype=np.int32) + np.int32(self.process_index * len(rows))
        epochs = (block * len(rows) + np.arange(len(rows))) // len(self.source)
        arrays = prepared_rows(self.source, rows, self.seed, epochs)
        return _numeric(arrays) | {"index": index, "row": rows.astype(np.int32)}


def sequential(
    source: Source, batch_size: int, *, process_index: int = 0, process_count: int = 1
) -> Iterator[dict[str, np.ndarray]]:
    """All rows once, in the order of the source, read ahead in a thread: in the form `whole` of a source that has it.

    Every batch has `batch_size` rows, so that jit compiles once: the last is filled with copies of the last row. Each
    process gets its contiguous block of every batch.

    Args:
      source: where rows come from.
      batch_size: rows of a batch, of all processes.
      process_index: this process.
      process_count: number of processes.

    Yields:
      the numeric arrays of the source, stacked, and `valid` bool, False for the copies.

    Raises:
      ValueError: batch_size is no positive multiple of the processes, or the source has an array `valid` of its own.
    """
    if batch_size < 1 or batch_size % process_count:
        raise ValueError(f"batch_size is {batch_size}; expected a positive multiple of the {process_count} processes")
    b = batch_size // process_count
    _refuse_reserved(source, "valid")
    whole = getattr(source, "whole", None)

    def read(k: int) -> dict[str, np.ndarray]:
        rows = np.arange(b) + k * batch_size + process_index * b
        rows_there = np.minimum(rows, len(source) - 1)
        if whole is None:
            batch = _numeric(prepared_rows(source, rows_there, 0, np.zeros(b, np.int64)))
        else:
            batch = stacked([whole(source[int(row)]) for row in rows_there], source)
        return batch | {"valid": rows < len(source)}

    return _read_ahead(grain.MapDataset.range(-(-len(source) // batch_size)).map(read))


def prepared_rows(source: Source, rows: np.ndarray, seed: int, epochs: np.ndarray) -> dict[str, np.ndarray]:
    """Rows of a source, stacked, after its host stage `prepare(example, rng)` where it has one.

    `rng` of a row is a function of (seed, row, epoch): the same for any number of processes and workers.
    """
    prepare = getattr(source, "prepare", None)
    if prepare is None:
        return source.rows(rows)
    made = [
        prepare(source[int(row)], np.random.default_rng([seed, int(row), int(epoch)]))
        for row, epoch in zip(rows, epochs, strict=True)
    ]
    return stacked(made, source)


def _numbered(block: int, rows: np.ndarray) -> tuple[int, np.ndarray]:
    return block, rows


def _read_ahead(batches: grain.MapDataset, workers: int = 0) -> Iterator[dict[str, np.ndarray]]:
    """Iterates over batches, two ahead."""
    if workers and not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # outside of a command, such as in a notebook: grain's workers read absl flags
    dataset = batches.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=2))
    options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2)
    dataset = dataset.mp_prefetch(options, worker_init_fn=_end_silently_on_ctrl_c)
    iterator = iter(dataset)
    try:
        for batch in iterator:  # workers hand over a subclass of np.ndarray, in shared memory
            yield {key: np.asarray(array) for key, array in batch.items()}
    finally:
        iterator.close()


def _end_silently_on_ctrl_c(*_) -> None:
    """In a worker, which Ctrl-C reaches too: without a traceback, since the main process sees to the end."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _refuse_reserved(source: Source, *names: str) -> None:
    taken = sorted(set(names) & set(source[0]))  # before `prepare`, which must not use these names either
    if taken:
        raise ValueError(f"{source.name} has an array {taken[0]!r}, a name that batches use themselves; rename it")


def _numeric(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {key: array for key, array in arrays.items() if array.dtype.kind in "biufc"}
