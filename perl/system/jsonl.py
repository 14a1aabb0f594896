"""Files of JSON, one object or one a line, which no crash can spoil."""

import json
import math
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from perl.system.errors import UserError


def load(file: pathlib.Path) -> dict[str, Any]:
    """The one object of a file; nothing where there is no such file.

    Raises:
        UserError: it is no JSON object.
    """
    try:
        found = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError(f'{file}: not a JSON object; mend it or remove it')
    return found


def rows(file: pathlib.Path) -> list[dict[str, Any]]:
    """The objects of a file's lines, but for a last line that a crash cut off.

    Raises:
        UserError: a whole line is not a JSON object.
    """
    if not file.is_file():
        return []
    found = []
    for number, line in enumerate(file.read_bytes().split(b'\n')[:-1], 1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise UserError(
                f'{file}: line {number} is not a JSON object; remove that line'
            )
        found.append(row)
    return found


def mend(file: pathlib.Path) -> None:
    """Cuts off the half of a line that a crash left."""
    if file.is_file():
        data = file.read_bytes()
        whole = data.rfind(b'\n') + 1
        if whole < len(data):
            os.truncate(file, whole)


def append(file: pathlib.Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Appends a line for each object; it is on the disk when this returns."""
    _write(file, 'a', ''.join(map(line, rows)))


def replace(file: pathlib.Path, text: str) -> None:
    """Puts a whole text in the place of a file, or leaves the file as it was."""
    tmp = file.with_name(f'{file.name}.tmp')
    _write(tmp, 'w', text)
    tmp.replace(file)


def line(row: Mapping[str, Any]) -> str:
    """An object as one line of JSON."""
    return json.dumps(plain(row), ensure_ascii=False) + '\n'


def plain(value: Any) -> Any:
    """A value as JSON has it: numpy and jax scalars too, null for NaN and infinity."""
    if isinstance(value, Mapping):
        return {str(name): plain(x) for name, x in value.items()}
    if isinstance(value, list | tuple):
        return [plain(x) for x in value]
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return plain(np.asarray(value).tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _write(file, mode, text):
    try:
        # half a character, which UTF-8 has not, becomes the escape that JSON has for it
        with file.open(mode, encoding='utf-8', errors='backslashreplace') as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:  # of a write, it does not say where
        raise OSError(error.errno, error.strerror, str(file)) from error
