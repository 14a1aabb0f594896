"""Rows of CSV, in which cells may be quoted, and of TSV, in which quotes are text."""

import csv
import itertools
import pathlib
from collections.abc import Collection, Iterator
from typing import Any

from perl.data.files import text_file
from perl.data.files.text_file import BadByte, opened
from perl.system.errors import UserError

_LONGEST_CELL = 2**31 - 1

Cells = Iterator[tuple[int, list[str]]]


def cells(file: pathlib.Path, separator: str = ',', source: str = '') -> Cells:
    """(line, cells) of the rows of CSV, including a header, without blank rows.

    Args:
        file: CSV, maybe gzipped.
        separator: the character between cells.
        source: the address of the file for a new download, if it has one.

    Raises:
        UserError: the file is damaged, or the quotes of a cell do not match.
    """
    csv.field_size_limit(_LONGEST_CELL)
    with opened(file, source) as text:
        rows = csv.reader(text_file.lines(text), delimiter=separator, strict=True)
        first = 1  # the line that a row begins in: one with line ends in it has several
        try:
            for row in rows:
                if row:
                    yield first, row
                first = rows.line_num + 1
        except csv.Error as error:
            raise UserError(
                f'{file}, line {rows.line_num}: {error}; put a cell with quotes in it '
                'in quotes, and double those inside'
            ) from None
        except BadByte as error:
            raise text_file.not_utf8(file, error, source) from None


def tab_cells(file: pathlib.Path) -> Cells:
    """(line, cells) of the rows of TSV, one per line, including a header.

    Raises:
        UserError: the file is damaged.
    """
    with opened(file, newline='\n') as text:
        try:
            for number, line in enumerate(text_file.lines(text), 1):
                if line := line.rstrip('\r\n'):
                    yield number, line.split('\t')
        except BadByte as error:
            raise text_file.not_utf8(file, error) from None


def read(
    file: pathlib.Path, tabs: bool, columns: Collection[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, {column: text}) of the rows below the header, such as `line 2`.

    Args:
        file: CSV or TSV.
        tabs: whether the file is TSV.
        columns: the wanted columns; the file may have each of them only once.

    Raises:
        UserError: as `cells` and `tab_cells`, or a row has more cells than the header.
    """
    rows = tab_cells(file) if tabs else cells(file)
    _, header = next(rows, (0, []))
    for name in columns:
        if header.count(name) > 1:
            raise UserError(
                f'{file} has {header.count(name)} columns {name!r}; rename the others'
            )
    for line, row in rows:
        if len(row) > len(header):
            fix = 'replace a tab inside a cell'
            if not tabs:
                fix = "put a cell with a ',' in it in quotes"
            raise UserError(
                f'{file}, line {line} has {len(row)} cells, the header '
                f'{len(header)}; remove the extra cells, or {fix}'
            )
        yield f'line {line}', dict(itertools.zip_longest(header, row))


def columns_of(file: pathlib.Path, tabs: bool) -> list[str]:
    """The column names of the header; raises as `read` does."""
    rows = tab_cells(file) if tabs else cells(file)
    return next((row for _, row in rows), [])
