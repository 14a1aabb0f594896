"""Files of named arrays: safetensors, whole or not there at all."""

import hashlib
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.flax import load_file, save_file

from perl.system import atomic, disk

_ALIGNMENT = 64  # bytes; what XLA asks of memory that is not its own


def save(file: pathlib.Path, arrays: Mapping[str, jax.Array | np.ndarray]) -> None:
    """Puts arrays of any shape and memory order in the place of a file.

    Raises:
        OSError: with the name of the file, which is as it was.
    """
    # safetensors writes the memory of an array as it lies, so it must lie in C order
    ordered = {name: np.asarray(x, order='C') for name, x in arrays.items()}
    with atomic.replacing(file) as new:
        try:
            save_file(ordered, new)
        except SafetensorError as error:
            raise disk.as_os_error(error) or error from None


def load(file: pathlib.Path, sha256: str | None = None) -> dict[str, jax.Array]:
    """The arrays of a file, with the shapes that were saved.

    Args:
        file: that `save` wrote, or any other of safetensors.
        sha256: that the file must have; anything where it is not known.

    Raises:
        OSError: the file is not there or cannot be read.
        ValueError: it is damaged, or holds what is not a finite number.
    """
    found = digest(
        file
    )  # reads every byte, so that an error of the disk is told as such
    if sha256 not in (None, found):
        raise ValueError(f'the sha256 of {file.name} is not the one on its card')
    try:
        arrays = load_file(file)
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f'{file.name} has numbers of an unknown kind: {error}'
        ) from None
    check_finite(arrays)
    return arrays


def check_finite(arrays: Mapping[str, jax.Array]) -> None:
    """Raises a `ValueError` for the first array, of any shape, that is not finite."""
    for name, x in arrays.items():
        bad = int(jnp.sum(~jnp.isfinite(x)))
        if bad:
            raise ValueError(f'{bad} of {x.size} numbers in {name} are NaN or infinite')


def digest(file: pathlib.Path) -> str:
    """The sha256 of a file in hexadecimal digits."""
    with file.open('rb') as data:
        return hashlib.file_digest(data, 'sha256').hexdigest()


def aligned_empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array of a shape whose numbers are not set, where JAX can use its memory as it
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
