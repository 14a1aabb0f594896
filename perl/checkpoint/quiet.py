"""Stops orbax from printing an error that it also raises."""

import contextlib
import gc
import io
import logging
import sys
import threading
import time
import traceback
from collections.abc import Iterator

_JOIN, _SETTLE = 10.0, 0.5  # seconds


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """A context in which an error is raised but not printed as well.

    When one writer of orbax fails, the others fail in other threads, and these log and
    print their errors to stderr. So after an error this context waits for the threads
    and drops their output.
    """
    printed, disabled = io.StringIO(), logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(printed):
            try:
                yield
            except Exception as error:
                _settle(error)
                raise
    finally:
        logging.disable(disabled)
    sys.stderr.write(printed.getvalue())


def _settle(error):
    """Waits until all writers have failed."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    gc.collect()
    for thread in threading.enumerate():
        if type(thread).__module__.startswith('orbax.'):
            thread.join(_JOIN)
    time.sleep(_SETTLE)  # for the threads of tensorstore, which cannot be joined
    gc.collect()  # asyncio reports an unhandled error when the task is collected
