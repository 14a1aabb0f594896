"""The prompt and the responses of a row, which are texts or messages."""

from collections.abc import Sequence

from perl.data.files.rows import Row
from perl.data.sets.own_files.conversations import has_messages, record


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
