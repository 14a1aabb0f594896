"""The rows of a local table, read by the `datasets` library, with exact complaints."""

import contextlib
import dataclasses
import gzip
import json
import math
import pathlib
import tempfile
from collections.abc import Iterator, Sequence

from perl.data.near import near_miss
from perl.errors import UserError

_BUILDERS = {
    '.json': 'json',
    '.jsonl': 'json',
    '.csv': 'csv',
    '.tsv': 'csv',
    '.parquet': 'parquet',
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One row; each method takes a column and raises UserError naming file and row.

    Attributes:
        file, number: where it is; the first row below any header is row 1.
        values: {column: value}.
    """

    file: pathlib.Path
    number: int
    values: dict

    def text(self, column: str) -> str:
        """A string, maybe empty."""
        return self._string(self.values[column], column)

    def filled(self, column: str) -> str:
        """A string with something in it."""
        return self._something(self.text(column), column)

    def filled_list(self, column: str) -> list[str]:
        """Two strings or more, each with something in it."""
        values = self.values[column]
        if not isinstance(values, list) or len(values) < 2:
            raise self._error(column, f'is {values!r:.40}, not a list of two or more')
        return [self._something(self._string(v, column), column) for v in values]

    def has(self, column: str) -> bool:
        """Whether there is a value in a column that may be left out."""
        return self.values.get(column) not in (None, '')

    def share(self, column: str) -> float:
        """A number in [0, 1]."""
        number = self._number(column)
        if not 0 <= number <= 1:
            raise self._error(column, f'is {number}, not between 0 and 1')
        return number

    def amount(self, column: str) -> float:
        """A finite number, 0 or more."""
        number = self._number(column)
        if not 0 <= number < math.inf:
            raise self._error(column, f'is {number}, not 0 or more')
        return number

    def _number(self, column: str) -> float:
        value = self.values[column]
        try:
            return float(value)
        except (TypeError, ValueError):
            raise self._error(column, f'is {value!r:.40}, not a number') from None

    def _string(self, value: object, column: str) -> str:
        if value is None:
            raise self._error(column, 'is missing')
        if not isinstance(value, str):
            raise self._error(column, f'is {value!r:.40}, not text')
        return value

    def _something(self, text: str, column: str) -> str:
        if not text.strip():
            raise self._error(column, 'is empty; drop the row or give it text')
        return text

    def _error(self, column: str, what: str) -> UserError:
        return UserError(f'{self.file}, row {self.number}: {column!r} {what}')


def read_rows(
    path: str | pathlib.Path,
    columns: list[str],
    cache: str | pathlib.Path | None = None,
    optional: Sequence[str] = (),
) -> Iterator[Row]:
    """The rows of a .json, .jsonl, .csv, .tsv or .parquet file, maybe with .gz.

    Cells of CSV and TSV are text, whatever they look like.

    Args:
        path: the file.
        columns: those that are needed; others are left unread.
        cache: a folder for the Arrow copy; without one it is thrown away.
        optional: those that are read where the file has them.

    Raises:
        UserError: no such file, kind, column or row; damage, with the row if known.
    """
    file = pathlib.Path(path)
    suffix = pathlib.Path(file.name.removesuffix('.gz')).suffix
    if suffix not in _BUILDERS:
        raise UserError(
            f'{file}: no reader for {suffix or "this"}{near_miss(suffix, _BUILDERS)}'
        )
    if not file.is_file():
        raise UserError(f'there is no file {file}')
    options = {}
    if _BUILDERS[suffix] == 'csv':
        options = {
            'sep': '\t' if suffix == '.tsv' else ',',
            'converters': dict.fromkeys([*columns, *optional], str),
            'keep_default_na': False,
        }
    with contextlib.ExitStack() as stack:
        folder = cache or stack.enter_context(tempfile.TemporaryDirectory())
        table = _load(file, _BUILDERS[suffix], folder, options)
        for column in columns:
            if column not in table.column_names:
                hint = near_miss(column, table.column_names)
                raise UserError(f'{file} has no column {column!r}{hint}')
        there = {*columns, *(c for c in optional if c in table.column_names)}
        for number, values in enumerate(table.select_columns(list(there)), 1):
            yield Row(file, number, values)


def _load(file: pathlib.Path, builder: str, folder: object, options: dict):
    import datasets

    noisy = not datasets.are_progress_bars_disabled()
    level = datasets.logging.get_verbosity()
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    try:
        return datasets.load_dataset(
            builder,
            data_files={'train': str(file)},
            split='train',
            cache_dir=str(folder),
            **options,
        )
    except StopIteration:
        raise UserError(f'{file} has no rows') from None
    except Exception as error:
        raise UserError(f'{file} is damaged: {_place(file, builder, error)}') from error
    finally:
        datasets.logging.set_verbosity(level)
        if noisy:
            datasets.enable_progress_bars()


def _place(file: pathlib.Path, builder: str, error: Exception) -> str:
    """The first line of JSON that does not parse, else what the library says."""
    reason = str(error.__cause__ or error).strip()
    if builder != 'json' or not reason:
        return reason or repr(error)
    try:
        content = file.read_bytes()
        if file.suffix == '.gz':
            content = gzip.decompress(content)
        text = content.decode('utf-8')
    except (OSError, EOFError, UnicodeDecodeError) as unreadable:
        return str(unreadable)
    if not text.strip():
        return 'it has no rows'
    # An array is one value over many lines, JSON lines are one value each.
    array = text.lstrip().startswith('[')
    for number, value in enumerate([text] if array else text.splitlines(), 1):
        try:
            json.loads(value or 'null')
        except json.JSONDecodeError as wrong:
            line = wrong.lineno if array else number
            return f'line {line} is no JSON ({wrong.msg}, column {wrong.colno})'
    return reason
