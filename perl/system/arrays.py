"""Files of named arrays: safetensors, whole or not there at all."""

import pathlib

import jax
from safetensors import SafetensorError
from safetensors.flax import save_file

from perl.system.errors import UserError


def save(file: pathlib.Path, arrays: dict[str, jax.Array]) -> None:
    """Puts arrays in the place of a file, or leaves the file as it was.

    Raises:
        UserError: a full disk, or a folder that cannot be written.
    """
    tmp = file.with_name(f'{file.name}.tmp')
    try:
        save_file(arrays, tmp)
    except SafetensorError as error:
        tmp.unlink(missing_ok=True)
        raise UserError(
            f'could not write {file}: {error}; free some space and run the same '
            'command again, what was saved before is intact'
        ) from None
    tmp.replace(file)
