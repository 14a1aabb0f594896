"""Locks: one process at a time works in a run folder or on an output file."""

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Iterator

from perl.system import hosts
from perl.system.errors import UserError

LOCK = '.lock'


class Held:
    """A lock that this process holds."""

    def __init__(self, lock: pathlib.Path, handle: int | None):
        self._lock, self._handle = lock, handle

    def check(self) -> None:
        """Raises a `UserError` if the lock file was removed, for example with its
        folder."""
        if self._handle is not None and not _is_same(self._lock, self._handle):
            raise UserError(
                f'{self._lock.parent} was removed or moved while this process worked '
                'in it; its output is lost, so run the same command again'
            )


@contextlib.contextmanager
def exclusive(workdir: pathlib.Path) -> Iterator[Held]:
    """A context in which no other process trains in a run folder.

    The folder is created if needed, and a new folder that stays empty is removed at
    the end. The operating system releases the lock when the process ends in any way.

    Raises:
        UserError: another process works there, or a path of this name cannot be a
            folder.
    """
    lock = workdir / LOCK
    new = not workdir.exists() and hosts.is_first()
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
        raise UserError(
            f'--workdir: the folder {workdir} cannot be made: {error.strerror}; name '
            'another'
        ) from None
    except OSError:
        pass  # the run reports what it cannot write
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

    The lock is a hidden file beside it, removed when the context ends. After a kill the
    file stays, but it locks nothing. A new folder that stays empty is removed.

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
def exclusive_files(*files: pathlib.Path) -> Iterator[list[Held]]:
    """A context in which no other process works on any of these files; see
    `exclusive_file`."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(exclusive_file(file)) for file in files]


@contextlib.contextmanager
def _held(lock, busy, instead):
    """Holds a lock file, if the disk supports locks and can be written."""
    if not hosts.is_first():  # the first host holds the lock for all hosts
        yield Held(lock, None)
        return
    with contextlib.ExitStack() as stack:
        handle = None
        # another process may remove the file between opening and locking
        while handle is None or not _is_same(lock, handle):
            try:
                handle = stack.enter_context(lock.open('w')).fileno()
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f'{busy} by another process; wait until it ends, or name {instead}'
                ) from None
            except OSError:  # the folder is read-only, or the disk has no locks
                break
        yield Held(lock, handle)


def _is_same(lock, handle):
    try:
        return os.path.samestat(lock.stat(), os.fstat(handle))
    except OSError:
        return False
