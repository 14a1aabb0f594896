"""What a checkpoint folder holds, with checksums that say whether it is whole."""

import contextlib
import json
import pathlib
import zlib
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from perl.checkpoint.leaves import shape_dtype
from perl.system import jsonl

NAME = 'card.json'


class Damaged(Exception):
    """A checkpoint is not what was written."""


def describe(array: Any) -> dict[str, Any]:
    """Shape, dtype and CRC-32 of an array's bytes, whatever its mesh and hosts."""
    shape, dtype = shape_dtype(array)
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        array = multihost_utils.process_allgather(array, tiled=True)
    crc = zlib.crc32(np.asarray(array).tobytes())
    return {'shape': list(shape), 'dtype': str(dtype), 'crc32': crc}


def write(
    folder: pathlib.Path, arrays: dict[str, dict], extra: Any, inputs: Any
) -> None:
    """Writes the card of a folder that is complete but for it.

    Args:
        folder: of the checkpoint.
        arrays: what `describe` says of each.
        extra: values that JSON can hold.
        inputs: what the state was computed from, in values that JSON can hold.
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


def read(folder: pathlib.Path) -> dict[str, Any]:
    """The card: `arrays`, `extra` and `inputs` (None in cards of old), after the
    checksums of the card and of every file were compared.

    Raises:
        Damaged: a file is missing or changed.
        OSError: a file cannot be read, so that nobody knows whether it is whole.
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
    for name, crc in card['files'].items():
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
    except OSError as error:  # of a read, it does not say where
        raise OSError(error.errno, error.strerror, str(path)) from error
