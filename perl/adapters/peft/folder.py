"""The files of an adapter of PEFT: which tensors they must have."""

import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from perl.adapters.peft.modules import Module, families_of, modules
from perl.adapters.peft.settings import ARRAYS, REWARD
from perl.models.architecture import Architecture
from perl.models.families import Family
from perl.models.files import Tensor, refuse_pickle
from perl.models.files.tensor_files import tensors_in
from perl.system import jsonl
from perl.system.errors import UserError

PREFIX = 'base_model.model.'
PARTS = ('lora_A.weight', 'lora_B.weight', 'lora_magnitude_vector')
BESIDE = '.base_layer.bias'  # how the name of the bias of a module with factors ends
# of the bias of a module that is saved whole, PEFT writes two more where it is to write
# all biases: that of the base, and the trained one by another name
_COPIES = ('.original_module.', '.modules_to_save.')
TABLE = ('lora_embedding_A', 'lora_embedding_B')
_NOTES = {'bias': 0.0, 'shift': 0.0, 'scale': 1.0}
_KEYS = {*_NOTES, 'note', 'chat'}


def model_of(
    folder: pathlib.Path,
    arch: Architecture,
    scores: bool,
    tensors: Mapping[str, Tensor],
) -> tuple[Family, list[Module]]:
    """The first family that describes the decoder and has all these tensors, and its
    modules. Weights below an adapter (`base_layer`) are those of the base."""
    tried = []
    for family in families_of(arch):
        own = modules(family, arch, scores)
        known = {x for m in own for x in (*factor_names(m), *m.names)}
        names = [x for x in tensors if '.base_layer.' not in x]
        left = [x for x in names if in_memory(family, x) not in known]
        if not left:
            return family, own
        tried.append((len(left), family.name, left[0]))
    _, name, left = min(tried)
    raise UserError(
        f'adapter: {folder / ARRAYS}: {PREFIX}{left} is not a part of a {name} that is '
        'read; give the model that it was trained on'
    )


def tensors_of(folder: pathlib.Path, biases: bool) -> dict[str, Tensor]:
    """The tensors of a folder, none of them read, without the prefix of PEFT.

    Args:
        folder: of the adapter.
        biases: whether biases are trained: that of a module with factors then has the
            name that it has in the model.
    """
    file = folder / ARRAYS
    pickled = folder / 'adapter_model.bin'
    if not file.is_file() and pickled.is_file():
        raise refuse_pickle(pickled)
    if not file.is_file():
        raise UserError(f'adapter: {file} is not there; copy the whole folder')
    found = {}
    for name, tensor in tensors_in(file).items():
        if not name.startswith(PREFIX):
            raise UserError(
                f'adapter: {file}: {name} does not begin with {PREFIX}; save the '
                'adapter with save_pretrained of PEFT'
            )
        name = name.removeprefix(PREFIX)
        if biases and any(part in name for part in _COPIES):
            continue
        if biases and name.endswith(BESIDE):
            name = f'{name.removesuffix(BESIDE)}.bias'
        found[name] = tensor
    return found


def in_memory(family: Family, name: str) -> str:
    """The name in the model in memory; older versions have that of the file."""
    for memory, file in family.renamed.items():
        stem = file.removesuffix('.weight')
        if name.startswith(f'{stem}.'):
            return memory.removesuffix('.weight') + name.removeprefix(stem)
    return name


def factor_names(module: Module) -> list[str]:
    """The tensors of the factors that a module may have in PEFT."""
    if not module.is_kernel:
        return []
    parts = (*PARTS[2:], *TABLE) if module.is_table else PARTS
    return [f'{x.removesuffix("weight")}{part}' for x in module.names for part in parts]


def array_of(
    folder: pathlib.Path,
    tensors: Mapping[str, Tensor],
    name: str,
    shape: tuple[int, ...],
) -> np.ndarray:
    """A tensor `[*shape]`, where it has the expected shape."""
    if name not in tensors:
        raise UserError(
            f'adapter: {folder / ARRAYS} has no {PREFIX}{name}; copy it again'
        )
    array = tensors[name].read()
    if array.shape != shape:
        rank = ' (its ranks are not those of the config)' if 'lora_' in name else ''
        raise UserError(
            f'adapter: {folder / ARRAYS}: {PREFIX}{name} has shape {array.shape}, the '
            f'config and this model want {shape}{rank}; give the model that it was '
            'trained on'
        )
    return array


def notes_of(folder: pathlib.Path) -> dict[str, Any]:
    """What `write` put into `reward.json`, since the files of a classifier have no
    place for it; defaults where there is no such file."""
    file = folder / REWARD
    values = {**_NOTES, **(jsonl.load(file) if file.is_file() else {})}
    numbers = all(
        type(values[k]) in (int, float) and math.isfinite(values[k]) for k in _NOTES
    )
    flag = isinstance(values.get('chat', False), bool)
    if values.keys() - _KEYS or not (numbers and flag) or values['scale'] <= 0:
        raise UserError(f'adapter: {file} is damaged; copy it again')
    return values


def learned_messages(folder: pathlib.Path) -> bool:
    """Whether a reward model that `write` left was trained on messages."""
    return bool(notes_of(folder).get('chat'))
