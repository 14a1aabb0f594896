"""Files of named arrays (safetensors), written atomically."""

import contextlib
import hashlib
import json
import math
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.flax import save_file

from perl.system import atomic, disk

_ALIGNMENT = 64  # bytes; what XLA asks of memory that is not its own
_PART = 1 << 20  # numbers that are looked at together
# the bits from which on a float without its sign is infinite or NaN
_INFINITE = {'float32': 0x7F800000, 'float16': 0x7C00, 'bfloat16': 0x7F80}

# what safetensors calls a dtype
DTYPES = {
    'F32': np.float32,
    'F16': np.float16,
    'BF16': ml_dtypes.bfloat16,
    'F64': np.float64,
    'F8_E4M3': ml_dtypes.float8_e4m3fn,
    'F8_E5M2': ml_dtypes.float8_e5m2,
    'I64': np.int64,
    'I32': np.int32,
    'I16': np.int16,
    'I8': np.int8,
    'U64': np.uint64,
    'U32': np.uint32,
    'U16': np.uint16,
    'U8': np.uint8,
    'BOOL': np.bool_,
}


def save(
    file: pathlib.Path,
    arrays: Mapping[str, jax.Array | np.ndarray],
    metadata: dict[str, str] | None = None,
) -> None:
    """Replaces a file by arrays of any shape and memory order.

    Args:
        file: to be written; its folder exists.
        arrays: by name.
        metadata: what the header of the file says beside the arrays.

    Raises:
        OSError: names the file, which is unchanged.
    """
    # safetensors writes the memory of an array as it is, so it must be in C order
    ordered = {name: np.asarray(x, order='C') for name, x in arrays.items()}
    with atomic.replacing(file) as new:
        try:
            save_file(ordered, new, metadata)
        except SafetensorError as error:
            raise disk.as_os_error(error) or error from None


def load(file: pathlib.Path, sha256: str | None = None) -> dict[str, jax.Array]:
    """The arrays of a file, of any shapes, as they were saved.

    Args:
        file: a safetensors file, from `save` or elsewhere.
        sha256: the expected digest of the file; None skips the comparison.

    Raises:
        OSError: the file does not exist or cannot be read.
        ValueError: it is damaged, or a number in it is not finite.
    """
    verify(file, sha256)
    with _damaged(file):
        with safe_open(file, 'np') as opened:
            names = list(opened.keys())
        arrays = {name: jax.device_put(read(file, name)) for name in names}
    check_finite(arrays)
    return arrays


def verify(file: pathlib.Path, sha256: str | None) -> None:
    """Reads every byte of a file, so that a disk error is raised as an `OSError`.

    Raises:
        OSError: the file does not exist or cannot be read.
        ValueError: its digest is not the expected one, if there is one.
    """
    actual = digest(file)
    if sha256 not in (None, actual):
        raise ValueError(f'the sha256 of {file.name} is not the one on its card')


def shapes(file: pathlib.Path) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of the arrays of a file, none of which is read.

    Raises:
        ValueError: the file is damaged, or has numbers of an unknown kind.
    """
    with _damaged(file), safe_open(file, 'np') as opened:
        entries = {name: opened.get_slice(name) for name in list(opened.keys())}
        return {
            name: jax.ShapeDtypeStruct(x.get_shape(), DTYPES[x.get_dtype()])
            for name, x in entries.items()
        }


def read(file: pathlib.Path, name: str, row: int | None = None) -> np.ndarray:
    """An array of a file, or `[M, ...]` of a row of one `[N, M, ...]`, in memory that
    JAX can use as it is.

    The library would map the file into memory, which counts as memory of the process,
    and cannot give numpy floats of 8 bits: the bytes are read here.

    Args:
        file: that `shapes` has found whole.
        name: of the array.
        row: None for all rows.

    Raises:
        OSError, ValueError: the file cannot be read, or ends too early.
    """
    with file.open('rb') as data:
        start = 8 + int.from_bytes(data.read(8), 'little')
        entry = json.loads(data.read(start - 8))[name]
        shape, at = tuple(entry['shape']), start + entry['data_offsets'][0]
        shape = shape if row is None else shape[1:]
        whole = aligned_empty(shape, DTYPES[entry['dtype']])
        data.seek(at + (row or 0) * whole.nbytes)
        if data.readinto(whole.reshape(-1).view(np.uint8)) < whole.nbytes:
            raise ValueError(f'{file.name} ends within {name}')
    return whole


@contextlib.contextmanager
def _damaged(file: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f'{file.name} has numbers of an unknown kind: {error}'
        ) from None


def check_finite(arrays: Mapping[str, jax.Array]) -> None:
    """Raises a `ValueError` for the first array (any shape) that is not finite."""
    for name, x in arrays.items():
        bad = not_finite(np.asarray(x))
        if bad:
            raise ValueError(f'{bad} of {x.size} numbers in {name} are NaN or infinite')


def not_finite(x: np.ndarray) -> int:
    """How many numbers of an array of any shape are NaN or infinite, found a part at a
    time: the array may be a large share of the memory."""
    flat, infinite = x.reshape(-1), _INFINITE.get(x.dtype.name)
    parts = (flat[at : at + _PART] for at in range(0, flat.size, _PART))
    if infinite is None:
        return sum(int(np.count_nonzero(~np.isfinite(part))) for part in parts)
    # numpy is slow at floats of 16 bits: the bits without the sign tell as well
    bits = np.dtype(f'uint{8 * x.dtype.itemsize}').type
    no_sign = bits(np.iinfo(bits).max >> 1)
    return sum(
        int(np.count_nonzero((part.view(bits) & no_sign) >= bits(infinite)))
        for part in parts
    )


def digest(file: pathlib.Path) -> str:
    """The sha256 of a file in hexadecimal digits."""
    with file.open('rb') as data:
        return hashlib.file_digest(data, 'sha256').hexdigest()


def aligned_empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array `[*shape]` whose numbers are not set, where JAX can use its memory as it
    is: on a CPU, an array that begins anywhere else is copied."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


def aligned(x: np.ndarray, dtype: Any) -> np.ndarray:
    """An array of any shape in a dtype, in such memory; itself where it is there."""
    there = x.ctypes.data % _ALIGNMENT == 0 and x.flags.c_contiguous
    if there and x.dtype == dtype:
        return x
    new = aligned_empty(x.shape, dtype)
    new[...] = x
    return new
