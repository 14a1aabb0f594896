"""Turns of a Taskmaster dialog as short lines of text.

    user: can i get an espresso please
    agent: [get_menu_items query=espresso]
    api: items=(menu_item_id=espresso-0001 name=Espresso)
    agent: Sure, how many shots?

A turn is a dict as in the released rows: {'role': 'user' | 'agent', 'text'},
{'role': 'agent', 'api': {name: {argument: value}}} or
{'role': 'api', 'response': {name: {key: value}}}. A prompt ends with 'agent:' and a
response begins with the space after it.
"""

import collections
import re

from perl.data.files.excerpts import shown

ROLES = ('user', 'agent', 'api')
CUE = 'agent:'

# What a turn of each role may contain.
_BODIES = {'user': ('text',), 'agent': ('text', 'api'), 'api': ('response',)}

# The released menus use two names for the same thing.
_RENAMED = {'menu_items': 'items', 'menu_item_name': 'name', 'attribute_name': 'name'}
_LONG_ID = re.compile(r'\b([0-9a-f]{6})[0-9a-f]{10,}\b')


def prompt(turns: list[dict], counts: collections.Counter, api_chars: int = 400) -> str:
    """The dialog so far, up to the agent's next turn; counts as `line` does."""
    return '\n'.join([*(line(turn, counts, api_chars) for turn in turns), CUE])


def response(turn: dict, counts: collections.Counter) -> str:
    """An agent's turn as the response to a prompt."""
    return line(turn, counts).removeprefix(CUE)


def check(turn: object) -> None:
    """Checks that a value is a turn.

    Raises:
        ValueError: it is not; the message describes the value.
    """
    role = turn.get('role') if isinstance(turn, dict) else None
    if role not in ROLES:
        raise ValueError(f'{shown(turn)}, which is not a turn of {", ".join(ROLES)}')
    body = next((name for name in _BODIES[role] if name in turn), None)
    if body is None:
        raise ValueError(f'a turn of {role} without {" or ".join(_BODIES[role])}')
    if not isinstance(turn[body], str if body == 'text' else dict):
        raise ValueError(f'a turn of {role} whose {body} is {shown(turn[body])}')


def line(turn: dict, counts: collections.Counter, api_chars: int = 400) -> str:
    """A turn as one line.

    Hexadecimal ids of 16 digits or more are cut to six digits, and API responses to
    `api_chars` characters; `counts` adds up ids_shortened, api_responses_cut and
    api_characters_cut.
    """
    role = turn['role']
    if 'text' in turn:
        body = turn['text']
    elif 'api' in turn:
        body = ' '.join(
            f'[{f"{name} {_flat(arguments)}".strip()}]'
            for name, arguments in turn['api'].items()
        )
    else:
        body = '; '.join(_flat(value) for value in turn['response'].values())
        if len(body) > api_chars:
            counts['api_responses_cut'] += 1
            counts['api_characters_cut'] += len(body) - api_chars
            body = body[:api_chars] + '…'
    body, shortened = _LONG_ID.subn(r'\1', ' '.join(body.split()))
    counts['ids_shortened'] += shortened
    return f'{role}: {body}'.rstrip()


def first_user(turns: list[dict]) -> str:
    """The user's first turn, which determines the split; '' if there is none."""
    return next((turn['text'] for turn in turns if turn['role'] == 'user'), '')


def _flat(value: object) -> str:
    """Nested values as text without quotes: `a=1 b=(c=2; c=3)`."""
    if isinstance(value, dict):
        return ' '.join(
            f'{_RENAMED.get(key, key)}={_nested(inner)}' for key, inner in value.items()
        )
    if isinstance(value, list):
        separator = ', ' if all(isinstance(inner, str) for inner in value) else '; '
        return separator.join(_flat(inner) for inner in value)
    return str(value)


def _nested(value: object) -> str:
    return f'({_flat(value)})' if isinstance(value, dict | list) else _flat(value)
