"""The base of a run, from whatever `model.path` names: a folder of ours, a llama2.c
file, or a checkpoint of another project."""

import pathlib
from collections.abc import Callable
from typing import Any

import jax

from perl.models import families, store
from perl.models.architecture import Architecture, parameters
from perl.models.files import is_foreign, open_checkpoint, refuse_pickle
from perl.models.files.recorded import Recorder
from perl.weights import Leaf, flatten, unflatten

# puts the numbers of a declared parameter where the run wants them
Place = Callable[[Leaf, Any], jax.Array]

_PICKLES = (b'PK', b'\x80\x02')  # how a zip archive and a bare pickle begin


def describe(path: str | pathlib.Path) -> Architecture:
    """The decoder of a base. A foreign one is not read but for its beginning.

    Raises:
        UserError: it is not there, damaged, or of a family that is not known.
    """
    if _is_ours(path):
        return store.load(path)[0]
    return families.from_foreign(open_checkpoint(path).config)[1]


def load(path: str | pathlib.Path, arch: Architecture, place: Place) -> tuple[Any, str]:
    """The parameters of a base, each placed as soon as it is read.

    So a foreign checkpoint is never in memory whole beside them: at its peak there is
    one parameter more.

    Args:
        path: of the base.
        arch: its decoder, run as the config wants.
        place: is given each parameter with what is declared of it.

    Returns:
        The parameters, and 16 hexadecimal digits that tell one base from another.

    Raises:
        UserError: it is not there, damaged, or not what its config says.
    """
    declared = flatten(parameters(arch))
    if _is_ours(path):
        params = store.load(path)[1]
        base_id = store.fingerprint(params)
        placed = {name: place(declared[name], x) for name, x in flatten(params).items()}
        return unflatten(placed), base_id
    recorder = Recorder(open_checkpoint(path))
    params = families.load(recorder.checkpoint, arch, arch.dtype, place=place)
    return params, recorder.fingerprint()


def _is_ours(path):
    """Whether it is a folder of ours or a file of llama2.c, whose name PyTorch gives to
    its pickles too."""
    if is_foreign(path):
        return (pathlib.Path(path) / store.CARD).is_file()
    file = pathlib.Path(path)
    if file.is_file():
        with file.open('rb') as opened:
            if opened.read(2) in _PICKLES:
                raise refuse_pickle(file)
    return True
