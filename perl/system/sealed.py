"""JSON objects with a checksum of their own, so that no value changes unnoticed.

A flipped bit in a file of JSON mostly leaves JSON: another digit of a number, another
letter of a name.
"""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from perl.system import jsonl

CHECKSUM = 'checksum'


def save(file: pathlib.Path, values: Mapping[str, Any]) -> None:
    """Replaces a file by one object, whose last entry is the checksum of the others.

    Raises:
        OSError: with the name of the file, which is as it was.
    """
    jsonl.save(file, {**values, CHECKSUM: _digest(values)})


def load(file: pathlib.Path) -> dict[str, Any]:
    """The object of a file, without its checksum, which files of older versions and
    those written by hand lack.

    Raises:
        OSError: the file is not there or cannot be read.
        ValueError: it is no JSON object, or its checksum is that of another one.
    """
    values = jsonl.parse(file.read_bytes())
    if not isinstance(values, dict):
        raise ValueError(f'{file.name} is not a JSON object')
    checksum = values.pop(CHECKSUM, None)
    if checksum not in (None, _digest(values)):
        raise ValueError(
            f'{file.name} does not fit its own checksum, so it was changed; where you '
            f'changed it on purpose, remove the entry {CHECKSUM!r}'
        )
    return values


def _digest(values):
    text = json.dumps(jsonl.plain(values), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
