"""Files of safetensors, one tensor at a time."""

import functools
import pathlib

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from perl.models.files.checkpoint import Tensor
from perl.system import disk
from perl.system.errors import UserError

# what safetensors calls a dtype, and whether a weight of a model may have it
_DTYPES = {
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
# the bits of a float without its sign from which on it is infinite or NaN
_INFINITE = {
    np.dtype(np.float32): (np.uint32, 0x7F800000),
    np.dtype(np.float16): (np.uint16, 0x7C00),
    np.dtype(ml_dtypes.bfloat16): (np.uint16, 0x7F80),
}
_CHUNK = 1 << 20  # numbers that are looked at together


def tensors_in(file: pathlib.Path) -> dict[str, Tensor]:
    """The tensors of a file, none of them read.

    Raises:
        UserError: the file is not there, truncated, or not of safetensors.
    """
    found = {}
    try:
        with safe_open(file, 'np') as opened:
            for name in opened.keys():  # noqa: SIM118 (it is no mapping)
                entry = opened.get_slice(name)
                shape, dtype = tuple(entry.get_shape()), entry.get_dtype()
                if dtype not in _DTYPES:
                    raise UserError(
                        f'model.path: {file}: {name} has the unknown dtype {dtype}; '
                        'write the checkpoint in float32, float16 or bfloat16'
                    )
                load = functools.partial(_read, file, name)
                found[name] = Tensor(shape, np.dtype(_DTYPES[dtype]), load)
    except (SafetensorError, OSError) as error:
        raise damaged(file, error) from None
    return found


def _read(file, name):
    # Opened anew for each tensor: the library maps the file into memory, and the pages
    # that were read count as memory of the process until the file is closed.
    try:
        with safe_open(file, 'np') as opened:
            array = opened.get_tensor(name)
    except (SafetensorError, OSError) as error:
        raise damaged(file, error) from None
    check_finite(array, f'{file}: {name}')
    return array


def damaged(file: pathlib.Path, error: Exception) -> UserError:
    """The error of a file of safetensors that cannot be read."""
    if isinstance(error, FileNotFoundError):
        return UserError(f'model.path: {file} is not there; copy it again')
    if isinstance(error, OSError):
        return UserError(
            f'model.path: {file} cannot be read: {error.strerror or error}; '
            f'{disk.mend(error)}'
        )
    return UserError(
        f'model.path: {file} is damaged or no file of safetensors ({error}); copy it '
        'again'
    )


def check_finite(array: np.ndarray, where: str) -> None:
    """Raises a `UserError` unless an array of any shape holds finite floats of 16 or 32
    bits, without a second array of its size."""
    if array.dtype not in _INFINITE:
        raise UserError(
            f'model.path: {where} has the dtype {array.dtype}; write the checkpoint in '
            'float32, float16 or bfloat16'
        )
    kind, infinite = _INFINITE[array.dtype]
    bits = array.reshape(-1).view(kind)
    sign_off = kind(np.iinfo(kind).max >> 1)
    bad = sum(
        int(np.count_nonzero((bits[at : at + _CHUNK] & sign_off) >= infinite))
        for at in range(0, bits.size, _CHUNK)
    )
    if bad:
        raise UserError(
            f'model.path: {where}: {bad} of {array.size} numbers are NaN or infinite; '
            'copy the checkpoint again'
        )
