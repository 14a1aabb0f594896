"""One process at a time in a run folder, or at an output file."""

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Iterator

import jax

from perl.system.errors import UserError

LOCK = '.lock'


class Held:
    """A lock that this process holds."""

    def __init__(self, lock: pathlib.Path, handle: int | None):
        self._lock, self._handle = lock, handle

    def check(self) -> None:
        """Raises a `UserError` where the lock's file was removed, and the folder with
        it."""
        if self._handle is not None and not _is_same(self._lock, self._handle):
            raise UserError(
                f'{self._lock.parent} was removed or moved while this process worked '
                'in it; what it would have left there is lost, so run it again'
            )


@contextlib.contextmanager
def exclusive(workdir: pathlib.Path) -> Iterator[Held]:
    """A context in which no other process trains in a run folder, which it makes.

    The system lets the lock go, however the process ends. A new folder in which
    nothing was begun is removed again.

    Raises:
        UserError: another process is at work there.
    """
    lock = workdir / LOCK
    new = not workdir.exists() and not jax.process_index()
    with contextlib.suppress(OSError):  # the run says what it cannot write
        workdir.mkdir(parents=True, exist_ok=True)
    with _held(lock, f'{workdir} is in use', 'another --workdir') as held:
        try:
            yield held
        finally:
            if new and workdir.exists() and os.listdir(workdir) == [LOCK]:
                lock.unlink()
                workdir.rmdir()


@contextlib.contextmanager
def exclusive_file(file: pathlib.Path) -> Iterator[Held]:
    """A context in which no other process works on an output file.

    The lock is a hidden file beside it, which goes when the context ends. After a kill
    it stays, but holds nobody back. A new folder in which nothing was written is
    removed again.

    Raises:
        UserError: another process works on the file.
    """
    new = not file.parent.exists()
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = file.with_name(f'.{file.name}{LOCK}')
    with _held(lock, f'{file} is being written', 'another file') as held:
        try:
            yield held
        finally:
            with contextlib.suppress(OSError):
                lock.unlink()
                if new and not os.listdir(file.parent):
                    file.parent.rmdir()


@contextlib.contextmanager
def _held(lock, busy, instead):
    """Holds a lock file, where the disk has locks and can be written."""
    if jax.process_index():  # the first host has it for all
        yield Held(lock, None)
        return
    with contextlib.ExitStack() as stack:
        handle = None
        while handle is None or not _is_same(lock, handle):  # removed as it was opened
            try:
                handle = stack.enter_context(lock.open('w')).fileno()
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f'{busy} by another process; wait until it ends, or give {instead}'
                ) from None
            except OSError:  # a place that cannot be written, or a disk without locks
                break
        yield Held(lock, handle)


def _is_same(lock, handle):
    try:
        return os.path.samestat(lock.stat(), os.fstat(handle))
    except OSError:
        return False
