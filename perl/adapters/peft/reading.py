"""A delta of an adapter that PEFT trained."""

import dataclasses
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from perl.adapters.peft.modules import Module, families_of, modules, turned
from perl.adapters.peft.settings import ARRAYS, CONFIG, REWARD, Settings, read_settings
from perl.adapters.tunings import LoraTuning, kind_named
from perl.models.architecture import Architecture
from perl.models.families.tensors import KERNEL
from perl.models.files import Tensor, refuse_pickle
from perl.models.files.tensor_files import tensors_in
from perl.models.heads import HEAD
from perl.system import jsonl
from perl.system.errors import UserError
from perl.weights import Dora, Lora, unflatten

PREFIX = 'base_model.model.'
_PARTS = ('lora_A.weight', 'lora_B.weight', 'lora_magnitude_vector')
_TABLE = ('lora_embedding_A', 'lora_embedding_B')
_HEAD = {'bias': 0.0, 'shift': 0.0, 'scale': 1.0}


@dataclasses.dataclass(frozen=True)
class Imported:
    """An adapter of PEFT as a delta.

    Attributes:
        delta: LoRA or DoRA by kernel, and what is held whole, as arrays.
        tuning: which trains leaves such as these.
        shift, scale: reported rewards are `(raw - shift) / scale`.
        settings: as the folder has them.
    """

    delta: Any
    tuning: LoraTuning
    shift: float
    scale: float
    settings: Settings


def is_peft(folder: str | pathlib.Path) -> bool:
    """Whether a folder is an adapter of PEFT."""
    return (pathlib.Path(folder) / CONFIG).is_file()


def read(folder: str | pathlib.Path, arch: Architecture) -> Imported:
    """The adapter of a folder for a decoder, exactly.

    A projection that joins several of ours (`qkv_proj`) gives each of them a copy of
    its first factor. Where ranks or scales differ between the layers of one kind of
    kernel, lower ranks are padded with zeros and scales are multiplied into `b`.

    Args:
        folder: that PEFT's `save_pretrained` or `write` wrote.
        arch: the decoder that it was trained on.

    Raises:
        UserError: the adapter is of a kind that is not read, damaged, or of a decoder
            of other names or shapes.
    """
    folder = pathlib.Path(folder)
    settings = read_settings(folder)
    tensors = _tensors(folder)
    scores = settings.scores or 'score.weight' in tensors
    settings = dataclasses.replace(settings, scores=scores)
    family, own = _model(folder, arch, scores, tensors)
    flat, tensors = {}, {_in_memory(family, name): x for name, x in tensors.items()}
    for module in own:
        _check_tied(folder, arch, scores, module, tensors)
        flat |= _factors(folder, arch, settings, module, tensors)
        flat |= _whole(folder, arch, module, tensors)
    if not flat:
        raise UserError(f'adapter: {folder / ARRAYS} has no factors; copy it again')
    head = _head(folder)
    if KERNEL in flat:
        flat[KERNEL] = flat[KERNEL][0]
        flat[f'{HEAD}/bias'] = jnp.asarray(head['bias'], jnp.float32)
    elif scores:
        raise UserError(
            f'adapter: {folder / ARRAYS} has no {PREFIX}score.weight, so the reward '
            'model has no head; save it with modules_to_save=["score"]'
        )
    tuning = _tuning(settings, flat)
    return Imported(unflatten(flat), tuning, head['shift'], head['scale'], settings)


def _model(folder, arch, scores, tensors):
    """The family that has all these tensors, of those that describe the decoder, and
    its modules. Weights below an adapter (`base_layer`) are those of the base."""
    tried = []
    for family in families_of(arch):
        own = modules(family, arch, scores)
        known = {x for m in own for x in (*_factor_names(m), *m.names)}
        names = [x for x in tensors if '.base_layer.' not in x]
        left = [x for x in names if _in_memory(family, x) not in known]
        if not left:
            return family, own
        tried.append((len(left), family.name, left[0]))
    _, name, left = min(tried)
    raise UserError(
        f'adapter: {folder / ARRAYS}: {PREFIX}{left} is not a part of a {name} that is '
        'read; give the model that it was trained on'
    )


def _tensors(folder) -> dict[str, Tensor]:
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
        found[name.removeprefix(PREFIX)] = tensor
    return found


def _in_memory(family, name):
    """The name in the model in memory; older versions have that of the file."""
    for memory, file in family.renamed.items():
        stem = file.removesuffix('.weight')
        if name.startswith(f'{stem}.'):
            return memory.removesuffix('.weight') + name.removeprefix(stem)
    return name


def _factor_names(module: Module) -> list[str]:
    if not module.is_kernel:
        return []
    parts = (*_PARTS[2:], *_TABLE) if module.is_table else _PARTS
    return [f'{x.removesuffix("weight")}{part}' for x in module.names for part in parts]


