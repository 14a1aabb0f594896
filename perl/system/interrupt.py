"""Delays Ctrl-C and SIGTERM to the end of a step."""

import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn


class Stopped(Exception):
    """The user asked to stop; all work up to here is saved."""


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """Ends the process at once: the signal handler while modules are imported and no
    file is open yet."""
    print('stopped before anything began', file=sys.stderr, flush=True)
    os._exit(128 + number)


class Interrupt:
    """A context in which the first Ctrl-C or SIGTERM only requests a stop.

    A second Ctrl-C raises KeyboardInterrupt. Outside the main thread, where Python
    delivers no signals, the context changes nothing.

    Attributes:
        requested: whether a stop was requested.
    """

    def __init__(self):
        self.requested = False
        self._before = {}

    def __enter__(self) -> 'Interrupt':
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            # None: a handler that Python did not install and cannot put back
            signal.signal(number, handler or signal.SIG_DFL)
        self._before.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True


def active() -> bool:
    """Whether an `Interrupt` handles Ctrl-C, so that only a second one raises."""
    handler = signal.getsignal(signal.SIGINT)
    return isinstance(getattr(handler, '__self__', None), Interrupt)
