"""Files that are written whole or not at all.

A file is written in a temporary folder beside its place and moved there once its bytes
are on the disk. Whatever ends the process, the place holds the old file or the new one.
A process holds a lock on its temporary folder, so that a later process can tell which
folders a killed one has left.
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
_LONG = 3600.0  # seconds; no write goes on for so long without a sign


def write_text(file: pathlib.Path, text: str) -> None:
    """Replaces a file by a text in UTF-8.

    Raises:
        OSError: with the name of the file, which is as it was.
    """
    # half a character, which UTF-8 does not have, becomes the escape that JSON has
    write_bytes(file, text.encode('utf-8', 'backslashreplace'))


def write_bytes(file: pathlib.Path, data: bytes) -> None:
    """Replaces a file by some bytes; raises as `write_text`."""
    with replacing(file) as new:
        new.write_bytes(data)


@contextlib.contextmanager
def replacing(file: pathlib.Path) -> Iterator[pathlib.Path]:
    """A context that gives a path to write to, and at its end moves what was written
    there to `file`. After an error `file` is as it was.

    The path has the same file name, in a temporary folder, so that a library may write
    temporary files of its own beside it.

    Raises:
        OSError: with the name of `file`.
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
    """Removes those of some temporary folders that killed processes have left."""
    for folder in folders:
        with contextlib.suppress(OSError), _opened(folder) as handle:
            if _abandoned(handle):
                shutil.rmtree(folder, ignore_errors=True)


def sweep_below(folder: pathlib.Path) -> None:
    """The same for all temporary folders anywhere below a folder."""
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
