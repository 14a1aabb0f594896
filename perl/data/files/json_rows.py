"""Rows of JSON files: an array, or one object per line."""

import pathlib
from collections.abc import Iterator
from typing import Any

from perl.data.files import json_text, text_file
from perl.data.files.excerpts import shown
from perl.data.files.text_file import BadByte, opened
from perl.system.errors import UserError


def read(file: pathlib.Path, source: str = '') -> Iterator[tuple[int, dict[str, Any]]]:
    """(number, object) of the rows; in JSON lines the number is that of the line.

    Blank lines are skipped.

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
    for number, row in rows(file, source, again):
        if not isinstance(row, dict):
            raise UserError(
                f'{file}, row {number} is {shown(row)}, not an object; fix or delete '
                f'it{again}'
            )
        yield number, row


def columns_of(file: pathlib.Path) -> list[str]:
    """The union of the names in all rows; raises as `read` does."""
    return list(dict.fromkeys(name for _, row in read(file) for name in row))


def _lines(file: pathlib.Path, source: str, again: str) -> Iterator[tuple[int, Any]]:
    number = 0
    with opened(file, source) as text:
        try:
            for number, line in enumerate(text_file.lines(text), 1):
                if line.strip():
                    yield number, json_text.parse(line.rstrip('\r\n'))
        except BadByte as error:
            raise text_file.not_utf8(file, error.line, error, source) from None
        except json_text.JSONDecodeError as error:
            raise _not_json(file, number, number, error, again) from None


def _array(file: pathlib.Path, source: str, again: str) -> Iterator[tuple[int, Any]]:
    with opened(file, source) as text:
        content = text.read()
    number = 0
    try:
        for number, (start, end, value) in enumerate(json_text.elements(content), 1):
            if error := text_file.bad_byte(content, start, end):
                raise text_file.not_utf8(file, number, error, source)
            yield number, value
    except json_text.JSONDecodeError as error:
        raise _not_json(file, number + 1, error.lineno, error, again) from None


def _not_json(
    file: pathlib.Path,
    row: int,
    line: int,
    error: json_text.JSONDecodeError,
    again: str,
) -> UserError:
    place = f'row {row}' if row == line else f'row {row}, line {line},'
    return UserError(
        f'{file}, {place} is not JSON ({error.msg}, column {error.colno}); fix or '
        f'delete it{again}'
    )
