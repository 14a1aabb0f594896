"""The card of a checkpoint folder: its content and the checksums that prove it."""

import contextlib
import json
import pathlib
import zlib
from typing import Any

import numpy as np

from perl.checkpoint.leaves import shape_dtype
from perl.system import jsonl, placement

NAME = 'card.json'


class Damaged(Exception):
    """The content of a checkpoint differs from what was written."""


def describe(array: Any) -> dict[str, Any]:
    """Shape, dtype and CRC-32 of an array's bytes; independent of mesh and hosts."""
    shape, dtype = shape_dtype(array)
    crc = zlib.crc32(np.asarray(placement.fetch(array)).tobytes())
    return {'shape': list(shape), 'dtype': str(dtype), 'crc32': crc}


def write(
    folder: pathlib.Path, arrays: dict[str, dict], extra: Any, inputs: Any
) -> None:
    """Writes the card, the last file of a checkpoint folder.

    Args:
        folder: the checkpoint folder, complete except for the card.
        arrays: the result of `describe` for each array.
        extra: JSON values.
        inputs: what the state was computed from, as JSON values.
    """
    files = {
        str(path.relative_to(folder)): _file_crc(path)
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }
    text = json.dumps(
        {'arrays': arrays, 'extra': extra, 'inputs': inputs, 'files': files}
    )
    sealed = {'content': text, 'crc32': zlib.crc32(text.encode())}
    (folder / NAME).write_text(json.dumps(sealed))


def read(folder: pathlib.Path, files: bool = True) -> dict[str, Any]:
    """Compares the checksums of the card and of every file, and returns the card:
    `arrays`, `extra` and `inputs` (None in old cards).

    Args:
        folder: of a checkpoint.
        files: whether to read the files; without it only the card is.

    Raises:
        Damaged: a file is missing or changed.
        OSError: a file cannot be read, so its checksum is unknown.
    """
    try:
        with _named(folder / NAME):
            sealed = jsonl.parse((folder / NAME).read_bytes())
        whole = zlib.crc32(sealed['content'].encode()) == sealed['crc32']
    except FileNotFoundError:
        raise Damaged(f'{NAME} is missing') from None
    except (ValueError, TypeError, KeyError, AttributeError):
        whole = False
    if not whole:
        raise Damaged(f'{NAME} is damaged')
    card = json.loads(sealed['content'])
    for name, crc in card['files'].items() if files else ():
        try:
            whole = _file_crc(folder / name) == crc
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise Damaged(f'{name} is missing') from None
        if not whole:
            raise Damaged(f'{name} is damaged')
    return {'inputs': None, **card}


def _file_crc(path):
    crc = 0
    with _named(path), path.open('rb') as file:
        while block := file.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return crc


@contextlib.contextmanager
def _named(path):
    try:
        yield
    except OSError as error:  # the error of a read does not name the file
        raise OSError(error.errno, error.strerror, str(path)) from error