def _factors(folder, arch, settings, module, tensors: Mapping[str, Tensor]):
    """The adapters of the kernels of a module, by path; none where it has none."""
    parts = _TABLE if module.is_table else _PARTS[:2]
    if not any(x in tensors for x in _factor_names(module)):
        return {}
    layers = []
    for name in module.names:
        stem = name.removesuffix('weight')
        if not any(f'{stem}{part}' in tensors for part in parts):
            layers.append(None)
            continue
        module_name = stem.removesuffix('.')
        rank, alpha = settings.of(module_name)
        shapes = [(rank, _inputs(module)), (_outputs(module), rank)]
        pair = [
            _array(folder, tensors, f'{stem}{part}', shape)
            for part, shape in zip(parts, shapes, strict=True)
        ]
        magnitude = None
        if settings.dora:
            if module.is_table:
                raise UserError(
                    f'adapter: {folder}: {module_name} is an embedding with DoRA, '
                    'which is not read; leave it out of target_modules'
                )
            shape = (_outputs(module),)
            magnitude = _array(folder, tensors, f'{stem}{_PARTS[2]}', shape)
        layers.append((*pair, magnitude, settings.scale(rank, alpha)))
    if settings.dora and (None in layers or len({x[0].shape for x in layers}) > 1):
        raise UserError(
            f'adapter: {folder}: {module.names[0]} has DoRA of other ranks in other '
            'layers, or in some layers only, which is not read; train it with one rank'
        )
    return _stacked(arch, settings, module, layers)


def _stacked(arch, settings, module, layers):
    real = [x for x in layers if x is not None]
    rank = max(a.shape[0] for a, *_ in real)
    scale = real[0][3]
    dtype = real[0][0].dtype
    a_all, b_all, m_all = [], [], []
    for layer in layers:
        a, b = np.zeros((rank, _inputs(module)), dtype), None
        b = np.zeros((_outputs(module), rank), dtype)
        if layer is not None:
            a[: layer[0].shape[0]] = layer[0]
            own = layer[1]
            if layer[3] != scale:
                own = own * np.asarray(layer[3] / scale, own.dtype)
            b[:, : own.shape[1]] = own
        a_all.append(a.T)
        b_all.append(_split(module, b, module.thin(rank)))
        if settings.dora:
            m_all.append(module.split(layer[2], module.outer()))
    found = {}
    for i, (path, leaf) in enumerate(
        zip(module.name.paths, module.leaves, strict=True)
    ):
        inputs = leaf.shape[leaf.layered : leaf.layered + leaf.inputs]
        arrays = [
            [x.reshape(*inputs, rank) for x in a_all],
            [turned(arch, path, x[i], back=True) for x in b_all],
            [turned(arch, path, x[i], back=True) for x in m_all],
        ]
        a, b, *m = [
            jnp.asarray(np.stack(x) if leaf.layered else x[0], jnp.float32)
            for x in arrays
            if x
        ]
        kind = Dora(a, b, *m, scale) if m else Lora(a, b, scale)
        found[path] = kind.with_dropout(settings.dropout)
    return found


def _split(module, b, leaves):
    if module.is_table:
        return [np.ascontiguousarray(b.T)]
    return module.split(b, leaves)


def _whole(folder, arch, module, tensors):
    """What a module holds whole, by path; nothing where it does not."""
    if not any(name in tensors for name in module.names):
        return {}
    shape, parts = module.name.shape(module.leaves), []
    for name in module.names:
        array = _array(folder, tensors, name, shape)
        parts.append(module.name.ours(array, module.leaves))
    found = {}
    for i, (path, leaf) in enumerate(
        zip(module.name.paths, module.leaves, strict=True)
    ):
        arrays = [turned(arch, path, x[i], back=True) for x in parts]
        array = np.stack(arrays) if leaf.layered else arrays[0]
        found[path] = jnp.asarray(array, jnp.float32)
    return found


def _check_tied(folder, arch, scores, module, tensors):
    """PEFT unties an embedding that it trains; here both change together."""
    names = [*_factor_names(module), *module.names]
    if not arch.tied or scores or module.name.paths != ('embed',):
        return
    if any(name in tensors for name in names):
        raise UserError(
            f'adapter: {folder}: {names[-1]} is trained, but the base shares it with '
            'the unembedding, which PEFT leaves as it was; untie the base, or leave it '
            'out'
        )


def _array(folder, tensors, name, shape):
    """A tensor of an expected shape `shape`."""
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


def _inputs(module):
    leaf = module.leaves[0]
    return int(np.prod(leaf.shape[leaf.layered : leaf.layered + leaf.inputs]))


def _outputs(module):
    return sum(int(np.prod(x.shape[x.layered + x.inputs :])) for x in module.leaves)


def _head(folder):
    """What a classifier has no place for, where `write` left it."""
    file = folder / REWARD
    values = {**_HEAD, **(jsonl.load(file) if file.is_file() else {})}
    numbers = all(isinstance(values[k], int | float) for k in _HEAD)
    if values.keys() - {*_HEAD, 'note'} or not numbers or values['scale'] <= 0:
        raise UserError(f'adapter: {file} is damaged; copy it again')
    return values


def _tuning(settings, flat):
    """The tuning whose rules name every kernel and its rank."""
    ranks = {p: x.a.shape[-1] for p, x in flat.items() if isinstance(x, Lora | Dora)}
    kind = kind_named('dora' if settings.dora else 'lora')
    targets = tuple(f'{re.escape(path)}:{rank}' for path, rank in ranks.items())
    return kind(
        rank=settings.rank,
        alpha=float(settings.alpha),
        rank_stabilised=settings.rank_stabilised,
        dropout=settings.dropout,
        **({'targets': targets} if targets else {}),
    )
