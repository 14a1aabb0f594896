"""The base of a run, from whatever `model.path` names: a folder of ours, a llama2.c
file, or a checkpoint of another project."""

import json
import pathlib
from typing import Any

from perl.models import families, store
from perl.models.architecture import Architecture
from perl.models.base_file import has_head
from perl.models.files import is_foreign, open_checkpoint, refuse_pickle, refuse_run
from perl.models.files.recorded import Recorder
from perl.models.heads import HEAD
from perl.system.errors import UserError
from perl.weights.layers import Encode, Place

_PICKLES = (b'PK', b'\x80\x02')  # how a zip archive and a bare pickle begin


def describe(path: str | pathlib.Path, scores: bool = False) -> Architecture:
    """The decoder of a base. For a foreign one, only the config and the names and
    shapes of its tensors are read.

    Args:
        path: of the base.
        scores: whether it may be a classifier, whose parameters have a scalar head.

    Raises:
        UserError: it is not there, damaged, of a family that is not known, or its
            tensors are not those of its config.
    """
    if _is_ours(path):
        arch, params, _ = store.read(path, lambda _, leaf, x: None)
        _check_scores(HEAD in params, scores, path)
        return arch
    checkpoint = open_checkpoint(path)
    if families.is_classifier(checkpoint.config):
        _check_classifier(checkpoint, scores)
    family, arch = families.from_foreign(checkpoint.config, checkpoint.where)
    families.check(checkpoint, family, arch)
    return arch


def _check_classifier(checkpoint, scores):
    """Raises a `UserError` unless a classifier is wanted and has one label."""
    _check_scores(True, scores, checkpoint.where)
    score = checkpoint.tensors.get(families.SCORE)
    if score is not None and score.shape[0] != 1:
        raise UserError(
            f'model.path: {checkpoint.where} has {score.shape[0]} labels; a reward '
            'model has one'
        )


def _check_scores(has_head, wanted, where):
    """Raises a `UserError` where there is a head and a language model is wanted."""
    if has_head and not wanted:
        raise UserError(
            f'model.path: {where} is a classifier, which has no logits; '
            'give the language model that it was made from (a reward of a policy, a '
            'judge and perl.score --model may be such a classifier)'
        )


def is_classifier(path: str | pathlib.Path) -> bool:
    """Whether a path is the folder of a classifier, of transformers or ours; nothing is
    fetched."""
    if (pathlib.Path(path) / store.CARD).is_file():
        return has_head(pathlib.Path(path) / store.ARRAYS)
    try:
        config = json.loads((pathlib.Path(path) / 'config.json').read_bytes())
        return families.is_classifier(config)
    except (OSError, ValueError, AttributeError):  # no JSON object
        return False


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
