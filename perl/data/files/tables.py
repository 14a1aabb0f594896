"""Reads files of rows: JSON, JSON lines, CSV and TSV, maybe gzipped, and Parquet.

Strings stay strings, whatever they look like. Errors name the file and the row and
quote nothing of its text.
"""

import collections
import csv
import itertools
import pathlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from perl.data.files import json_text, parquet, text_file
from perl.data.files.excerpts import shown
from perl.data.files.text_file import BadByte, opened
from perl.system.errors import UserError
from perl.system.suggest import near_miss

SUFFIXES = ('.json', '.jsonl', '.csv', '.tsv', '.parquet')
_LONGEST_CELL = 2**31 - 1

Rows = Iterator[tuple[int, dict[str, Any]]]


def kind(file: pathlib.Path) -> str:
    """What a file's name says it is: one of `SUFFIXES`, or another suffix, or ''."""
    return pathlib.Path(file.name.removesuffix('.gz')).suffix


def read(file: pathlib.Path, columns: Collection[str]) -> Rows:
    """(number, {column: value}) of the rows of a file of any kind.

    The first row below any header is row 1; in JSON lines it is the number of the line.

    Args:
        file: its name tells its kind.
        columns: those that are wanted. Others may be left out, and so may any that the
            file or the row does not have.

    Raises:
        UserError: no such file or kind; damage, with the place if it is known; a wanted
            column that is there twice.
    """
    _check_readable(file)
    match kind(file):
        case '.parquet':
            return parquet.read(file, columns)
        case '.csv':
            return _headed(
                file, cells(file), columns, "put a cell with a ',' in quotes"
            )
        case '.tsv':
            return _headed(file, _tabs(file), columns, 'no cell can have a tab in it')
    return objects(file)


def columns_of(file: pathlib.Path) -> list[str]:
    """The names of all columns that a file has; of JSON, those of any row."""
    _check_readable(file)
    match kind(file):
        case '.parquet':
            return parquet.columns_of(file)
        case '.csv':
            return _header(cells(file))
        case '.tsv':
            return _header(_tabs(file))
    return list(dict.fromkeys(name for _, row in objects(file) for name in row))


def objects(file: pathlib.Path, source: str = '') -> Rows:
    """(number, object) of the rows of JSON: of an array, or one a line.

    Blank lines are passed over.

    Args:
        file: JSON, maybe gzipped.
        source: the address to get the file from again, if there is one.

    Raises:
        UserError: the file is damaged, or a row is not a JSON object.
    """
    again = f', or get the file again from {source}' if source else ''
    with opened(file, source) as text:
        first = next((line for line in text if line.strip()), '')
    read_rows = _array if first.lstrip().startswith('[') else _lines
    for number, row in read_rows(file, source, again):
        if not isinstance(row, dict):
            raise UserError(
                f'{file}, row {number} is {shown(row)}, not an object; mend or delete '
                f'it{again}'
            )
        yield number, row


def cells(
    file: pathlib.Path, separator: str = ',', source: str = '', header: bool = True
) -> Iterator[tuple[int, list[str]]]:
    """(number, cells) of the rows of CSV, any header too; blank ones do not count.

    Args:
        file: CSV, maybe gzipped.
        separator: what stands between cells.
        source: the address to get the file from again, if there is one.
        header: there is one, so that errors count rows below it.

    Raises:
        UserError: the file is damaged, or the quotes of a cell do not match.
    """
    csv.field_size_limit(_LONGEST_CELL)
    number = 0
    with opened(file, source) as text:
        rows = csv.reader(text_file.lines(text), delimiter=separator, strict=True)
        try:
            for number, row in enumerate(filter(None, rows), 1):
                yield number, row
        except csv.Error as error:
            raise UserError(
                f'{file}, line {rows.line_num}: {error}; put a cell with quotes in it '
                'in quotes, and double those inside'
            ) from None
        except BadByte as error:
            row = number + (not header)
            raise text_file.not_utf8(file, row, error, source) from None


def _check_readable(file: pathlib.Path) -> None:
    suffix = kind(file)
    if suffix not in SUFFIXES:
        raise UserError(
            f'{file}: there is no reader for {suffix or "a name without an ending"}'
            f'{near_miss(suffix, SUFFIXES)}'
        )
    if not file.is_file():
        raise UserError(f'there is no file {file}')
    if suffix == '.parquet' and file.suffix == '.gz':
        raise UserError(f'{file}: Parquet packs its columns itself; gunzip it')


def _tabs(file: pathlib.Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of TSV: a line each, and quotes are text like any other."""
    number = 0
    with opened(file, newline='\n') as text:
        try:
            lines = (line.rstrip('\r\n') for line in text_file.lines(text))
            for number, line in enumerate(filter(None, lines), 1):
                yield number, line.split('\t')
        except BadByte as error:
            raise text_file.not_utf8(file, number, error) from None


def _header(rows: Iterable[tuple[int, list[str]]]) -> list[str]:
    return next((row for _, row in rows), [])


def _headed(
    file: pathlib.Path,
    rows: Iterator[tuple[int, list[str]]],
    columns: Collection[str],
    mend: str,
) -> Rows:
    """Rows below a header, which is not counted."""
    _, header = next(rows, (0, []))
    check_once(file, header, columns)
    for number, row in rows:
        if len(row) > len(header):
            raise UserError(
                f'{file}, row {number - 1} has {len(row)} cells, the header '
                f'{len(header)}; take out what is too much, or {mend}'
            )
        yield number - 1, dict(itertools.zip_longest(header, row))


def check_once(
    file: pathlib.Path, names: Sequence[str], columns: Collection[str]
) -> None:
    """Raises a `UserError` for a wanted column that several columns are called."""
    for name, count in collections.Counter(names).items():
        if count > 1 and name in columns:
            raise UserError(
                f'{file} has {count} columns {name!r}; rename those that are not meant'
            )


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
        line = error.lineno
        raise _not_json(file, number + 1, line, error, again) from None


def _not_json(file, row, line, error, again) -> UserError:
    place = f'row {row}' if row == line else f'row {row}, line {line},'
    return UserError(
        f'{file}, {place} is not JSON ({error.msg}, column {error.colno}); mend or '
        f'delete it{again}'
    )
