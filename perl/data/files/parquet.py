"""Reads wanted columns of Parquet files with pyarrow, one batch at a time.

Other columns are not read, so their types do not matter. No file is copied, and the
network is not used.
"""

import contextlib
import pathlib
from collections.abc import Collection, Iterator
from typing import Any

from perl.data.files import packed
from perl.system.errors import UserError

_BATCH = 256  # rows in memory at the same time
_MANY_ROWS = 2**21  # number of rows that any file may have


def read(
    file: pathlib.Path, columns: Collection[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, {column: value}) of the rows: `row 1` is the first.

    Args:
        file: Parquet.
        columns: the columns to read; columns that the file lacks are left out.

    Raises:
        UserError: the file is damaged, has a wanted column twice, has text that is not
            UTF-8, or has far more content than its size suggests.
    """
    with _opened(file) as table:
        names = table.schema_arrow.names
        wanted = [name for name in dict.fromkeys(columns) if name in names]
        for name in wanted:
            if names.count(name) > 1:
                raise UserError(
                    f'{file} has {names.count(name)} columns {name!r}; rename the '
                    'others'
                )
        size = file.stat().st_size
        allowed = packed.allowed_size(size)
        if table.metadata.num_rows > max(_MANY_ROWS, size):
            raise packed.refusal(file)
        number = 0
        for batch in table.iter_batches(_BATCH, columns=wanted, use_threads=False):
            allowed -= batch.nbytes
            if allowed < 0:
                raise packed.refusal(file)
            values = {
                name: _values(file, number, name, batch.column(name)) for name in wanted
            }
            for place in range(batch.num_rows):
                number += 1
                yield (
                    f'row {number}',
                    {name: rows[place] for name, rows in values.items()},
                )


def columns_of(file: pathlib.Path) -> list[str]:
    """The names of the columns; raises as `read` does for a damaged file."""
    with _opened(file) as table:
        return table.schema_arrow.names


@contextlib.contextmanager
def _opened(file: pathlib.Path) -> Iterator[Any]:
    import pyarrow
    from pyarrow import parquet

    try:
        with pyarrow.OSFile(str(file)) as content:
            yield parquet.ParquetFile(content)
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise UserError(f'{file} cannot be read: {_first_line(error)}') from None
        raise UserError(
            f'{file} is damaged, or is not Parquet ({_first_line(error)}); write it '
            'again'
        ) from None


def _values(file: pathlib.Path, before: int, name: str, column: Any) -> list[Any]:
    """The values of a column in a batch that follows `before` rows."""
    try:
        return column.to_pylist()
    except (ValueError, OverflowError):  # Python cannot represent one of them
        for number, value in enumerate(column, before + 1):
            try:
                value.as_py()
            except UnicodeDecodeError as error:
                raise UserError(
                    f'{file}, row {number}: byte {error.start + 1} of {name!r} is '
                    f'0x{error.object[error.start]:02x}, which is not UTF-8; write the '
                    'file again with text in UTF-8'
                ) from None
            except (ValueError, OverflowError):
                raise UserError(
                    f'{file}, row {number}: {name!r} is a {column.type} that Python '
                    'cannot hold; write it as text'
                ) from None
        raise


def _first_line(error: Exception) -> str:
    return f'{str(error).strip().partition(chr(10))[0]:.200}' or type(error).__name__
