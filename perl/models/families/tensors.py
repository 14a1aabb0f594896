"""Which foreign tensors a checkpoint must have, and whether it has them."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from perl.models.architecture import Architecture, parameters
from perl.models.families.family import Family
from perl.models.families.names import Name
from perl.models.families.table import is_classifier
from perl.models.files.checkpoint import Checkpoint, Tensor
from perl.models.heads import HEAD, head_leaves
from perl.system.errors import UserError
from perl.weights import Leaf, flatten

SCORE = 'score.weight'
KERNEL = f'{HEAD}/kernel'
_SCORE = Name(SCORE, (KERNEL,), 'same')


def declared(arch: Architecture, classifier: bool) -> dict[str, Leaf]:
    """The parameters that a checkpoint has, by path; of a classifier with its kernel as
    the one row of `score.weight`."""
    leaves = flatten(parameters(arch))
    if classifier:
        kernel = head_leaves(arch.width)['kernel']
        row = kernel._replace(shape=(1, arch.width), axes=(None, *kernel.axes))
        leaves[KERNEL] = row
    return leaves


def names_of(family: Family, leaves: Mapping[str, Leaf]) -> list[Name]:
    """The foreign names of declared parameters, each of which has exactly one."""
    names = [
        name
        for name in (*family.names, _SCORE)
        if all(path in leaves for path in name.paths)
    ]
    named = [path for name in names for path in name.paths]
    missing = [path for path in leaves if named.count(path) != 1]
    if missing:
        raise UserError(
            f'model.family: {family.name} has no tensor for {missing[0]}; take another '
            'family, or our own format'
        )
    return names


def foreign_names(name: Name, layers: int) -> list[str]:
    """The tensors of a name: one, or one for each layer."""
    if not name.layered:
        return [name.foreign]
    return [name.foreign.format(i) for i in range(layers)]


def checked(
    checkpoint: Checkpoint, family: Family, arch: Architecture
) -> dict[str, Tensor]:
    """The tensors by the names of a whole model; none of them is read, but a second
    copy of a tied embedding.

    Raises:
        UserError: one is missing, has another shape, or would not be used.
    """
    where, tensors = checkpoint.where, _by_our_names(checkpoint.tensors, family)
    leaves = declared(arch, is_classifier(checkpoint.config))
    wanted = {}
    for name in names_of(family, leaves):
        shape = name.shape([leaves[path] for path in name.paths])
        wanted |= dict.fromkeys(foreign_names(name, arch.layers), shape)
    for name, shape in wanted.items():
        if name not in tensors:
            raise UserError(
                f'model.path: {where} has no tensor {name}; copy the whole model'
            )
        if tuple(tensors[name].shape) != shape:
            raise UserError(
                f'model.path: {where}: {name} has shape {tuple(tensors[name].shape)}, '
                f'the config wants {shape}; copy config and weights of one model'
            )
    for name in tensors:
        if name in wanted or re.fullmatch(family.buffers, name):
            continue
        if name == _named(family, 'unembed') and _is_embedding(tensors, family):
            continue
        raise UserError(
            f'model.path: {where}: the tensor {name} would not be used; the config '
            'does not describe this model'
        )
    return {name: tensors[name] for name in wanted}


def _by_our_names(tensors: Mapping[str, Tensor], family: Family) -> dict[str, Any]:
    """The tensors by the names of the family: a file of the model without its heads
    leaves out the prefix of all names."""
    tensors = {family.renamed.get(name, name): x for name, x in tensors.items()}
    if any(name.startswith(family.prefix) for name in tensors):
        return tensors
    heads = (_named(family, 'unembed'), SCORE)
    return {
        name if name in heads else f'{family.prefix}{name}': tensor
        for name, tensor in tensors.items()
    }


def _named(family, path):
    """The foreign tensor that is one parameter."""
    return next(name.foreign for name in family.names if name.paths == (path,))


def _is_embedding(tensors, family):
    """Whether the unembedding of a tied model is its embedding indeed."""
    both = [tensors[_named(family, path)].read() for path in ('embed', 'unembed')]
    return np.array_equal(*both)
