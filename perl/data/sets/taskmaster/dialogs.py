"""Reads the files of Taskmaster: rated turns of the agent, and whole dialogs.

https://github.com/google-research-datasets/Taskmaster, CC BY 4.0.
"""

import collections
from collections.abc import Iterator
from typing import Any

from perl.data.files import json_text, lines
from perl.data.files.excerpts import shown
from perl.data.files.lines import Line
from perl.data.sets.taskmaster import turns

SOURCE = 'https://github.com/google-research-datasets/Taskmaster'
_ROLES = {'user': 'user', 'assistant': 'agent'}
_NOTES = ('api_call', 'request', 'api_response', 'response')


def rated(root: str, folder: str) -> Iterator[tuple[Line, list[dict], dict]]:
    """(row, context, generation) of the reward rows of a folder such as 'TM-4-2024'.

    Raises:
        UserError: a file is missing or damaged, or a row does not hold turns.
    """
    for row in _rows(root, f'{folder}/reward/reward_*.json*'):
        context, generation = (_parsed(row, name) for name in ('context', 'generation'))
        if not isinstance(context, list):
            raise row.bad('context', f'is {shown(context)}, not a list of turns')
        for name, values in (('context', context), ('generation', [generation])):
            try:
                list(map(turns.check, values))
            except ValueError as error:
                raise row.bad(name, f'has {error}') from None
        if generation['role'] != 'agent':
            raise row.bad('generation', 'is not a turn of the agent')
        yield row, context, generation


def whole(root: str, folder: str, counts: collections.Counter) -> Iterator[list[dict]]:
    """The dialogs of a folder, each as a list of turns in the form of the reward rows.

    In the files, API calls and responses are annotations of the user turn before the
    answer. A request or response that is not JSON is left out and counted.

    Raises:
        UserError: a file is missing or damaged, or a row is not a dialog.
    """
    for row in _rows(root, f'{folder}/data/data_*.json*'):
        yield list(_dialog(row, counts))


def _rows(root: str, pattern: str) -> Iterator[Line]:
    for file in lines.find(root, pattern, source=SOURCE):
        yield from lines.read(file, [], SOURCE)


def _parsed(row: Line, column: str) -> Any:
    text = row.text(column)
    try:
        return json_text.parse(text, unique=False)
    except json_text.JSONDecodeError as error:
        raise row.bad(column, f'is not JSON ({error.msg})') from None


def _dialog(row: Line, counts: collections.Counter) -> Iterator[dict]:
    for utterance in row.each('utterances'):
        role = _ROLES[utterance.one_of('speaker', *_ROLES)]
        yield {'role': role, 'text': utterance.text('text')}
        yield from _api_turns(utterance.each('annotations'), counts)


def _api_turns(notes: list[Line], counts: collections.Counter) -> Iterator[dict]:
    """API calls (a call may have no request) and responses, in order."""
    name, kinds = '', [note.one_of('name', *_NOTES) for note in notes]
    for note, kind, following in zip(notes, kinds, [*kinds[1:], ''], strict=False):
        value = note.text('value')
        if kind in ('api_call', 'api_response'):
            name = value
            if (kind, following) == ('api_call', 'api_response'):
                yield {'role': 'agent', 'api': {name: {}}}
            continue
        try:
            content = {name: json_text.parse(value, unique=False)}
        except ValueError:
            counts['invalid_json_dropped'] += 1
            continue
        if kind == 'request':
            yield {'role': 'agent', 'api': content}
        else:
            yield {'role': 'api', 'response': content}
