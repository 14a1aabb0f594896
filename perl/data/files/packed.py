"""Opens files that may be gzipped; refuses files that unpack to too many bytes."""

import gzip
import io
import pathlib

from perl.system.errors import UserError
from perl.system.sizes import readable

# Text compresses to about a tenth. A small file that unpacks to gigabytes would fill
# the memory, so it is refused before it is read.
LARGEST_RATIO = 100
SMALL = 256 * 2**20  # bytes that any file may unpack to
_MAGIC = b'\x1f\x8b'
_CHUNK = 2**20


def open_binary(file: pathlib.Path) -> io.BufferedIOBase:
    """Opens a file to read bytes; unpacks it if its content (not its name) is gzip.

    Raises:
        UserError: it unpacks to more than `LARGEST_RATIO` times its size and to more
            than `SMALL` bytes.
        OSError, EOFError, zlib.error: it cannot be read, or its gzip is damaged.
    """
    plain = file.open('rb')
    if plain.peek(2)[:2] != _MAGIC:
        return plain
    plain.close()
    _check_ratio(file)
    return gzip.open(file)


def allowed_size(packed: int) -> int:
    """The largest allowed unpacked size of a file of `packed` bytes."""
    return max(SMALL, LARGEST_RATIO * packed)


def refusal(file: pathlib.Path) -> UserError:
    """The error for a file that unpacks to more than `allowed_size`."""
    size = file.stat().st_size
    return UserError(
        f'{file} has {readable(size)} and unpacks to more than '
        f'{readable(allowed_size(size))}, over {LARGEST_RATIO} times as much; if that '
        'is right, unpack it and name the unpacked file'
    )


def _check_ratio(file: pathlib.Path) -> None:
    allowed = allowed_size(file.stat().st_size)
    with gzip.open(file) as unpacked:
        while chunk := unpacked.read(_CHUNK):
            allowed -= len(chunk)
            if allowed < 0:
                raise refusal(file)
