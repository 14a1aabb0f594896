"""Files of named arrays (safetensors), written atomically."""

import hashlib
import pathlib
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.flax import load_file, save_file

from perl.system import atomic, disk


def save(file: pathlib.Path, arrays: Mapping[str, jax.Array | np.ndarray]) -> None:
    """Replaces a file by arrays of any shape and memory order.

    Raises:
        OSError: names the file, which is unchanged.
    """
    # safetensors writes the memory of an array as it is, so it must be in C order
    ordered = {name: np.asarray(x, order='C') for name, x in arrays.items()}
    with atomic.replacing(file) as new:
        try:
            save_file(ordered, new)
        except SafetensorError as error:
            raise disk.as_os_error(error) or error from None


def load(file: pathlib.Path, sha256: str | None = None) -> dict[str, jax.Array]:
    """The arrays of a file, with the saved shapes.

    Args:
        file: a safetensors file, from `save` or elsewhere.
        sha256: the expected digest of the file; None skips the comparison.

    Raises:
        OSError: the file does not exist or cannot be read.
        ValueError: it is damaged, or a number in it is not finite.
    """
    actual = digest(file)  # reads every byte, so a disk error is raised as OSError
    if sha256 not in (None, actual):
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
    """Raises a `ValueError` for the first array (any shape) that is not finite."""
    for name, x in arrays.items():
        bad = int(jnp.sum(~jnp.isfinite(x)))
        if bad:
            raise ValueError(f'{bad} of {x.size} numbers in {name} are NaN or infinite')


def digest(file: pathlib.Path) -> str:
    """The sha256 of a file in hexadecimal digits."""
    with file.open('rb') as data:
        return hashlib.file_digest(data, 'sha256').hexdigest()
