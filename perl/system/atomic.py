"""Atomic writes: after a crash a file is the old one or the complete new one.

A file is written in a temporary folder beside its target and moved to the target once
its bytes are on the disk. A process holds a lock on its temporary folder, so that a
later process can tell which folders a killed process has left.
"""

import contextlib
import fcntl
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator

PREFIX = '.writing-'  # of the temporary folders
_LONG = 3600.0  # seconds; an unchanged temporary folder of this age is abandoned


def write_text(file: pathlib.Path, text: str) -> None:
    """Replaces a file by a text in UTF-8.

    Raises:
        OSError: names the file, which is unchanged.
    """
    # half of a surrogate pair has no UTF-8, so it becomes the escape that JSON has
    write_bytes(file, text.encode('utf-8', 'backslashreplace'))


def write_bytes(file: pathlib.Path, data: bytes) -> None:
    """Replaces a file by bytes; raises as `write_text` does."""
    with replacing(file) as new:
        new.write_bytes(data)


@contextlib.contextmanager
def replacing(file: pathlib.Path) -> Iterator[pathlib.Path]:
    """A context that provides a path to write to and at its end moves the written file
    to `file`. After an error `file` is unchanged.

    The path has the same file name in a temporary folder, so a library may write its
    temporary files beside it.

    Raises:
        OSError: names `file`.
    """
    try:
        sweep(file.parent.glob(f'{PREFIX}*'))
        with _temporary_folder(file.parent) as folder:
            new = folder / file.name
            yield new
            _flush(new)
            new.replace(file)
        with contextlib.suppress(OSError):  # not every disk can flush a folder
            _flush(file.parent)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(file)) from error


def sweep(folders: Iterable[pathlib.Path]) -> None:
    """Removes the temporary folders that killed processes have left."""
    for folder in folders:
        with contextlib.suppress(OSError), _opened(folder) as handle:
            if _abandoned(handle):
                shutil.rmtree(folder, ignore_errors=True)


def sweep_below(folder: pathlib.Path) -> None:
    """Calls `sweep` for all temporary folders at any depth below a folder."""
    sweep(sorted(folder.rglob(f'{PREFIX}*')))


@contextlib.contextmanager
def _temporary_folder(parent):
    while True:
        folder = pathlib.Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        with _opened(folder) as handle:
            with contextlib.suppress(OSError):  # a disk without locks
                fcntl.flock(handle, fcntl.LOCK_EX)
            if not folder.exists():  # swept by another process before it was locked
                continue
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return


def _abandoned(handle):
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a disk without locks
        return time.time() - os.fstat(handle).st_mtime > _LONG
    return True


@contextlib.contextmanager
def _opened(path):
    handle = os.open(path, os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)


def _flush(path):
    with _opened(path) as handle:
        os.fsync(handle)
