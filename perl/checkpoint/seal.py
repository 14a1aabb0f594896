"""What a checkpoint folder holds, with checksums that say whether it is whole."""

import json
import pathlib
import zlib
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from perl.checkpoint.leaves import shape_dtype

NAME = 'card.json'


class Damaged(Exception):
    """A checkpoint that is not what was written."""


def describe(array: Any) -> dict[str, Any]:
    """Shape, dtype and CRC-32 of an array's bytes, whatever its mesh and hosts."""
    shape, dtype = shape_dtype(array)
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        array = multihost_utils.process_allgather(array, tiled=True)
    crc = zlib.crc32(np.asarray(array).tobytes())
    return {'shape': list(shape), 'dtype': str(dtype), 'crc32': crc}


def write(folder: pathlib.Path, arrays: dict[str, dict], extra: Any) -> None:
    """Writes the card of a folder that is complete but for it."""
    files = {
        str(path.relative_to(folder)): _file_crc(path)
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }
    text = json.dumps({'arrays': arrays, 'extra': extra, 'files': files})
    sealed = {'content': text, 'crc32': zlib.crc32(text.encode())}
    (folder / NAME).write_text(json.dumps(sealed))


def read(folder: pathlib.Path) -> dict[str, Any]:
    """The card's `arrays` and `extra`, after a look at the card and at every file.

    Raises:
        Damaged: a file is missing or changed.
    """
    try:
        sealed = json.loads((folder / NAME).read_text())
        whole = zlib.crc32(sealed['content'].encode()) == sealed['crc32']
    except FileNotFoundError:
        raise Damaged(f'{NAME} is missing') from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        whole = False
    if not whole:
        raise Damaged(f'{NAME} is damaged')
    card = json.loads(sealed['content'])
    for name, crc in card['files'].items():
        try:
            found = _file_crc(folder / name)
        except FileNotFoundError:
            raise Damaged(f'{name} is missing') from None
        except OSError as error:
            raise Damaged(f'{name}: {error.strerror}') from None
        if found != crc:
            raise Damaged(f'{name} is damaged')
    return card


def _file_crc(path):
    crc = 0
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return crc
