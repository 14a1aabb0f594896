"""Rows as CSV that reads back exactly, and that a spreadsheet cannot run.

A spreadsheet takes a cell that begins with one of `= + - @` for a formula. A text that
begins with one of these, with white space before one, or with an apostrophe is
therefore written with one more apostrophe before it. `from_csv` takes that apostrophe
off again. To read a file with another program: a text that begins with an apostrophe
stands for what follows the apostrophe.

Every text is in quotes, so that line breaks of any kind are part of it. A program has
to read the file without translating line breaks (in Python `open(file, newline='')`).
"""

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

# the full-width signs are formulas too where they are typed
_GUARDED = re.compile(
    "\\s*['=+@\\-\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}"
    '\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}]|[\t\r\n]'
)


def to_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as CSV, one column for every key of any of them; '' for None."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO(newline='')
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator='\n')
    writer.writerow(map(_guard, names))
    for row in rows:
        writer.writerow([_guard(row.get(name)) for name in names])
    return out.getvalue()


def from_csv(text: str) -> list[dict[str, str]]:
    """The rows of `to_csv`: texts as they were, and numbers as texts."""
    names, *rows = csv.reader(io.StringIO(text, newline=''))
    names = [name.removeprefix("'") for name in names]
    return [
        dict(zip(names, (cell.removeprefix("'") for cell in row), strict=True))
        for row in rows
    ]


def _guard(value):
    if value is None or isinstance(value, int | float):
        return value
    text = str(value)
    return f"'{text}" if _GUARDED.match(text) else text
