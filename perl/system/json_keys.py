"""Refuses JSON objects that have a key twice, of which Python keeps the last value."""

import json
import re
from collections.abc import Sequence
from typing import Any

# a string, maybe with the colon that makes it a key, or an end of an object
_TOKEN = re.compile(r'("(?:[^"\\]|\\.)*")(\s*:)?|[{}]')


class RepeatedKey(ValueError):
    """An object has a key twice; the message says which."""


def unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs, as `object_pairs_hook` of the module `json`.

    Raises:
        RepeatedKey: a key is there twice.
    """
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        name = next(x for i, x in enumerate(names) if x in names[:i])
        raise RepeatedKey(f'the key {name!r:.60} is there twice in one object')
    return values


def repeated(text: str, start: int = 0) -> int:
    """The index of the key of which `unique` raises, at its second place; -1 without
    one.

    Args:
        text: with a JSON value.
        start: the index at which the value begins.
    """
    objects = []  # around a token: their keys, and the index of the first repeated one
    for token in _TOKEN.finditer(text, start):
        string, colon = token.groups()
        if token[0] == '{':
            objects.append((set(), []))
        elif token[0] == '}':
            _, again = objects.pop()
            if again:
                return again[0]
        elif colon:
            names, again = objects[-1]
            name = json.loads(string, strict=False)
            again += [token.start()] if name in names else []
            names.add(name)
    return -1
