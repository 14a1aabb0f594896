"""Reads files of rows: JSON, JSON lines, CSV and TSV, maybe gzipped, and Parquet.

Strings are never converted. Errors name the file and the row and quote very little of
its text.
"""

import pathlib
from collections.abc import Collection, Iterator
from typing import Any

from perl.data.files import delimited, json_rows, parquet
from perl.system.errors import UserError
from perl.system.suggest import near_miss

SUFFIXES = ('.json', '.jsonl', '.csv', '.tsv', '.parquet')


def kind(file: pathlib.Path) -> str:
    """The suffix of a file's name without .gz: one of `SUFFIXES`, another, or ''."""
    return pathlib.Path(file.name.removesuffix('.gz')).suffix


def read(
    file: pathlib.Path, columns: Collection[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, {column: value}) of the rows of a file of any kind.

    The place is what an editor shows where rows are lines (`line 3`), and counts them
    from 1 in other files (`row 2`, in a JSON array `row 2, line 3`).

    Args:
        file: the suffix of its name determines its kind.
        columns: the wanted columns. Other columns, and columns that the file or the row
            does not have, may be missing in the result.

    Raises:
        UserError: the file does not exist or its kind is unknown; the file is damaged
            (with the place if known); a wanted column occurs twice.
    """
    _check(file)
    match kind(file):
        case '.parquet':
            return parquet.read(file, columns)
        case '.csv' | '.tsv' as suffix:
            return delimited.read(file, suffix == '.tsv', columns)
    return json_rows.read(file)


def columns_of(file: pathlib.Path) -> list[str]:
    """The names of all columns of a file; for JSON, of all its rows."""
    _check(file)
    match kind(file):
        case '.parquet':
            return parquet.columns_of(file)
        case '.csv' | '.tsv' as suffix:
            return delimited.columns_of(file, suffix == '.tsv')
    return json_rows.columns_of(file)


def _check(file: pathlib.Path) -> None:
    suffix = kind(file)
    if file.is_dir():
        raise UserError(f'{file} is a folder; give a file in it')
    if suffix not in SUFFIXES:
        raise UserError(
            f'{file}: there is no reader for {suffix or "a name without an ending"}'
            f'{near_miss(suffix, SUFFIXES)}'
        )
    if not file.is_file():
        raise UserError(f'there is no file {file}')
    if suffix == '.parquet' and file.suffix == '.gz':
        raise UserError(f'{file}: a Parquet file cannot be read from .gz; gunzip it')
