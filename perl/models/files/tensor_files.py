"""Files of safetensors, one tensor at a time."""

import functools
import pathlib

import numpy as np
from safetensors import SafetensorError, safe_open

from perl.models.files.checkpoint import Tensor
from perl.system import arrays, disk
from perl.system.errors import UserError

_FLOATS = ('F32', 'F16', 'BF16')  # that a weight of a model may be of


def tensors_in(file: pathlib.Path) -> dict[str, Tensor]:
    """The tensors of a file, none of them read.

    Raises:
        UserError: the file is not there, truncated, or not of safetensors.
    """
    found = {}
    try:
        with safe_open(file, 'np') as opened:
            for name in opened.keys():  # noqa: SIM118 (not a mapping)
                entry = opened.get_slice(name)
                shape, dtype = tuple(entry.get_shape()), entry.get_dtype()
                if dtype not in arrays.DTYPES:
                    raise UserError(
                        f'model.path: {file}: {name} has the unknown dtype {dtype}; '
                        'write the checkpoint in float32, float16 or bfloat16'
                    )
                load = functools.partial(_read, file, name)
                found[name] = Tensor(shape, np.dtype(arrays.DTYPES[dtype]), load)
    except (SafetensorError, OSError) as error:
        raise damaged(file, error) from None
    return found


def _read(file, name):
    try:
        array = arrays.read(file, name)
    except (ValueError, OSError) as error:
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
    bits."""
    if array.dtype not in [arrays.DTYPES[name] for name in _FLOATS]:
        raise UserError(
            f'model.path: {where} has the dtype {array.dtype}; write the checkpoint in '
            'float32, float16 or bfloat16'
        )
    bad = arrays.not_finite(array)
    if bad:
        raise UserError(
            f'model.path: {where}: {bad} of {array.size} numbers are NaN or infinite; '
            'copy the checkpoint again'
        )
