"""The file of a base: which arrays it holds, and its parameters one after the other.

It may hold the kernels of the layers in few bits, as the architecture says: the arrays
of a kernel at `layers/mlp/up` are then `layers/mlp/up/codes` and so on. With a scalar
head it is that of a reward model.
"""

import hashlib
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from perl.models.architecture import DTYPES, Architecture, parameters
from perl.models.heads import HEAD, head_leaves
from perl.system import arrays, placement
from perl.system.errors import UserError
from perl.weights import (
    Layers,
    filled,
    flatten,
    is_leaf,
    named,
    quantisation,
    unflatten,
)
from perl.weights.layers import Encode, Place


def check(shapes: Mapping[str, Any], arch: Architecture, where: str) -> None:
    """Raises a `UserError` unless arrays of these shapes and dtypes, by name, are the
    parameters of `arch`, and numbers that it can compute with."""
    said = named(_declared(arch, shapes))
    for name in sorted(said.keys() | shapes.keys()):
        want, got = (getattr(x.get(name), 'shape', None) for x in (said, shapes))
        if want != got:
            raise UserError(
                f'{where}: {name} has shape {got}, the architecture wants {want}; '
                'use the model.json that belongs to these weights'
            )
    for name, x in shapes.items():
        known = (said[name].dtype,) if said[name].dtype else DTYPES
        if str(x.dtype) not in known:
            raise UserError(
                f'model.path: {where}: {name} has the dtype {x.dtype}, not one of '
                f'{", ".join(known)}; convert the weights'
            )


def read(
    file: pathlib.Path, arch: Architecture, place: Place, encode: Encode | None
) -> tuple[Any, str]:
    """The parameters of a checked file, each placed and let go before the next is read,
    and their fingerprint; arguments as `store.read`."""
    digest, flat = hashlib.sha256(), {}
    shapes = arrays.shapes(file)
    said = flatten(_declared(arch, shapes, 'none'))

    def numbers(name, rows=(None,)):
        digest.update(_head(name, shapes[name]))
        for row in rows:
            x = arrays.read(file, name, row)
            arrays.check_finite({name: x})
            digest.update(x.reshape(-1).view(np.uint8))
            yield x

    for path, leaf in sorted(flatten(_declared(arch, shapes)).items()):
        encoder = encode and is_leaf(leaf) and encode(path, leaf)
        if encoder:
            layers = Layers(arch.layers, encoder)
            for x in numbers(path, range(arch.layers)):
                layers.add(x)
            x = layers.whole()
        else:
            own = {name: next(numbers(name)) for name in sorted(named({path: leaf}))}
            x = filled({path: leaf}, own)[path]
        flat[path] = place(path, said[path], x)
        x = layers = own = None
    return unflatten(flat), digest.hexdigest()[:16]


def has_head(file: pathlib.Path) -> bool:
    """Whether the file is that of a reward model; nothing else of it is checked."""
    try:
        return _scores(arrays.shapes(file))
    except (OSError, ValueError):
        return False


def fingerprint(params: Any) -> str:
    """16 hexadecimal digits that tell one base from another."""
    digest = hashlib.sha256()
    for name, leaf in sorted(named(params).items()):
        digest.update(_head(name, leaf))
        whole = np.ascontiguousarray(placement.fetch(leaf))
        digest.update(whole.reshape(-1).view(np.uint8))  # its memory, without a copy
    return digest.hexdigest()[:16]


def _head(name, leaf):
    """The bytes that a fingerprint has for a parameter before its numbers."""
    return f'{name} {leaf.dtype} {leaf.shape}'.encode()


def _declared(arch, names, kind=''):
    """The declared parameters of a file with arrays of these names, in the quantization
    of the architecture or in that of a name; with a scalar head where it has one."""
    kind = kind or arch.quantization
    said = quantisation.declare(parameters(arch), kind, arch.base_dtype)
    return said | ({HEAD: head_leaves(arch.width)} if _scores(names) else {})


def _scores(names):
    return any(name.startswith(f'{HEAD}/') for name in names)
