"""One process at a time in a run folder."""

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Iterator

import jax

from perl.system.errors import UserError

LOCK = '.lock'


@contextlib.contextmanager
def exclusive(workdir: pathlib.Path) -> Iterator[None]:
    """A context in which no other process trains in a run folder, which it makes.

    The system lets the lock go, however the process ends. A new folder in which
    nothing was begun is removed again.

    Raises:
        UserError: another process is at work there.
    """
    if jax.process_index():  # the first host has it for all
        yield
        return
    new = not workdir.exists()
    with contextlib.ExitStack() as stack:
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context((workdir / LOCK).open('w'))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f'{workdir} is in use by another process; wait until it ends, or give '
                'another --workdir'
            ) from None
        except OSError:
            pass  # read-only, or a disk without locks: the run says what it cannot do
        try:
            yield
        finally:
            if new and workdir.exists() and os.listdir(workdir) == [LOCK]:
                (workdir / LOCK).unlink()
                workdir.rmdir()
