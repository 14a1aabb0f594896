"""Text files in UTF-8, maybe gzipped, that say where a byte is not UTF-8."""

import contextlib
import io
import pathlib
import re
import zlib
from collections.abc import Iterator
from typing import TextIO

from perl.data.files import packed
from perl.system.errors import UserError

# `opened` reads a byte that is not UTF-8 as one of these characters, which UTF-8 cannot
# write, so that the byte is found beside its line.
_ESCAPED = re.compile('[\udc80-\udcff]')


class BadByte(Exception):
    """A byte that is not UTF-8.

    Attributes:
        line: of the file, from 1.
        place: of the byte in the line, from 1.
        byte: its value.
    """

    def __init__(self, line: int, place: int, byte: int):
        super().__init__(line, place, byte)
        self.line, self.place, self.byte = line, place, byte


@contextlib.contextmanager
def opened(file: pathlib.Path, source: str = '', newline: str = '') -> Iterator[TextIO]:
    """A file to read as text; bytes that are not UTF-8 are for `lines` to find.

    Args:
        file: gzipped or not.
        source: the address to get it from again, if there is one.
        newline: what ends a line, as of `open`.

    Raises:
        UserError: it cannot be read or is damaged, or it unpacks to too much.
    """
    again = f'get it again from {source}' if source else 'mend it or get it again'
    try:
        with (
            packed.open_binary(file) as content,
            io.TextIOWrapper(
                content, 'utf-8-sig', 'surrogateescape', newline=newline
            ) as text,
        ):
            yield text
    except (EOFError, zlib.error) as error:
        raise UserError(f'{file} is damaged ({error}): {again}') from None
    except OSError as error:
        if error.strerror:
            raise UserError(f'{file} cannot be read: {error.strerror}') from error
        raise UserError(f'{file} is damaged ({error}): {again}') from None


def lines(text: TextIO) -> Iterator[str]:
    """The lines of an opened file.

    Raises:
        BadByte: a line has a byte that is not UTF-8.
    """
    for number, line in enumerate(text, 1):
        if not line.isascii() and (error := bad_byte(line, 0, len(line))):
            raise BadByte(number, error.place, error.byte)
        yield line


def bad_byte(content: str, start: int, end: int) -> BadByte | None:
    """The first byte between two places of a file's text that is not UTF-8."""
    match = _ESCAPED.search(content, start, end)
    if not match:
        return None
    line_start = content.rfind('\n', 0, match.start()) + 1
    before = content[line_start : match.start()]
    place = len(before.encode('utf-8', 'surrogateescape')) + 1
    line = content.count('\n', 0, line_start) + 1
    return BadByte(line, place, ord(match[0]) - 0xDC00)


def not_utf8(
    file: pathlib.Path, row: int, error: BadByte, source: str = ''
) -> UserError:
    """The error that names the place of a byte."""
    where = '' if error.line == row else f' of line {error.line}'
    place = f'row {row}' if row else 'the header'
    again = f', or get it again from {source}' if source else ''
    return UserError(
        f'{file}, {place}: byte {error.place}{where} is 0x{error.byte:02x}, which is '
        f'not UTF-8; save the file as UTF-8{again}'
    )
