"""SIGTERM: the scheduler wants the machine back. The loop saves and ends; everything else ends at once.

Ctrl-C (SIGINT) counts as SIGTERM; pressed again, it ends the command at once, saving nothing.
"""

import contextlib
import os
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
    """A `Termination` that SIGTERM or Ctrl-C requests, as long as the context lasts.

    Unless `single`, it is never requested where there is one process, which SIGTERM ends at once.
    """
    asked = Termination()
    if threading.current_thread() is not threading.main_thread():
        yield asked  # handlers are set in the main thread
        return
    with contextlib.ExitStack() as stack:
        if single and jax.process_count() == 1:  # of several processes, jax handles SIGTERM
            previous = signal.signal(signal.SIGTERM, lambda *_: asked.request())
            stack.callback(signal.signal, signal.SIGTERM, previous)
        if _count_as_sigterm(again=signal.default_int_handler):  # outside of a command, as in a notebook
            stack.callback(signal.signal, signal.SIGINT, signal.default_int_handler)
        yield asked


def end_on_signals() -> None:
    """From now on SIGTERM raises `Terminated`, except inside `termination()`, and Ctrl-C counts as SIGTERM."""

    def end(*_):
        raise Terminated

    if jax.process_count() == 1:  # of several, jax handles SIGTERM
        signal.signal(signal.SIGTERM, end)
    _count_as_sigterm(again=signal.SIG_DFL)


def _count_as_sigterm(again) -> bool:
    """Ctrl-C counts as SIGTERM once, and the next one is left to the handler `again`; whether that was done.

    It is not where somebody else sees to it, nor in a job in the background, whose shell has it ignored.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return False

    def first(*_):
        signal.signal(signal.SIGINT, again)
        os.write(2, b"\nCtrl-C: saving and ending; press it again to leave at once\n")  # print is not safe here
        signal.raise_signal(signal.SIGTERM)

    signal.signal(signal.SIGINT, first)
    return True
