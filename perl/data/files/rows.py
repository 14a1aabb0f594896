"""The rows of a local table; errors name the file, row and column."""

import dataclasses
import decimal
import itertools
import math
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence

from perl.data.files import tables
from perl.data.files.excerpts import shown
from perl.system.errors import UserError
from perl.system.suggest import meant

# JSON can contain half of a surrogate pair, which tokenizers refuse.
_HALF = re.compile('[\ud800-\udfff]')
_PLAIN_NUMBER = re.compile(r'[-+.a-zA-Z0-9]+')
# The most column names in an error, and the most characters of each: without a header,
# the first row of a table is taken for names.
_SHOWN, _NAME_CHARS = 12, 24


@dataclasses.dataclass(frozen=True)
class Row:
    """One row; each method reads a column and raises a UserError with file and row.

    Attributes:
        file, place: its file, and where it is there: `line 3` or `row 2`.
        values: {column: value}.
    """

    file: pathlib.Path
    place: str
    values: dict

    def text(self, column: str) -> str:
        """A string; it may be empty."""
        return self.string(self.values[column], column)

    def filled(self, column: str) -> str:
        """A string that is not blank."""
        return self._something(self.text(column), column)

    def filled_list(self, column: str) -> list[str]:
        """A list of two or more strings that are not blank."""
        values = self.values[column]
        if not isinstance(values, list) or len(values) < 2:
            raise self.error(column, f'is {shown(values)}, not a list of two or more')
        return [self._something(self.string(v, column), column) for v in values]

    def has(self, column: str) -> bool:
        """Whether an optional column has a value in this row."""
        return self.values.get(column) not in (None, '')

    def key(self, column: str) -> str:
        """The value that related rows share: text, or a number or date as text.

        Rows are related whatever the white space, and however a file writes a whole
        number (1, 1.0 or a decimal 1.00).
        """
        value = self.values[column]
        if value is None or isinstance(value, str):
            return ' '.join(self.filled(column).split())
        whole = isinstance(value, float | decimal.Decimal) and math.isfinite(value)
        if whole and value == int(value):
            value = int(value)
        if isinstance(value, list | dict | bytes) or value != value:
            raise self.error(column, f'is {shown(value)}, not text or a number')
        return str(value)

    def share(self, column: str) -> float:
        """A number in [0, 1]."""
        number = self._number(column)
        if not 0 <= number <= 1:
            raise self.error(column, f'is {number}, not between 0 and 1')
        return number

    def amount(self, column: str) -> float:
        """A finite number, 0 or more."""
        number = self._number(column)
        if not 0 <= number < math.inf:
            raise self.error(column, f'is {number}, not a finite number of 0 or more')
        return number

    def _number(self, column: str) -> float:
        value = self.values[column]
        try:
            if isinstance(value, str) and not _PLAIN_NUMBER.fullmatch(value.strip()):
                raise ValueError  # `float` also takes 0_1, and digits of other scripts
            return float(value)
        except OverflowError:
            raise self.error(column, 'is a number too large to hold') from None
        except (TypeError, ValueError):
            raise self.error(column, f'is {shown(value)}, not a number') from None

    def string(self, value: object, column: str) -> str:
        """A value of a column, or of a list in it, that must be a string."""
        if value is None:
            raise self.error(column, 'is missing')
        if not isinstance(value, str):
            raise self.error(column, f'is {shown(value)}, not text')
        if not value.isascii() and _HALF.search(value):
            raise self.error(
                column, 'has half of a surrogate pair, such as \\ud83d; fix the text'
            )
        return value

    def _something(self, text: str, column: str) -> str:
        if not text.strip():
            raise self.error(column, 'is empty; drop the row or fill it in')
        return text

    def error(self, column: str, what: str) -> UserError:
        """An error about a column; `what` says what is wrong with it."""
        return UserError(f'{self.file}, {self.place}: {column!r} {what}')


def read_rows(
    path: str | pathlib.Path,
    columns: Sequence[str],
    optional: Sequence[str] = (),
    why: Mapping[str, str] | None = None,
) -> Iterator[Row]:
    """The rows of a .json, .jsonl, .csv or .tsv file, maybe with .gz, or .parquet.

    Args:
        path: the file.
        columns: required columns.
        optional: columns that are read if the file has them.
        why: {column: advice for the error if the column is missing}.

    Raises:
        UserError: the file, its kind, a column or all rows are missing, or the file is
            damaged (with the row if known).
    """
    file = pathlib.Path(path)
    wanted = [*columns, *optional]
    rows = tables.read(file, wanted)
    first = next(rows, None)
    if first is None:
        raise UserError(f'{file} has no rows')
    if any(column not in first[1] for column in columns):
        # a row of JSON need not have all columns, but each must be in some row
        _check_columns(file, columns, why or {})
    for place, values in itertools.chain([first], rows):
        yield Row(file, place, {column: values.get(column) for column in wanted})


def _check_columns(
    file: pathlib.Path, columns: Sequence[str], why: Mapping[str, str]
) -> None:
    names = tables.columns_of(file)
    for column in columns:
        if column not in names:
            short = [
                name if len(name) <= _NAME_CHARS else f'{name[:_NAME_CHARS]}…'
                for name in names
            ]
            more = len(short) - _SHOWN
            listed = [*short[:_SHOWN], *([f'{more} more'] if more > 0 else [])]
            reason = f'; {why[column]}' if column in why else ''
            raise UserError(
                f'{file} has no column {column!r}{meant(column, names)}; it has '
                f'{", ".join(listed) or "none"}{reason}'
            )
