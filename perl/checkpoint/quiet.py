"""Keeps orbax from printing an error that it also raises."""

import contextlib
import sys
import threading
from collections.abc import Iterator

from absl import logging

_WAIT = 10.0  # seconds for a writer of orbax that is still busy


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """A context in which orbax and tensorstore print nothing.

    When one of their writers fails, the others go on and fail in threads of their own.
    So after an error this waits for the threads of orbax, and leaves a hook that drops
    what the threads of tensorstore, which nobody can wait for, may still print.
    """
    verbosity, hook = logging.get_verbosity(), sys.excepthook
    logging.set_verbosity(logging.FATAL)
    sys.excepthook = lambda *error: None
    try:
        yield
    except Exception:
        for thread in threading.enumerate():
            if type(thread).__module__.startswith('orbax.'):
                thread.join(_WAIT)
        hook = _of_main_thread(hook)
        raise
    finally:
        logging.set_verbosity(verbosity)
        sys.excepthook = hook


def _of_main_thread(hook):
    def called(*error):
        if threading.current_thread() is threading.main_thread():
            hook(*error)

    return called
