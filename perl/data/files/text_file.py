"""Reads text files in UTF-8, maybe gzipped; errors say which byte is not UTF-8."""

import contextlib
import io
import pathlib
import re
import zlib
from collections.abc import Iterator
from typing import TextIO

from perl.data.files import packed
from perl.system.errors import UserError

# `opened` decodes a byte that is not UTF-8 to one of these characters, which UTF-8
# cannot encode. So the invalid byte can be found in the text.
_ESCAPED = re.compile('[\udc80-\udcff]')


class BadByte(Exception):
    """A byte that is not UTF-8.

    Attributes:
        line: number of the line, from 1.
        place: position of the byte in the line, from 1.
        byte: its value.
    """

    def __init__(self, line: int, place: int, byte: int):
        super().__init__(line, place, byte)
        self.line, self.place, self.byte = line, place, byte


@contextlib.contextmanager
def opened(file: pathlib.Path, source: str = '', newline: str = '') -> Iterator[TextIO]:
    """Opens a file to read text; `lines` detects bytes that are not UTF-8.

    Args:
        file: gzipped or not.
        source: the address of the file for a new download, if it has one.
        newline: what ends a line, as in `open`.

    Raises:
        UserError: it cannot be read, is damaged, or unpacks to too many bytes.
    """
    again = f'get it again from {source}' if source else 'fix it or get it again'
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
    """The first byte that is not UTF-8 between two indices of a file's text."""
    match = _ESCAPED.search(content, start, end)
    if not match:
        return None
    line_start = content.rfind('\n', 0, match.start()) + 1
    before = content[line_start : match.start()]
    place = len(before.encode('utf-8', 'surrogateescape')) + 1
    line = content.count('\n', 0, line_start) + 1
    return BadByte(line, place, ord(match[0]) - 0xDC00)


def not_utf8(
    file: pathlib.Path, error: BadByte, source: str = '', row: str = ''
) -> UserError:
    """The error that says where the byte is; `row` is put before the line."""
    again = f', or get it again from {source}' if source else ''
    return UserError(
        f'{file}, {row}line {error.line}: byte {error.place} is 0x{error.byte:02x}, '
        f'which is not UTF-8; save the file as UTF-8{again}'
    )
