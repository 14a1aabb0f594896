"""Files of one JSON object or of one per line, safe against crashes."""

import json
import math
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from perl.system import atomic, json_keys
from perl.system.errors import UserError
from perl.system.json_keys import RepeatedKey

LEVELS = 100  # of nested JSON; its readers are recursive


def parse(text: str | bytes, unique: bool = True) -> Any:
    """The value of a JSON text; bytes are UTF-8.

    Args:
        text: JSON.
        unique: refuses an object that has a key twice. Without it the last one counts.

    Raises:
        RepeatedKey: an object has a key twice.
        ValueError: it is not JSON, or has more than `LEVELS` levels.
    """
    try:
        value = json.loads(text, object_pairs_hook=json_keys.unique if unique else None)
    except RecursionError:
        raise ValueError('it is nested too deeply') from None
    level = [value]
    for _ in range(LEVELS):
        level = [x for parent in level for x in _children(parent)]
        if not level:
            return value
    raise ValueError('it is nested too deeply')


def load(file: pathlib.Path) -> dict[str, Any]:
    """The object in a file, or an empty dict if the file does not exist.

    Raises:
        UserError: the file does not hold a JSON object.
    """
    try:
        content = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return as_object(content, str(file))


def as_object(text: str | bytes, name: str) -> dict[str, Any]:
    """The object in a JSON text.

    Args:
        text: bytes are UTF-8.
        name: of the file that it is from, for errors.

    Raises:
        UserError: it is not a JSON object, or an object of it has a key twice.
    """
    try:
        value = parse(text)
    except RepeatedKey as error:
        where = f'{name}, line {_repeated_line(text)}'
        raise UserError(f'{where}: {error}; keep one of the two') from None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise UserError(f'{name}: not a JSON object; fix the file or remove it')
    return value


def save(file: pathlib.Path, value: Mapping[str, Any]) -> None:
    """Replaces a file by one JSON object."""
    atomic.write_text(file, json.dumps(plain(value), indent=2) + '\n')


def rows(file: pathlib.Path) -> list[dict[str, Any]]:
    """The objects of a file's lines, without a last line that a crash cut off; empty if
    the file does not exist.

    Raises:
        UserError: a complete line is not a JSON object, or has a key twice.
    """
    if not file.is_file():
        return []
    objects = []
    for number, text in enumerate(file.read_bytes().split(b'\n')[:-1], 1):
        try:
            row = parse(text)
        except RepeatedKey as error:
            where = f'{file}: line {number}'
            raise UserError(f'{where}: {error}; keep one of the two') from None
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise UserError(
                f'{file}: line {number} is not a JSON object; remove that line'
            )
        objects.append(row)
    return objects


def save_rows(file: pathlib.Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Replaces a file by one line per object."""
    atomic.write_text(file, ''.join(map(line, rows)))


def mend(file: pathlib.Path) -> None:
    """Removes an incomplete last line that a crash left."""
    if file.is_file():
        data = file.read_bytes()
        complete = data.rfind(b'\n') + 1
        if complete < len(data):
            os.truncate(file, complete)


def append(file: pathlib.Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Appends one line per object; the lines are on the disk when this returns."""
    try:
        # half of a surrogate pair has no UTF-8, so it becomes the escape of JSON
        with file.open('a', encoding='utf-8', errors='backslashreplace') as out:
            out.write(''.join(map(line, rows)))
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:  # the error of a write does not name the file
        raise OSError(error.errno, error.strerror, str(file)) from error


def line(row: Mapping[str, Any]) -> str:
    """An object as one line of JSON."""
    return json.dumps(plain(row), ensure_ascii=False) + '\n'


def plain(value: Any) -> Any:
    """Converts a value, also numpy and jax arrays, to JSON types; NaN and infinity
    become null."""
    if isinstance(value, Mapping):
        return {str(name): plain(x) for name, x in value.items()}
    if isinstance(value, list | tuple):
        return [plain(x) for x in value]
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return plain(np.asarray(value).tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def differences(old: Any, new: Any, path: str = '') -> list[str]:
    """The differences between two JSON values, one line each."""
    if isinstance(old, dict) and isinstance(new, dict):
        lines = []
        for name in sorted(old.keys() | new.keys()):
            where = f'{path}.{name}' if path else name
            lines += differences(old.get(name), new.get(name), where)
        return lines
    return [] if old == new else [f'{path}: was {old!r:.60}, is {new!r:.60}']


def _repeated_line(text):
    """The line of the first key that its object has already."""
    text = text.decode('utf-8') if isinstance(text, bytes) else text
    return text.count('\n', 0, json_keys.repeated(text)) + 1


def _children(value):
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
