"""What the operating system says when a write fails, and nothing else."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator

from absl import logging

FULL = [os.strerror(n) for n in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)]
_OTHER = [os.strerror(n) for n in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO)]


def reason(error: BaseException | None) -> str | None:
    """What the system said, wherever it stands in the chain of errors, if anywhere.

    Libraries in C++ keep the system's words in a message, not in an OSError.
    """
    text = ''
    while error is not None:
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        text += f' {error}'
        error = error.__cause__ or error.__context__
    return next((said for said in FULL + _OTHER if said in text), None)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps orbax from telling of errors that it also raises: its log, and what its
    other writers print when they find that the first one has failed."""
    before = logging.get_verbosity(), sys.excepthook
    logging.set_verbosity(logging.FATAL)
    sys.excepthook = lambda *error: None
    try:
        yield
    finally:
        logging.set_verbosity(before[0])
        sys.excepthook = before[1]
