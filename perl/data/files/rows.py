"""The rows of a local table, with exact complaints."""

import dataclasses
import math
import pathlib
import re
from collections.abc import Iterator, Sequence

from perl.data.files import tables
from perl.system.errors import UserError
from perl.system.suggest import near_miss

# JSON can write half of a surrogate pair, which no tokenizer takes.
_HALF = re.compile('[\ud800-\udfff]')


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
        if not value.isascii() and _HALF.search(value):
            raise self._error(
                column, 'has half a character, such as \\ud83d alone; mend it'
            )
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
    """The rows of a .json, .jsonl, .csv or .tsv file, maybe with .gz, or .parquet.

    Args:
        path: the file.
        columns: those that are needed; others are left out.
        cache: a folder for the Arrow copy of Parquet; without one it is thrown away.
        optional: those that are taken where the file has them.

    Raises:
        UserError: no such file, kind, column or row; damage, with the row if known.
    """
    file = pathlib.Path(path)
    rows = list(tables.read(file, cache))
    if not rows:
        raise UserError(f'{file} has no rows')
    names = dict.fromkeys(name for _, values in rows for name in values)
    for column in columns:
        if column not in names:
            hint = near_miss(column, names)
            raise UserError(f'{file} has no column {column!r}{hint}')
    there = [*columns, *(column for column in optional if column in names)]
    for number, values in rows:
        yield Row(file, number, {column: values.get(column) for column in there})
