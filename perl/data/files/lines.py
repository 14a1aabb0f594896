"""Rows of released datasets, from local files or the hub; errors say how to fix them.

Files are JSON (lines or an array, maybe with .gz) or Parquet. Only `read_hub` uses the
hub, and a reader calls it only if its option `hub` is set.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterator

from perl.data.files import json_rows, paths
from perl.data.files.excerpts import shown
from perl.data.files.rows import Row, read_rows
from perl.system.errors import UserError


class _Values(dict):
    """A row in which a missing value is None, as in Parquet."""

    def __missing__(self, key: str) -> None:
        return None


@dataclasses.dataclass(frozen=True)
class Line(Row):
    """A row that also has the source of its dataset.

    Attributes:
        source: the address of the file for a new download.
    """

    source: str = ''

    def at(self, column: str) -> 'Line':
        """The object in a column, as a row."""
        return self._object(column, self.values[column])

    def each(self, column: str, count: int | None = None) -> list['Line']:
        """The objects in a list, which must have `count` elements if given."""
        values = self.values[column]
        if not isinstance(values, list) or len(values) != (count or len(values)):
            wanted = 'a list' if count is None else f'a list of {count}'
            raise self.bad(column, f'is {shown(values)}, not {wanted}')
        return [self._object(column, value) for value in values]

    def one_of(self, column: str, *known: int | str) -> int | str:
        """A value that must be one of the known values."""
        value = self.values[column]
        if value not in known or isinstance(value, bool):
            listed = ', '.join(map(str, known))
            raise self.bad(column, f'is {shown(value)}, not one of {listed}')
        return value

    def between(self, column: str, low: float, high: float) -> float:
        """A number between two bounds, both included."""
        value = self.values[column]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.bad(column, f'is {shown(value)}, not a number')
        if not low <= value <= high:
            raise self.bad(column, f'is {shown(value)}, not between {low} and {high}')
        return float(value)

    def bad(self, column: str, what: str) -> UserError:
        """The error that names file, row and column and says how to fix it."""
        return UserError(
            f'{self.file}, {self.place}: {column!r} {what}; fix or delete the '
            f'row, or get the file again from {self.source}'
        )

    def _object(self, column: str, value: object) -> 'Line':
        if not isinstance(value, dict):
            raise self.bad(column, f'is {shown(value)}, not an object')
        return dataclasses.replace(self, values=_Values(value))

    def error(self, column: str, what: str) -> UserError:
        return self.bad(column, what.partition(';')[0])


def find(root: str | pathlib.Path, *patterns: str, source: str) -> list[pathlib.Path]:
    """The sorted files of the first pattern that matches any file.

    If a file exists with and without .gz, the one without is used.

    Args:
        root: the folder that the user names as `data.root`.
        patterns: possible paths below the folder, the usual one first.
        source: the address of the files for a download.

    Raises:
        UserError: no folder is named, or none of the patterns matches.
    """
    if not str(root):
        raise UserError(
            f'data.root is not given: get {patterns[0]} from {source} and name the '
            'folder that holds it (--config.data.root=FOLDER)'
        )
    for pattern in patterns:
        if files := paths.without_copies(pathlib.Path(root).glob(pattern)):
            return files
    raise UserError(
        f'no {pathlib.Path(root) / patterns[0]}: get it from {source} and name the '
        'folder that holds it (--config.data.root=FOLDER)'
    )


def read(file: pathlib.Path, columns: list[str], source: str) -> Iterator[Line]:
    """The rows of a file; a row of JSON need not have all the columns.

    Raises:
        UserError: the file is damaged, or a row is not a JSON object.
    """
    if file.suffix == '.parquet':
        for row in read_rows(file, columns):
            yield Line(file, row.place, _Values(row.values), source)
        return
    for place, values in json_rows.read(file, source):
        yield Line(file, place, _Values(values), source)


def read_hub(repository: str, split: str, source: str, **options) -> Iterator[Line]:
    """The rows of a dataset on the Hugging Face hub; uses the network.

    It only requests the dataset: downloads are not reported to the hub.

    Args:
        repository: owner and name.
        split: a split of the repository.
        source: its address, for errors.
        options: options of `datasets.load_dataset`.

    Raises:
        UserError: the download fails.
    """
    os.environ.setdefault('HF_UPDATE_DOWNLOAD_COUNTS', '0')
    os.environ.setdefault('HF_HUB_DISABLE_TELEMETRY', '1')
    import datasets

    try:
        table = datasets.load_dataset(repository, split=split, **options)
    except Exception as error:
        reason = str(error).strip().partition('\n')[0] or repr(error)
        raise UserError(
            f'the hub did not give {repository} ({reason:.200}): set data.hub to False '
            f'and data.root to a folder with the files of {source}'
        ) from error
    file = pathlib.Path(repository) / split
    for number, values in enumerate(table, 1):
        yield Line(file, f'row {number}', _Values(values), source)
