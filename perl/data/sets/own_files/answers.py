"""Rows to be scored: a prompt and a response, or a prompt and a pair of them."""

import pathlib
from collections.abc import Sequence

from perl.data.files.rows import Row, read_rows
from perl.data.sets.own_files.conversations import has_messages, record
from perl.system import jsonl, standard_input
from perl.system.errors import UserError
from perl.system.json_keys import RepeatedKey

FIELDS, PAIR = ('prompt', 'response'), ('prompt', 'chosen', 'rejected')


def read(path: str) -> tuple[list[Row], tuple[str, ...]]:
    """The rows of a file, or JSON lines of standard input, and the columns they have.

    Args:
        path: of JSON lines, CSV or Parquet; '' is standard input.

    Raises:
        UserError: they cannot be read, or have neither kind of columns.
    """
    rows, fields = [], FIELDS
    if not path:
        rows, fields = _from_stdin()
    else:
        try:
            rows = [*read_rows(path, FIELDS)]
        except UserError as error:
            try:
                rows, fields = [*read_rows(path, PAIR)], PAIR
            except UserError:
                raise error from None
    if not rows:
        raise UserError('--input: give a file, or JSON lines on standard input')
    return rows, fields


def texts(row: Row, fields: Sequence[str]) -> list[str]:
    """A prompt and its responses; messages are a `perl.data.chat.Chat`.

    Args:
        row: of a file.
        fields: its columns: prompt and response; or prompt, chosen and rejected.

    Raises:
        UserError: a column is neither text nor messages, or as `record` of messages.
    """
    columns = {name: name for name in fields}
    if not has_messages(row, columns):
        return [row.text(name) for name in fields]
    if 'chosen' in columns:
        pair = record(row, 'comparisons', columns)
        return [pair.prompt, *pair.completions]
    made = record(row, 'demonstrations', columns)
    return [made.prompt, made.response]


def _from_stdin() -> tuple[list[Row], tuple[str, ...]]:
    rows, fields = [], ()
    for number, line in enumerate(standard_input.lines(), 1):
        try:
            values = jsonl.parse(line)
        except RepeatedKey as error:
            where = f'standard input, line {number}'
            raise UserError(f'{where}: {error}; keep one of the two') from None
        except ValueError:
            values = None
        keys = values.keys() if isinstance(values, dict) else ()
        fields = fields or next((x for x in (FIELDS, PAIR) if {*x} <= {*keys}), ())
        if not fields or not {*fields} <= {*keys}:
            raise UserError(
                f'standard input, line {number}: not a JSON object with '
                f'{" and ".join(fields or FIELDS)}'
            )
        rows.append(Row(pathlib.Path('standard input'), f'line {number}', values))
    return rows, fields
