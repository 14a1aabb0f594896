"""What the beginning of a GGUF file says: metadata, and where each tensor lies.

The format: ggml's docs/gguf.md, versions 2 and 3. The package `gguf` reads it too, but
calls Python several times for each token of a vocabulary, which takes seconds where
this takes milliseconds; what tensors are packed into is left to the package.
"""

import dataclasses
import functools
import math
import mmap
import pathlib
import struct
from typing import Any

from perl.models.files.tensor_files import damaged
from perl.system.errors import UserError

MAGIC = b'GGUF'
_SCALARS = 'BbHhIif?__Qqd'  # struct's letters by type; _ is a text and an array
_STRING, _ARRAY = 8, 9
_DEEP = 4  # arrays of arrays; no writer makes more
_INSTALL = "GGUF files need the package gguf; install it with pip install 'perl[gguf]'"


@dataclasses.dataclass(frozen=True)
class Stored:
    """A tensor as it lies in the file.

    Attributes:
        shape: rows first, as numpy has it; the file has the reverse.
        kind: the name of its packing, such as `Q4_K`.
        offset: of its first byte in the file.
        nbytes: how many bytes it takes there.
    """

    shape: tuple[int, ...]
    kind: str
    offset: int
    nbytes: int


@dataclasses.dataclass(frozen=True)
class Header:
    """The metadata by key, and the tensors by the names of llama.cpp."""

    metadata: dict[str, Any]
    tensors: dict[str, Stored]


def package() -> Any:
    """The package `gguf`.

    Raises:
        UserError: it is not installed.
    """
    try:
        import gguf
    except ImportError:
        raise UserError(f'model.path: {_INSTALL}') from None
    return gguf


def read_header(file: pathlib.Path) -> Header:
    """The header of a file.

    Raises:
        UserError: it is not there, truncated, of another format, or of a version,
            byte order or packing that is not known.
    """
    try:
        status = file.stat()
        return _read(file, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise damaged(file, error) from None


@functools.lru_cache(2)  # one command opens a file for its config, weights, tokenizer
def _read(file: pathlib.Path, changed: int, size: int) -> Header:
    del changed
    with file.open('rb') as opened:
        if opened.read(4) != MAGIC:
            raise UserError(
                f'model.path: {file} is not a GGUF file, whatever its name is; give '
                'one that begins with GGUF'
            )
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _parse(file, _Bytes(data), size)
            except (struct.error, UnicodeDecodeError) as error:
                raise UserError(
                    f'model.path: {file} is truncated or damaged ({error}); copy it '
                    'again'
                ) from None


class _Bytes:
    """Values one after another."""

    def __init__(self, data: mmap.mmap):
        self.data, self.at = data, len(MAGIC)

    def numbers(self, letters: str, count: int = 1) -> tuple:
        if count > len(self.data) - self.at:
            raise struct.error(f'it ends before its {count} numbers do')
        form = f'<{count}{letters}'
        values = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return values

    def number(self, letter: str) -> Any:
        return self.numbers(letter)[0]

    def text(self) -> str:
        (length,) = self.numbers('Q')
        if length > len(self.data) - self.at:
            raise struct.error(f'it ends before a text of {length} bytes does')
        self.at += length
        return self.data[self.at - length : self.at].decode('utf-8')

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY and depth < _DEEP:
            (inner,), (count,) = self.numbers('I'), self.numbers('Q')
            if inner < len(_SCALARS) and inner not in (_STRING, _ARRAY):
                return list(self.numbers(_SCALARS[inner], count))
            if count > len(self.data) - self.at:
                raise struct.error(f'it ends before its {count} values do')
            return [self.value(inner, depth + 1) for _ in range(count)]
        if kind >= len(_SCALARS) or kind == _ARRAY:
            raise struct.error(f'it has a value of the unknown type {kind}')
        return self.number(_SCALARS[kind])


def _parse(file, data, size):
    version = data.number('I')
    if version not in (2, 3):
        kind = 'for big-endian machines' if version % 65536 == 0 else 'of that version'
        raise UserError(
            f'model.path: {file} has the GGUF version {version}, and files {kind} are '
            'not read; convert the model with a llama.cpp of today'
        )
    tensors, entries = data.numbers('Q', 2)
    metadata = {}
    for _ in range(entries):
        name, kind = data.text(), data.number('I')
        metadata[name] = data.value(kind)
    places = [_place(data) for _ in range(tensors)]
    alignment = metadata.get('general.alignment', 32)
    if not isinstance(alignment, int) or alignment < 1:
        raise struct.error(f'its general.alignment is {alignment!r:.40}')
    start = -(-data.at // alignment) * alignment
    found = {}
    for name, shape, kind, offset in places:
        found[name] = _stored(file, name, shape, kind, start + offset)
        end = found[name].offset + found[name].nbytes
        if end > size:
            raise UserError(
                f'model.path: {file} is truncated: {name} ends at byte {end} and the '
                f'file at byte {size}; copy it again'
            )
    return Header(metadata, found)


def _place(data):
    name, axes = data.text(), data.number('I')
    shape = data.numbers('Q', axes)[::-1]
    return name, shape, data.number('I'), data.number('Q')


def _stored(file, name, shape, kind, offset):
    gguf = package()
    try:
        packing = gguf.GGMLQuantizationType(kind)
    except ValueError:
        raise UserError(
            f'model.path: {file}: {name} is packed in type {kind}, which the package '
            'gguf does not know; convert the model to Q8_0 or F16'
        ) from None
    block, nbytes = gguf.GGML_QUANT_SIZES[packing]
    if shape and shape[-1] % block:
        raise struct.error(f'the rows of {name} are not a multiple of {block}')
    count = math.prod(shape) // block * nbytes
    return Stored(tuple(map(int, shape)), packing.name, offset, count)
