"""Reads files of rows: JSON, JSON lines, CSV and TSV, maybe gzipped, and Parquet.

Strings stay strings, whatever they look like. Errors name the file and the row and
quote next to nothing of its text.
"""

import pathlib
from collections.abc import Collection, Iterator
from typing import Any

from perl.data.files import delimited, json_rows, parquet
from perl.system.errors import UserError
from perl.system.suggest import near_miss

SUFFIXES = ('.json', '.jsonl', '.csv', '.tsv', '.parquet')


def kind(file: pathlib.Path) -> str:
    """What a file's name says it is: one of `SUFFIXES`, or another suffix, or ''."""
    return pathlib.Path(file.name.removesuffix('.gz')).suffix


def read(
    file: pathlib.Path, columns: Collection[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
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
    _check(file)
    match kind(file):
        case '.parquet':
            return parquet.read(file, columns)
        case '.csv' | '.tsv' as suffix:
            return delimited.read(file, suffix == '.tsv', columns)
    return json_rows.read(file)


def columns_of(file: pathlib.Path) -> list[str]:
    """The names of all columns that a file has; of JSON, those of any row."""
    _check(file)
    match kind(file):
        case '.parquet':
            return parquet.columns_of(file)
        case '.csv' | '.tsv' as suffix:
            return delimited.columns_of(file, suffix == '.tsv')
    return json_rows.columns_of(file)


def _check(file: pathlib.Path) -> None:
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
