"""Checks the types of what a user's reader returned.

Whether a value is in its range is checked where a stage reads it, see
`perl.data.records.check_record`.
"""

import numbers
from typing import Any

from perl.data.records import (
    RECORDS,
    SPLITS,
    Comparison,
    Dataset,
    Demonstration,
    Record,
    responses,
)
from perl.system.errors import UserError


def check(where: str, dataset: Dataset) -> None:
    """Checks the type of all records; adds missing splits as empty.

    Args:
        where: the name of the dataset, for errors.
        dataset: from a user's reader.

    Raises:
        UserError: a split, a record or a field of a record is of another type; it names
            the kind, the split and the place.
    """
    for kind, record_type in RECORDS.items():
        rows = dataset.of_kind(kind)
        for split, records in rows.items():
            if split not in SPLITS:
                raise UserError(
                    f'{where}: {kind} has the split {split!r}; there are '
                    f'{", ".join(SPLITS)}'
                )
            for place, record in enumerate(records):
                fault = _fault(record, record_type)
                if fault:
                    raise UserError(f'{where}: {kind}[{split!r}][{place}] {fault}')
        for split in SPLITS:
            rows.setdefault(split, [])


def _fault(record: Any, record_type: type) -> str:
    """What is wrong with the types of a record; '' if nothing is."""
    if not isinstance(record, record_type):
        return f'is a {type(record).__name__}, not a {record_type.__name__}'
    if isinstance(record, str):
        return ''
    if isinstance(record, Comparison) and isinstance(record.completions, str):
        return 'has one text as completions; give a tuple of two or more texts'
    for text in (record.prompt, *responses(record)):
        if not isinstance(text, str):
            kind = type(text).__name__
            return f'has a prompt or response that is a {kind}, not a str'
    return '' if isinstance(record, Demonstration) else _fault_of_label(record)


def _fault_of_label(record: Record) -> str:
    for field in ('label', 'margin', 'preference'):
        value = getattr(record, field, 0.0)
        if not isinstance(value, numbers.Real):
            return f'has a {field} that is a {type(value).__name__}, not a number'
    if not isinstance(record.group, str):
        return f'has a group that is a {type(record.group).__name__}, not a str'
    for tag in record.tags:
        is_pair = isinstance(tag, tuple) and list(map(type, tag)) == [str, str]
        if not (isinstance(record.tags, tuple) and is_pair):
            return "has tags that are not pairs of texts, such as (('topic', 'tea'),)"
    return ''
