"""Parses JSON; errors do not quote the text."""

import json
import re
from collections.abc import Iterator
from json import JSONDecodeError
from typing import Any

DEEPEST = 100  # levels of nested lists and objects; more could overflow the stack
_SPACE = re.compile(r'[ \t\n\r]*')
_DECODER = json.JSONDecoder()


def parse(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        JSONDecodeError: says briefly what is wrong and where.
    """
    value, end = _value(text, _skip(text, 0))
    _check_end(text, end)
    return value


def elements(text: str) -> Iterator[tuple[int, int, Any]]:
    """(start, end, value) of each element of an array, one at a time.

    Raises:
        JSONDecodeError: as `parse` does, when it reaches the faulty element.
    """
    start = _skip(text, 0)
    if text[start : start + 1] != '[':
        raise JSONDecodeError("Expecting '['", text, start)
    start = _skip(text, start + 1)
    closed = text[start : start + 1] == ']'
    end = start
    while not closed:
        value, end = _value(text, start)
        yield start, end, value
        end = _skip(text, end)
        if text[end : end + 1] not in (',', ']'):
            raise JSONDecodeError("Expecting ',' delimiter", text, end)
        closed = text[end] == ']'
        start = _skip(text, end + 1)
    _check_end(text, end + 1)


def _value(text: str, start: int) -> tuple[Any, int]:
    """The value that begins at an index, and the index of its end."""
    too_deep = f'nested more than {DEEPEST} levels deep'
    try:
        value, end = _DECODER.raw_decode(text, start)
    except RecursionError:
        raise JSONDecodeError(too_deep, text, start) from None
    except JSONDecodeError:
        raise
    except ValueError:  # Python refuses to convert a very long number
        raise JSONDecodeError('a number has too many digits', text, start) from None
    openings = text.count('[', start, end) + text.count('{', start, end)
    if openings > DEEPEST and _deeper(value, DEEPEST):
        raise JSONDecodeError(too_deep, text, start)
    return value, end


def _deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects are nested more than `levels` levels deep."""
    level = [value]
    for _ in range(levels + 1):
        level = [x for x in level if isinstance(x, dict | list)]
        if not level:
            return False
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return True


def _check_end(text: str, at: int) -> None:
    end = _skip(text, at)
    if end != len(text):
        raise JSONDecodeError('Extra data', text, end)


def _skip(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()
