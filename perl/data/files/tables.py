"""Files of rows as they stand: JSON, JSON lines, CSV and TSV, maybe with .gz; Parquet.

Strings stay strings, whatever they look like. Only Parquet needs a library, `datasets`.
"""

import contextlib
import csv
import gzip
import itertools
import json
import pathlib
import tempfile
import zlib
from collections.abc import Iterator
from typing import Any, TextIO

from perl.system.errors import UserError
from perl.system.suggest import near_miss

_SUFFIXES = ('.json', '.jsonl', '.csv', '.tsv', '.parquet')
_LONGEST_CELL = 2**31 - 1


def read(
    file: pathlib.Path, cache: str | pathlib.Path | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number, {column: value}) of the rows of a file of any kind.

    The first row below any header is row 1; of JSON lines it is the number of the line.

    Args:
        file: its name tells its kind.
        cache: a folder for the Arrow copy of Parquet; without one it is thrown away.

    Raises:
        UserError: no such file or kind; damage, with the place if it is known.
    """
    suffix = pathlib.Path(file.name.removesuffix('.gz')).suffix
    if suffix not in _SUFFIXES:
        raise UserError(
            f'{file}: no reader for {suffix or "this"}{near_miss(suffix, _SUFFIXES)}'
        )
    if not file.is_file():
        raise UserError(f'there is no file {file}')
    if suffix == '.parquet':
        if file.suffix == '.gz':
            raise UserError(f'{file}: Parquet packs its columns itself; gunzip it')
        return _parquet(file, cache)
    if suffix in ('.csv', '.tsv'):
        return _headed(file, ',' if suffix == '.csv' else '\t')
    return objects(file)


@contextlib.contextmanager
def opened(file: pathlib.Path, source: str = '') -> Iterator[TextIO]:
    """A file of UTF-8 to read, gzipped or not.

    Args:
        file: it.
        source: the address to get it from again, if there is one.

    Raises:
        UserError: it is damaged.
    """
    opener = gzip.open if file.suffix == '.gz' else open
    try:
        with opener(file, 'rt', encoding='utf-8-sig', newline='') as text:
            yield text
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        again = f'get it again from {source}' if source else 'mend it'
        raise UserError(f'{file} is damaged ({error!r}): {again}') from error


def objects(
    file: pathlib.Path, source: str = ''
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number, object) of the rows of JSON: of an array, or one a line.

    Blank lines are passed over. Raises as `opened` does, and for what is no object.
    """
    again = f', or get the file again from {source}' if source else ''
    with opened(file, source) as text:
        first = next(filter(str.strip, text), '')
    rows = _lines(file, source, again)
    if first.lstrip().startswith('['):
        rows = _array(file, source, again)
    for number, row in rows:
        if not isinstance(row, dict):
            raise UserError(
                f'{file}, row {number} is {row!r:.40}, not an object; mend or delete '
                f'it{again}'
            )
        yield number, row


def cells(
    file: pathlib.Path, separator: str, source: str = ''
) -> Iterator[tuple[int, list[str]]]:
    """(number, cells) of the rows of CSV, any header too; blank ones do not count.

    Raises:
        UserError: as `opened`, and a cell whose quotes do not match.
    """
    csv.field_size_limit(_LONGEST_CELL)
    with opened(file, source) as text:
        rows = csv.reader(text, delimiter=separator, strict=True)
        try:
            yield from enumerate(filter(None, rows), 1)
        except csv.Error as error:
            raise UserError(
                f'{file}, line {rows.line_num}: {error}; put a cell with quotes in it '
                'in quotes, and double those inside'
            ) from None


def _headed(file: pathlib.Path, separator: str) -> Iterator[tuple[int, dict[str, Any]]]:
    rows = cells(file, separator)
    _, header = next(rows, (0, []))
    for number, row in rows:
        if len(row) > len(header):
            raise UserError(
                f'{file}, row {number - 1} has {len(row)} cells, the header '
                f'{len(header)}; take out what is too much, or put a cell with a '
                f'{separator!r} in it in quotes'
            )
        yield number - 1, dict(itertools.zip_longest(header, row))


def _lines(file: pathlib.Path, source: str, again: str) -> Iterator[tuple[int, Any]]:
    with opened(file, source) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, _value(line.rstrip('\r\n'), file, number, again)


def _array(file: pathlib.Path, source: str, again: str) -> Iterator[tuple[int, Any]]:
    with opened(file, source) as text:
        yield from enumerate(_value(text.read(), file, 1, again), 1)


def _value(text: str, file: pathlib.Path, line: int, again: str) -> Any:
    """The value of some JSON that begins at a line of a file."""
    try:
        return json.loads(text)
    except ValueError as error:
        what = str(error)
        if isinstance(error, json.JSONDecodeError):
            line += error.lineno - 1
            what = f'{error.msg}, column {error.colno}'
        raise UserError(
            f'{file}, line {line} is no JSON ({what}); mend or delete it{again}'
        ) from None


def _parquet(file: pathlib.Path, cache: str | pathlib.Path | None):
    import datasets

    noisy = not datasets.are_progress_bars_disabled()
    level = datasets.logging.get_verbosity()
    with contextlib.ExitStack() as stack:
        folder = cache or stack.enter_context(tempfile.TemporaryDirectory())
        datasets.disable_progress_bars()
        datasets.logging.set_verbosity(datasets.logging.CRITICAL)
        try:
            table = datasets.load_dataset(
                'parquet',
                data_files={'train': str(file)},
                split='train',
                cache_dir=str(folder),
            )
        except Exception as error:
            reason = str(error.__cause__ or error).strip() or repr(error)
            raise UserError(f'{file} is damaged: {reason}') from error
        finally:
            datasets.logging.set_verbosity(level)
            if noisy:
                datasets.enable_progress_bars()
        yield from enumerate(table, 1)
