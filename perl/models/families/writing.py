"""A decoder of this package as a foreign checkpoint."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from perl.models.architecture import Architecture
from perl.models.families.family import Family
from perl.models.families.names import Name
from perl.models.families.table import FAMILIES, to_config
from perl.models.families.tensors import KERNEL, declared, foreign_names, names_of
from perl.models.files.checkpoint import Checkpoint, Tensor
from perl.models.heads import HEAD
from perl.system.errors import UserError
from perl.weights import Leaf, flatten

# ids that transformers would else take from the first models of the family
_NO_IDS = dict.fromkeys(('bos_token_id', 'eos_token_id', 'pad_token_id'))


def to_foreign(
    arch: Architecture,
    params: Any,
    family: Family | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """The checkpoint of a decoder; with a scalar head it is one of a classifier with
    one label, without the unembedding.

    `load` of the result gives the same numbers, bit for bit, where the layout of
    rotations is `halves`; `pairs` are written as halves.

    Args:
        arch: the decoder.
        params: plain arrays, merged.
        family: that it is written as; None takes the first one that describes it.
        extra: keys for the config, such as the ids of special tokens.

    Raises:
        UserError: no family describes the decoder, a parameter is missing, or the bias
            of the head is not 0, which classifiers have not.
    """
    if arch.rope_layout == 'pairs':
        params = {**params, 'layers': _halves(arch, params['layers'])}
        arch = dataclasses.replace(arch, rope_layout='halves')
    flat = flatten(params)
    scores = KERNEL in flat
    config = to_config(arch, family)
    family = next(x for x in FAMILIES.values() if x.model_type == config['model_type'])
    if scores:
        flat.pop('unembed', None)
        flat[KERNEL] = _scores(flat[KERNEL], flat.pop(f'{HEAD}/bias'))
        labels = {'id2label': {'0': 'LABEL_0'}, 'label2id': {'LABEL_0': 0}}
        config |= {'problem_type': 'regression', **labels}
    leaves = declared(arch, scores)
    if scores:
        leaves.pop('unembed', None)
    if missing := sorted(leaves.keys() ^ flat.keys()):
        raise UserError(
            f'export: {missing[0]} does not match the parameters of the decoder; '
            'merge adapters first'
        )
    config |= {'architectures': [family.classes[scores]], **_NO_IDS, **(extra or {})}
    tensors = {}
    for name in names_of(family, leaves):
        own = [leaves[path] for path in name.paths]
        arrays = [flat[path] for path in name.paths]
        for i, foreign in enumerate(foreign_names(name, arch.layers)):
            tensors[foreign] = _tensor(name, own, arrays, i)
    return Checkpoint(config, tensors)


def _tensor(name: Name, leaves: Sequence[Leaf], arrays: Sequence[Any], layer: int):
    """A foreign tensor that is made when it is read."""

    def read():
        parts = [x[layer] if name.layered else x for x in arrays]
        return name.theirs([np.asarray(jax.device_get(x)) for x in parts], leaves)

    return Tensor(name.shape(leaves), np.dtype(arrays[0].dtype), read)


def _scores(kernel, bias):
    if float(bias):
        raise UserError(
            f'export: the head has the bias {float(bias):.4g}, and classifiers have '
            'none; write our own format'
        )
    return np.asarray(kernel)[None]


def _halves(arch, layers):
    """Layers whose rotations turn neighbours, with their components in halves."""
    order = np.arange(arch.head_width)
    turned = order[: arch.turned].reshape(-1, 2).T.ravel()
    order = np.concatenate([turned, order[arch.turned :]])
    swap = functools.partial(np.take, indices=order, axis=-1)
    own = dict(layers['attention'])
    for name in ('q', 'k', 'q_bias', 'k_bias', 'q_norm', 'k_norm'):
        if name in own:
            own[name] = swap(np.asarray(own[name]))
    return {**layers, 'attention': own}
