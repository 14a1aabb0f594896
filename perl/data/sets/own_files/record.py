"""The record of one row of a user's file."""

import dataclasses

from perl.data.files.rows import Row
from perl.data.records import Comparison, Demonstration, Rating, Record
from perl.data.sets.own_files import conversations, templates
from perl.data.sets.own_files.source import TEMPLATES, Source


def record_and_text(row: Row, source: Source) -> tuple[Record | str, str]:
    """The record of a row, and its document, or prompt before the template.

    Raises:
        UserError: a value is missing or wrong.
    """
    columns = source.fields
    if conversations.has_messages(row, columns):
        _check_no_templates(row, source)
        record = conversations.record(row, source.kind, columns)
        if isinstance(record, Comparison):
            record = dataclasses.replace(record, **_strength(row, source))
        return record, str(record if isinstance(record, str) else record.prompt)
    if 'prompt' not in columns and source.kind == 'comparisons':
        prompt, completions = conversations.cut(row, columns)
        return Comparison(prompt, completions, **_strength(row, source)), prompt
    return _record(row, source), row.text(next(iter(columns.values())))


def _check_no_templates(row: Row, source: Source) -> None:
    """Raises a `UserError` where a template would change the words of messages; white
    space around a text, such as that of `' {response}'`, belongs to the chat template.
    """
    for name in TEMPLATES:
        if getattr(source, name).strip() != f'{{{name}}}':
            raise row.error(
                next(iter(source.fields.values())),
                f'is of messages, and the template {source.kind}.{name} is for plain '
                'texts; leave the setting out, or write its words into the messages',
            )


def _record(row: Row, source: Source) -> Record | str:
    columns = source.fields

    def filled(name: str, text: str) -> str:
        """The template `name`, filled with a text and with columns of the row."""
        return templates.fill(
            getattr(source, name),
            lambda x: text if x == name else row.text(source.columns.get(x, x)),
        )

    if 'text' in columns:
        return row.filled(columns['text'])
    prompt = filled('prompt', row.text(columns['prompt']))
    if source.kind == 'prompts':
        return prompt
    if source.kind == 'comparisons':
        if 'completions' in columns:
            texts = row.filled_list(columns['completions'])
        else:
            texts = [row.filled(columns['chosen']), row.filled(columns['rejected'])]
        completions = tuple(filled('response', text) for text in texts)
        return Comparison(prompt, completions, **_strength(row, source))
    answer = columns.get('response') or columns['completion']
    response = filled('response', row.filled(answer))
    if source.kind == 'text':
        return prompt + response
    if source.kind == 'ratings':
        return Rating(prompt, response, row.share(columns['label']))
    return Demonstration(prompt, response)


def _strength(row: Row, source: Source) -> dict[str, float]:
    """The margin and the preference of a row, if it has them."""
    margin, preference = (source.optional[name] for name in ('margin', 'preference'))
    strength = {}
    if row.has(margin):
        strength['margin'] = row.amount(margin)
    if row.has(preference):
        strength['preference'] = row.share(preference)
    return strength
