"""How the processes of a run end: in good order together, or one after the other."""

import contextlib
import ctypes
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator

from perl.system import hosts, watch

MEND = 'the same command in every process goes on from the last save'
_GRACE = 5.0  # seconds in which the cause of a failed collective operation may show

_watch: watch.Watch | None = None


def begin(peers: list[watch.Peer], seconds: float) -> None:
    """Watches the other processes from now on.

    Args:
        peers: the connections to them.
        seconds: without a sign of life after which a process counts as lost.
    """
    global _watch
    _delay_aborts()
    _watch = watch.Watch(peers, seconds, _end)


def _delay_aborts():
    """Gives the watch time to say why, where JAX aborts because process 0 has ended.

    The handler of the signal is the C function `sleep`, which takes the number of the
    signal, 6, as its seconds; Python's own handlers would not run before the end.
    """
    library = ctypes.CDLL(None)
    library.signal.argtypes = ctypes.c_int, ctypes.c_void_p
    library.signal.restype = ctypes.c_void_p
    handler = ctypes.cast(library.sleep, ctypes.c_void_p)
    library.signal(signal.SIGABRT, handler)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """A context that ends the process when its command ends. Where it has failed, the
    other processes hear of it, and it does not wait for them."""
    try:
        yield
    except SystemExit as end:
        if _watch and end.code not in (None, 0):
            _leave(f'it ended with exit code {end.code}', end.code)
        done()
        raise
    except BaseException as error:
        if not _watch:
            raise
        # if it is the end of another process, the watch says so and ends this one
        time.sleep(_GRACE)
        sys.excepthook(type(error), error, error.__traceback__)
        _leave(f'{type(error).__name__}: {error}', 1)


def done() -> None:
    """Says that this process ends in good order, as all of them do."""
    global _watch
    if _watch:
        _watch.done()
        _watch = None


def failed(why: str) -> None:
    """Tells the other processes why this one ends."""
    if _watch:
        _watch.failed(f'{own_name()}: {why}')


def _leave(why, code):
    failed(why)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code if isinstance(code, int) else 1)  # JAX would wait for the others


def own_name() -> str:
    """This process and its host, for messages in others."""
    return f'{hosts.name()} ({socket.gethostname()})'


def _end(why):
    watch.end_process(f'{why}; this process ends too, and {MEND}')
