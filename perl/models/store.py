"""Bases on disk: our folder of safetensors and numbers, and llama2.c files."""

import contextlib
import dataclasses
import hashlib
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from perl.models import llama2c
from perl.models.architecture import DTYPES, Architecture, parameters
from perl.models.files.opening import OURS
from perl.system import arrays, disk, jsonl, sealed
from perl.system.errors import UserError
from perl.weights import Layers, abstract, flatten, unflatten
from perl.weights.layers import Encode, Place

CARD, ARRAYS = OURS, 'model.safetensors'


def save(folder: pathlib.Path, arch: Architecture, params: Any) -> None:
    """Writes `model.safetensors`, and then `model.json` with the architecture and the
    sha256 of the weights: a folder that has it is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).unlink(missing_ok=True)
    arrays.save(folder / ARRAYS, flatten(params))
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
            arrays.check_finite(flatten(params))
            flat, digits = flatten(params), fingerprint(params)
            said = flatten(parameters(arch))
            placed = {k: place(k, said[k], x) for k, x in flat.items()}
            return arch, unflatten(placed), digits
        arch, digest = _read_card(path / CARD)
        file = path / ARRAYS
        arrays.verify(file, digest)
        check(unflatten(arrays.shapes(file)), arch, str(path))
        params, digits = _placed(file, arch, place, encode)
        return arch, params, digits


def _placed(file, arch, place, encode):
    """The parameters of a checked file, one after the other, and their fingerprint."""
    digest, flat = hashlib.sha256(), {}
    said, shapes = flatten(parameters(arch)), arrays.shapes(file)
    for name in sorted(shapes):
        digest.update(_head(name, shapes[name]))
        encoder = encode and encode(name, said[name])
        rows = range(arch.layers) if encoder else (None,)
        layers = Layers(arch.layers, encoder)
        for row in rows:
            x = arrays.read(file, name, row)
            arrays.check_finite({name: x})
            digest.update(x.reshape(-1).view(np.uint8))
            if encoder:
                layers.add(x)
        flat[name] = place(name, said[name], layers.whole() if encoder else x)
        del x, layers
    return unflatten(flat), digest.hexdigest()[:16]


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


def check(params: Any, arch: Architecture, where: str) -> None:
    """Raises a `UserError` unless the parameters have the shapes of `arch`, and are
    floating-point numbers that it can compute with."""
    wanted, flat = flatten(abstract(parameters(arch))), flatten(params)
    for name in sorted(wanted.keys() | flat.keys()):
        want, got = (getattr(t.get(name), 'shape', None) for t in (wanted, flat))
        if want != got:
            raise UserError(
                f'{where}: {name} has shape {got}, the architecture wants {want}; '
                'use the model.json that belongs to these weights'
            )
    for name, x in flat.items():
        if str(x.dtype) not in DTYPES:
            raise UserError(
                f'model.path: {where}: {name} has the dtype {x.dtype}, not one of '
                f'{", ".join(DTYPES)}; convert the weights'
            )


def fingerprint(params: Any) -> str:
    """16 hexadecimal digits that tell one base from another."""
    digest = hashlib.sha256()
    for name, leaf in sorted(flatten(params).items()):
        digest.update(_head(name, leaf))
        whole = np.ascontiguousarray(jax.device_get(leaf))
        digest.update(whole.reshape(-1).view(np.uint8))  # its memory, without a copy
    return digest.hexdigest()[:16]


def _head(name, leaf):
    """The bytes that a fingerprint has for a parameter before its numbers."""
    return f'{name} {leaf.dtype} {leaf.shape}'.encode()
