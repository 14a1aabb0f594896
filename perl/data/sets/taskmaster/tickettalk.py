"""The split files of TicketTalk (TM-3-2020, train-bc.tsv) as turns.

A row is context, target and dialog id, separated by tabs. In the context `<U>` is the
user, `<A>` the agent, `<PN>name<PAN>argument<PAV>value` a call and
`<PR>name<PRAN>key<PRAV>value` its response; the latest turn is before `<C>`, the
earlier turns are after it. The target is one turn of the agent with square brackets:
`[A]text` or `[PN]name[PAN]…`.
"""

import pathlib
import re
from collections.abc import Iterator

from perl.data.files import delimited
from perl.data.files.lines import Line

_MARK = re.compile(r'<(S|U|A|PN|PAN|PAV|PR|PRAN|PRAV)>')
_BRACKETS = re.compile(r'\[(A|PN|PAN|PAV)\]')


def read(file: pathlib.Path, source: str) -> Iterator[tuple[list[dict], dict]]:
    """(context, target) of each row of a file, in the form of `turns`.

    Raises:
        UserError: the file is damaged, a row does not have three columns, or a target
            is not a turn; the message names `source` for a new download.
    """
    for line, cells in delimited.cells(file, '\t', source):
        row = Line(file, f'line {line}', dict(enumerate(cells)), source)
        if len(cells) != 3:
            raise row.bad('columns', f'are {len(cells)} instead of 3')
        latest, _, earlier = cells[0].partition('<C>')
        target = turns(_BRACKETS.sub(r'<\1>', cells[1]))
        if not target:
            raise row.bad('target', 'starts with neither [A] nor [PN]')
        if target[0].get('text') == '':
            raise row.bad('target', 'has no text')
        yield turns(earlier) + turns(latest), target[0]


def turns(text: str) -> list[dict]:
    """The turns of marked-up text; text before the first mark is left out."""
    _, *pieces = _MARK.split(text)
    parsed, key = [], ''
    for mark, value in zip(pieces[::2], pieces[1::2], strict=True):
        value = value.replace('\\n', ' ').strip()
        if mark in ('U', 'A'):
            parsed.append({'role': 'user' if mark == 'U' else 'agent', 'text': value})
        elif mark == 'PN':
            parsed.append({'role': 'agent', 'api': {value: {}}})
        elif mark == 'PR':
            parsed.append({'role': 'api', 'response': {value: {}}})
        elif mark in ('PAN', 'PRAN'):
            key = value
        elif mark in ('PAV', 'PRAV') and parsed:
            _put(parsed[-1], key, value)
    return parsed


def _put(turn: dict, key: str, value: str) -> None:
    """Adds a value to a call or response; several values of a key become a list."""
    for arguments in (turn.get('api') or turn.get('response') or {}).values():
        if key not in arguments:
            arguments[key] = value
        elif isinstance(arguments[key], list):
            arguments[key].append(value)
        else:
            arguments[key] = [arguments[key], value]
