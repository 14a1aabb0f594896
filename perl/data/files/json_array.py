"""The elements of a JSON array in a file, in memory for a few of them at a time.

`json.JSONDecoder.raw_decode` reads one value from a text and says where it ended, which
is all that an array needs beside commas: the text before that is dropped, and more is
read where a value is cut. So no streaming parser is needed as a dependency, and values
and errors are those of the standard library.
"""

from collections.abc import Iterator
from typing import Any, TextIO

from perl.data.files import json_text, text_file
from perl.data.files.json_text import JSONDecodeError
from perl.data.files.text_file import BadByte

_CHUNK = 2**20  # characters that are read at once
# the longest that an error can stand before the end of a text that was cut: `-Infinity`
# and `\ud83d\ude00` begin so far before it
_CUT = 16


def elements(file: TextIO) -> Iterator[tuple[int, Any]]:
    """(line, value) of each element of an array; the line is that of its first letter,
    counted from 1.

    Args:
        file: opened by `text_file.opened`.

    Raises:
        JSONDecodeError: has line and column in the whole file; raised when the faulty
            element is reached.
        BadByte: an element has a byte that is not UTF-8.
    """
    window = _Window(file)
    at = window.skip(0)
    if window.text[at : at + 1] != '[':
        raise window.error("Expecting '['", at)
    at = window.skip(at + 1)
    closed = window.text[at : at + 1] == ']'
    at = window.skip(at + 1) if closed else at
    while not closed:
        at = window.forget(at)
        value, end = window.value(at)
        yield window.line(at), value
        at = window.skip(end)
        if window.text[at : at + 1] not in (',', ']') or at == len(window.text):
            raise window.error("Expecting ',' delimiter", at)
        closed = window.text[at] == ']'
        at = window.skip(at + 1)
    if at < len(window.text):
        raise window.error('Extra data', at)


class _Window:
    """A part of a file's text, and where in the file it begins."""

    def __init__(self, file: TextIO):
        self._file, self._ended = file, False
        self._lines = 0  # before the text
        self._counted = 0, 0  # up to which index of the text, and its lines up to there
        self._before = ''  # of the first line of the text, what was dropped
        self.text = ''

    def skip(self, at: int) -> int:
        """The index of the first character from `at` on that is not white space; the
        end of the text at the end of the file."""
        at = json_text.skip(self.text, at)
        while at == len(self.text) and self._more():
            at = json_text.skip(self.text, at)
        return at

    def value(self, at: int) -> tuple[Any, int]:
        """The value that begins at an index, and the index of its end."""
        while True:
            try:
                value, end = json_text.value(self.text, at)
            except json_text.RepeatedKey as error:
                raise self.error(error.msg, error.pos, json_text.RepeatedKey) from None
            except JSONDecodeError as error:
                near = len(self.text) - error.pos < _CUT
                cut = near or error.msg.startswith('Unterminated string')
                if cut and self._more():
                    continue
                raise self.error(error.msg, error.pos) from None
            # a number near the end of the text may have more digits, or an exponent
            if len(self.text) - end >= _CUT or not self._more():
                self._check_bytes(at, end)
                return value, end

    def forget(self, at: int) -> int:
        """Drops the text before an index, unless that is little; its new index."""
        if at < _CHUNK:
            return at
        head, self.text = self.text[:at], self.text[at:]
        before, newline, last = head.rpartition('\n')
        self._lines += before.count('\n') + len(newline)
        self._before = last if newline else self._before + last
        self._counted = 0, 0
        return 0

    def line(self, at: int) -> int:
        """The line of the file that an index is in."""
        start, lines = self._counted
        self._counted = at, lines + self.text.count('\n', start, at)
        return self._lines + self._counted[1] + 1

    def error(
        self, message: str, at: int, kind: type[JSONDecodeError] = JSONDecodeError
    ) -> JSONDecodeError:
        """An error with line and column of the file."""
        error = kind(message, self.text, at)
        error.colno += len(self._before) if error.lineno == 1 else 0
        error.lineno += self._lines
        return error

    def _more(self) -> bool:
        """Reads on, twice as much where a value is long; False at the end."""
        new = '' if self._ended else self._file.read(max(_CHUNK, len(self.text)))
        self._ended = not new
        self.text += new
        return bool(new)

    def _check_bytes(self, start: int, end: int) -> None:
        if bad := text_file.bad_byte(self.text, start, end):
            first = self._before if bad.line == 1 else ''
            before = len(first.encode('utf-8', 'surrogateescape'))
            raise BadByte(bad.line + self._lines, bad.place + before, bad.byte)
