"""Documents and rows of tokens in files, so that a text may be larger than memory. NumPy alone, on the host.

Files lie in the folder for temporary files (the environment variable TMPDIR) and go with the process. In memory stay
8 bytes a segment and a document.
"""

import atexit
import shutil
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


def new_file(name: str) -> Path:
    """Where a file may be written that goes with the process."""
    folder = tempfile.mkdtemp(prefix="ssl_jax_tokens_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder) / name


class StoredDocuments(Sequence):
    """Documents, each a list of segments (ids, words), int32 arrays of one length.

    >>> documents = StoredDocuments([[(np.array([7, 8]), np.array([0, 0])), (np.array([9]), np.array([0]))], []])
    >>> len(documents), [ids.tolist() for ids, _ in documents[0]], documents[1]
    (2, [[7, 8], [9]], [])
    """

    def __init__(self, documents: Iterable[list]):
        self.ends, self.firsts, path = array("q", [0]), array("q", [0]), new_file("documents")
        with open(path, "wb") as file:
            for segments in documents:
                for ids, words in segments:
                    file.write(np.stack([ids, words], axis=1).astype(np.int32).tobytes())
                    self.ends.append(self.ends[-1] + len(ids))
                self.firsts.append(len(self.ends) - 1)
        self.tokens = np.memmap(path, np.int32, "r").reshape(-1, 2) if self.ends[-1] else None

    def __len__(self) -> int:
        return len(self.firsts) - 1

    def __getitem__(self, i: int) -> list:
        segments = range(*self.firsts[i : i + 2])
        parts = [np.array(self.tokens[self.ends[k] : self.ends[k + 1]]) for k in segments]
        return [(part[:, 0], part[:, 1]) for part in parts]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of equal arrays as a source."""

    name: str
    path: Path
    dtype: np.dtype  # of a row, with the arrays as its fields
    total: int

    labels = num_classes = None

    @classmethod
    def of(cls, blocks: Iterator[dict[str, np.ndarray]], name: str) -> "Rows":
        """Those of blocks of rows, arrays int32 `[n, ...]`."""
        path, total, dtype = new_file("rows"), 0, np.dtype([])
        with open(path, "wb") as file:
            for block in blocks:
                if not total:
                    dtype = np.dtype([(key, np.int32, rows.shape[1:]) for key, rows in block.items()])
                held = np.empty(len(next(iter(block.values()))), dtype)
                for key, rows in block.items():
                    held[key] = rows
                file.write(held.tobytes())
                total += len(held)
        return cls(name, path, dtype, total)

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        return {key: rows[0] for key, rows in self.rows(np.array([i])).items()}

    def rows(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        held = np.memmap(self.path, self.dtype, "r")[ids]
        return {key: np.ascontiguousarray(held[key]) for key in self.dtype.names}
