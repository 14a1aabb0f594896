"""The comparisons of one file that a command names by flags, without a config."""

from collections.abc import Mapping

from perl.data.records import Comparison
from perl.data.sets.own_files.reader import read
from perl.data.sets.own_files.source import Path, Source


def read_comparisons(file: Path, columns: Mapping[str, str]) -> list[Comparison]:
    """All comparisons of a file that a command names, in its order.

    Args:
        file: a table.
        columns: {field: column}, as in a `Source`.

    Raises:
        UserError: as `load` does.
    """
    source = Source('comparisons', file, columns)
    mends = {
        column: f'name the column of {field} as --columns={field}=COLUMN'
        for field, column in source.fields.items()
    }
    return [entry.record for entry in read(source, mends)]
