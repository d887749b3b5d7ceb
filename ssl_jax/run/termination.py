"""SIGTERM: the scheduler wants the machine back. The loop saves and ends; everything else ends at once."""

import contextlib
import signal
import threading
from collections.abc import Iterable, Iterator

import jax
from jax.experimental import multihost_utils


class Terminated(BaseException):
    """SIGTERM arrived where nothing needs saving; no error, so that no handler of errors swallows it."""


class Interrupted(Exception):
    """SIGTERM arrived during an evaluation, which can be repeated."""


class Termination:
    """Whether the run should end. All processes of a run get the same answer to the same question."""

    _questions = 0  # of this process, in all contexts: jax counts on

    def __init__(self):
        self._requested = False

    def request(self) -> None:
        """Ends the run at the next question."""
        self._requested = True

    def requested(self) -> bool:
        """Asked at the same places by every process, once a step and once a batch of an evaluation."""
        if jax.process_count() > 1 and not self._requested:
            # jax's own handler of SIGTERM tells all processes, which agree on the question to stop at.
            Termination._questions += 1
            self._requested = multihost_utils.reached_preemption_sync_point(Termination._questions)
        return self._requested

    def until_requested(self, items: Iterable) -> Iterator:
        """The items; raises `Interrupted` instead of giving the next one when the run should end."""
        for item in items:
            if self.requested():
                raise Interrupted
            yield item


@contextlib.contextmanager
def termination(single: bool = True) -> Iterator[Termination]:
    """A `Termination` that SIGTERM requests, as long as the context lasts.

    Unless `single`, it is never requested where there is one process, which SIGTERM ends at once.
    """
    asked = Termination()
    if not single or jax.process_count() > 1 or threading.current_thread() is not threading.main_thread():
        yield asked  # jax handles the signal, or nobody can: handlers are set in the main thread
        return
    previous = signal.signal(signal.SIGTERM, lambda *_: asked.request())
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, previous)


def end_on_sigterm() -> None:
    """From now on SIGTERM raises `Terminated`, except inside `termination()`; of several processes, jax takes care."""

    def end(*_):
        raise Terminated

    if jax.process_count() == 1:
        signal.signal(signal.SIGTERM, end)
