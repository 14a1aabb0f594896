"""The base of a run, from whatever `model.path` names: a folder of ours, a llama2.c
file, or a checkpoint of another project."""

import pathlib
from typing import Any

from perl.models import families, store
from perl.models.architecture import Architecture
from perl.models.files import is_foreign, open_checkpoint, refuse_pickle, refuse_run
from perl.models.files.recorded import Recorder
from perl.system.errors import UserError
from perl.weights.layers import Encode, Place

_PICKLES = (b'PK', b'\x80\x02')  # how a zip archive and a bare pickle begin


def describe(path: str | pathlib.Path) -> Architecture:
    """The decoder of a base. For a foreign one, only the config and the names and
    shapes of its tensors are read.

    Raises:
        UserError: it is not there, damaged, of a family that is not known, or its
            tensors are not those of its config.
    """
    if _is_ours(path):
        return store.read(path, lambda _, leaf, x: None)[0]
    checkpoint = open_checkpoint(path)
    if families.is_classifier(checkpoint.config):
        raise UserError(
            f'model.path: {checkpoint.where} is a classifier, which has no logits; '
            'give the language model that it was made from'
        )
    family, arch = families.from_foreign(checkpoint.config, checkpoint.where)
    families.check(checkpoint, family, arch)
    return arch


def load(
    path: str | pathlib.Path,
    arch: Architecture,
    place: Place,
    encode: Encode | None = None,
) -> tuple[Any, str]:
    """The parameters of a base, each placed as soon as it is read.

    So the file is never in memory whole beside them: at its peak there is one parameter
    more, or one layer of a parameter that is encoded.

    Args:
        path: of the base.
        arch: its decoder, run as the config wants.
        place: is given the path of each parameter, what is declared of it, and its
            numbers.
        encode: for a path and its declaration, what makes of one layer that which
            `place` gets of it, stacked; None leaves the layers as they are.

    Returns:
        The parameters, and 16 hexadecimal digits that tell one base from another.

    Raises:
        UserError: it is not there, damaged, or not what its config says.
    """
    if _is_ours(path):
        return store.read(path, place, encode)[1:]
    recorder = Recorder(open_checkpoint(path))
    params = families.load(recorder.checkpoint, arch, arch.base_dtype, place, encode)
    return params, recorder.fingerprint()


def _is_ours(path):
    """Whether it is a folder of ours or a file of llama2.c, whose name PyTorch gives to
    its pickles too."""
    if is_foreign(path):
        return (pathlib.Path(path) / store.CARD).is_file()
    file = pathlib.Path(path)
    refuse_run(file)
    if file.is_file():
        with file.open('rb') as opened:
            if opened.read(2) in _PICKLES:
                raise refuse_pickle(file)
    return True
