"""What the processes of one run tell one another; all of it is the identity where there is one process."""

import jax
import numpy as np
from jax._src import distributed  # jax offers no other door to this barrier
from jax.experimental import multihost_utils

LONGEST_WAIT = 24 * 3600  # seconds that the others wait while process 0 saves or evaluates


def is_first() -> bool:
    """Whether this is process 0, the only one that writes files."""
    return jax.process_index() == 0


def from_first(tree):
    """Process 0's tree of numpy arrays, on every process, bit for bit; `tree` gives shapes and dtypes elsewhere."""
    if jax.process_count() == 1:
        return tree

    def send(array):
        bytes_of = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        sent = multihost_utils.broadcast_one_to_all(bytes_of)
        return np.asarray(sent).view(array.dtype).reshape(array.shape)

    return jax.tree.map(send, tree)


def text_from_first(text: str) -> str:
    """Process 0's string, on every process."""
    if jax.process_count() == 1:
        return text
    length = int(from_first(np.array(len(text.encode()), np.int32)))
    buffer = np.zeros(length, np.uint8)
    if is_first():
        buffer[:] = np.frombuffer(text.encode(), np.uint8)
    return from_first(buffer).tobytes().decode()


def wait_for_first(name: str) -> None:
    """Every process waits here until process 0 arrives too; `name` is used once in a run.

    A barrier of the coordination service, not of the devices: those give up when one of them is late.
    """
    if jax.process_count() > 1:
        distributed.global_state.client.wait_at_barrier(name, timeout_in_ms=LONGEST_WAIT * 1000)
