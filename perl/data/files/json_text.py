"""Parses JSON; errors do not quote the text."""

import json
import re
from json import JSONDecodeError
from typing import Any

from perl.system import json_keys

DEEPEST = 100  # levels of nested lists and objects; more could overflow the stack
_SPACE = re.compile(r'[ \t\n\r]*')
_DECODER = json.JSONDecoder(object_pairs_hook=json_keys.unique)
_LENIENT = json.JSONDecoder()


class RepeatedKey(JSONDecodeError):
    """An object has a key twice; the place is that of the second one."""


def parse(text: str, unique: bool = True) -> Any:
    """The value of a JSON text.

    Args:
        text: JSON.
        unique: refuses an object that has a key twice. Without it the last one counts,
            as in text that a model or an annotator wrote.

    Raises:
        JSONDecodeError: says briefly what is wrong and where.
    """
    decoder = _DECODER if unique else _LENIENT
    found, end = value(text, skip(text, 0), decoder)
    _check_end(text, end)
    return found


def value(
    text: str, start: int, decoder: json.JSONDecoder = _DECODER
) -> tuple[Any, int]:
    """The value that begins at an index, and the index of its end; raises as
    `parse`."""
    too_deep = f'nested more than {DEEPEST} levels deep'
    try:
        found, end = decoder.raw_decode(text, start)
    except RecursionError:
        raise JSONDecodeError(too_deep, text, start) from None
    except JSONDecodeError:
        raise
    except json_keys.RepeatedKey as error:
        at = json_keys.repeated(text, start)
        raise RepeatedKey(str(error), text, at) from None
    except ValueError:  # Python refuses to convert a very long number
        raise JSONDecodeError('a number has too many digits', text, start) from None
    openings = text.count('[', start, end) + text.count('{', start, end)
    if openings > DEEPEST and _deeper(found, DEEPEST):
        raise JSONDecodeError(too_deep, text, start)
    return found, end


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
    end = skip(text, at)
    if end != len(text):
        raise JSONDecodeError('Extra data', text, end)


def skip(text: str, at: int) -> int:
    """The index of the first character from `at` on that is not white space."""
    return _SPACE.match(text, at).end()
