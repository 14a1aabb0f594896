"""The split files of TicketTalk (TM-3-2020, train-bc.tsv) as turns.

A row is context, target and dialog id between tabs. In the context `<U>` is the user,
`<A>` the agent, `<PN>name<PAN>argument<PAV>value` a call and
`<PR>name<PRAN>key<PRAV>value` its response; the latest turn stands before `<C>`, the
earlier ones after it. The target is one turn of the agent with square brackets:
`[A]text` or `[PN]name[PAN]…`.
"""

import csv
import re
from collections.abc import Iterator

from perl.errors import UserError

_MARK = re.compile(r'<(S|U|A|PN|PAN|PAV|PR|PRAN|PRAV)>')
_BRACKETS = re.compile(r'\[(A|PN|PAN|PAV)\]')


def read(lines: Iterator[str]) -> Iterator[tuple[list[dict], dict]]:
    """(context, target) of each row, in the form of `turns`.

    Raises:
        UserError: a row without three columns or with a target that is no turn.
    """
    for row, columns in enumerate(csv.reader(lines, delimiter='\t'), 1):
        if len(columns) != 3:
            raise UserError(f'row {row} has {len(columns)} columns instead of 3')
        latest, _, earlier = columns[0].partition('<C>')
        target = turns(_BRACKETS.sub(r'<\1>', columns[1]))
        if not target:
            raise UserError(f'row {row}: the target starts with neither [A] nor [PN]')
        yield turns(earlier) + turns(latest), target[0]


def turns(text: str) -> list[dict]:
    """The turns of marked-up text; what precedes the first mark is left out."""
    _, *pieces = _MARK.split(text)
    found, key = [], ''
    for mark, value in zip(pieces[::2], pieces[1::2], strict=True):
        value = value.replace('\\n', ' ').strip()
        if mark in ('U', 'A'):
            found.append({'role': 'user' if mark == 'U' else 'agent', 'text': value})
        elif mark == 'PN':
            found.append({'role': 'agent', 'api': {value: {}}})
        elif mark == 'PR':
            found.append({'role': 'api', 'response': {value: {}}})
        elif mark in ('PAN', 'PRAN'):
            key = value
        elif mark in ('PAV', 'PRAV') and found:
            _put(found[-1], key, value)
    return found


def _put(turn: dict, key: str, value: str) -> None:
    """A value of the last call or response; several of one key become a list."""
    for arguments in (turn.get('api') or turn.get('response') or {}).values():
        if key not in arguments:
            arguments[key] = value
        elif isinstance(arguments[key], list):
            arguments[key].append(value)
        else:
            arguments[key] = [arguments[key], value]
