"""Rows of JSON files: an array, or one object per line."""

import pathlib
from collections.abc import Iterator
from typing import Any

from perl.data.files import json_array, json_text, text_file
from perl.data.files.excerpts import shown
from perl.data.files.text_file import BadByte, opened
from perl.system.errors import UserError


def read(file: pathlib.Path, source: str = '') -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, object) of the rows, such as `line 3` or, of an array, `row 2, line 3`.

    Rows and lines are counted from 1; blank lines are skipped.

    Args:
        file: JSON, maybe gzipped.
        source: the address of the file for a new download, if it has one.

    Raises:
        UserError: the file is damaged, or a row is not a JSON object.
    """
    again = f', or get the file again from {source}' if source else ''
    with opened(file, source) as text:
        first = next((line for line in text if line.strip()), '')
    rows = _array if first.lstrip().startswith('[') else _lines
    for place, row in rows(file, source, again):
        if not isinstance(row, dict):
            raise UserError(
                f'{file}, {place} is {shown(row)}, not an object; fix or delete '
                f'it{again}'
            )
        yield place, row


def columns_of(file: pathlib.Path) -> list[str]:
    """The union of the names in all rows; raises as `read` does."""
    return list(dict.fromkeys(name for _, row in read(file) for name in row))


def _lines(file: pathlib.Path, source: str, again: str) -> Iterator[tuple[str, Any]]:
    number = 0
    with opened(file, source) as text:
        try:
            for number, line in enumerate(text_file.lines(text), 1):
                if line.strip():
                    yield f'line {number}', json_text.parse(line.rstrip('\r\n'))
        except BadByte as error:
            raise text_file.not_utf8(file, error, source) from None
        except json_text.JSONDecodeError as error:
            raise _not_json(f'{file}, line {number}', error, again) from None


def _array(file: pathlib.Path, source: str, again: str) -> Iterator[tuple[str, Any]]:
    number = 0
    with opened(file, source) as text:
        try:
            for number, (line, value) in enumerate(json_array.elements(text), 1):
                yield f'row {number}, line {line}', value
        except BadByte as error:
            row = f'row {number + 1}, '
            raise text_file.not_utf8(file, error, source, row) from None
        except json_text.JSONDecodeError as error:
            place = f'{file}, row {number + 1}, line {error.lineno}'
            raise _not_json(place, error, again) from None


def _not_json(place: str, error: json_text.JSONDecodeError, again: str) -> UserError:
    if isinstance(error, json_text.RepeatedKey):
        return UserError(
            f'{place}, column {error.colno}: {error.msg}; keep one of the two{again}'
        )
    return UserError(
        f'{place} is not JSON ({error.msg}, column {error.colno}); fix or delete '
        f'it{again}'
    )
