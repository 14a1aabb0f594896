"""Rows as CSV that can be read back exactly, and that a spreadsheet does not execute.

A spreadsheet treats a cell that begins with one of `= + - @` as a formula. Therefore a
text that begins with one of these, with white space or invisible characters before one,
or with an apostrophe is written with one more apostrophe before it. `from_csv` removes
it. In another program, remove the first character of a text that begins with an
apostrophe.

Every text is in quotes, because it may contain line breaks of any kind. A program must
read the file without translating line breaks (in Python `open(file, newline='')`).
"""

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

# spreadsheets also accept the full-width signs in formulas, and some drop invisible
# characters before a sign
_GUARDED = re.compile(
    '[\\s\\x00-\\x1f\\u200b-\\u200f\\u2060\\ufeff]*'
    "['=+@\\-\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}"
    '\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}]|[\t\r\n]'
)


def to_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as CSV, with one column for every key of any row; None becomes ''."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO(newline='')
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator='\n')
    writer.writerow(map(_guard, names))
    for row in rows:
        writer.writerow([_guard(row.get(name)) for name in names])
    return out.getvalue()


def from_csv(text: str) -> list[dict[str, str]]:
    """Reads the rows of `to_csv`: texts unchanged, numbers as texts."""
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
