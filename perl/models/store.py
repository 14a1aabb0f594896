"""Bases on disk: our folder of safetensors and numbers, and llama2.c files.

A folder may hold kernels in few bits, or a reward model; see `base_file`.
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import jax

from perl.models import base_file, llama2c
from perl.models.architecture import Architecture, parameters
from perl.models.files.opening import OURS
from perl.system import arrays, disk, jsonl, sealed
from perl.system.errors import UserError
from perl.weights import flatten, named, unflatten
from perl.weights.layers import Encode, Place

CARD, ARRAYS = OURS, 'model.safetensors'


def save(folder: pathlib.Path, arch: Architecture, params: Any) -> None:
    """Writes `model.safetensors`, and then `model.json` with the architecture and the
    sha256 of the weights: a folder that has it is whole.

    Args:
        folder: made where it is not there.
        arch: whose `quantization` is that of the kernels.
        params: arrays, or kernels in few bits, of the shapes that `arch` says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).unlink(missing_ok=True)
    arrays.save(folder / ARRAYS, named(params))
    digest = arrays.digest(folder / ARRAYS)
    sealed.save(folder / CARD, {**dataclasses.asdict(arch), 'sha256': digest})


def load(path: str | pathlib.Path) -> tuple[Architecture, Any]:
    """A base from a folder that `save` wrote, or from a llama2.c `.bin` file.

    Raises:
        UserError: it is not there, damaged, or not what its `model.json` says.
    """
    return read(path, lambda _, leaf, x: jax.device_put(x))[:2]


def read(
    path: str | pathlib.Path, place: Place, encode: Encode | None = None
) -> tuple[Architecture, Any, str]:
    """As `load`, each parameter placed and let go before the next is read.

    Args:
        path: of the base.
        place: is given the path of each parameter, its declaration, and its numbers.
        encode: for a path and its declaration, what makes of one layer that which
            `place` gets of it, stacked; None leaves the layers as they are.

    Returns:
        The architecture, what `place` returned of all parameters, and the fingerprint.

    Raises:
        UserError: as `load`.
    """
    path = pathlib.Path(path)
    with _told(path):
        if path.suffix == '.bin' and path.is_file():
            arch, params = llama2c.load(path)
            flat, digits = flatten(params), base_file.fingerprint(params)
            arrays.check_finite(flat)
            said = flatten(parameters(arch))
            placed = {k: place(k, said[k], x) for k, x in flat.items()}
            return arch, unflatten(placed), digits
        arch, digest = _read_card(path / CARD)
        file = path / ARRAYS
        arrays.verify(file, digest)
        base_file.check(arrays.shapes(file), arch, str(path))
        params, digits = base_file.read(file, arch, place, encode)
        return arch, params, digits


@contextlib.contextmanager
def _told(path: pathlib.Path) -> Iterator[None]:
    """Says in one line what is wrong with a base."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        foreign = jsonl.load(path / 'config.json').get('model_type')
        if foreign and not (path / CARD).exists():
            raise UserError(
                f'model.path: {path} holds a {foreign} checkpoint of Hugging Face, '
                f'which is not read; give a folder with {CARD} and {ARRAYS}, such as '
                'the pretrain/base of another run, or a llama2.c .bin file'
            ) from None
        raise UserError(
            f'model.path: {error.filename} is not there; give a folder with {CARD} and '
            f'{ARRAYS} or of Hugging Face, a .gguf file, or a llama2.c .bin file'
        ) from None
    except OSError as error:
        raise UserError(
            f'model.path: {error.filename or path} cannot be read: {error.strerror}; '
            f'{disk.mend(error)}'
        ) from None
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f'model.path: {path} is damaged ({error}); write or copy it again'
        ) from None


def _read_card(file):
    """The architecture, and the sha256 of the weights: None in files of old."""
    values = sealed.load(file)
    digest = values.pop('sha256', None)
    try:
        return Architecture(**values), digest
    except UserError as error:
        raise UserError(f'{file}: {error}') from None


def changed(arch: Architecture, **fields: Any) -> Architecture:
    """The same decoder, run in another way (dtype, scan, remat)."""
    return dataclasses.replace(arch, **fields)
