"""Factors of the modules of transformers as those of our kernels."""

import pathlib
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from perl.adapters.peft.folder import (
    PARTS,
    PREFIX,
    TABLE,
    array_of,
    factor_names,
)
from perl.adapters.peft.modules import Module, turned
from perl.adapters.peft.settings import ARRAYS, CONFIG, Settings
from perl.models.architecture import Architecture
from perl.models.files import Tensor
from perl.system.errors import UserError
from perl.weights import Dora, Lora


def read_factors(
    folder: pathlib.Path,
    arch: Architecture,
    settings: Settings,
    module: Module,
    tensors: Mapping[str, Tensor],
) -> dict[str, Lora | Dora]:
    """The adapters of the kernels of a module, by path; none where it has none."""
    parts = TABLE if module.is_table else PARTS[:2]
    _check_targets(folder, settings, module, tensors, parts[0])
    if not any(x in tensors for x in factor_names(module)):
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
            array_of(folder, tensors, f'{stem}{part}', shape)
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
            magnitude = array_of(folder, tensors, f'{stem}{PARTS[2]}', shape)
        layers.append((*pair, magnitude, settings.scale(rank, alpha)))
    if settings.dora and None in layers:
        raise UserError(
            f'adapter: {folder}: {module.names[0]} has DoRA in some layers only, which '
            'is not read; merge it into its base with merge_and_unload of PEFT'
        )
    return _stacked(arch, settings, module, layers)


def _check_targets(folder, settings, module, tensors, part):
    """Raises a `UserError` where the config says that a module has factors, and the
    folder has none: if the base had more layers than the adapter, some would stay
    unchanged."""
    for name in module.names if module.is_kernel else ():
        stem = name.removesuffix('weight')
        wanted = settings.wants(stem.removesuffix('.')) and name not in tensors
        if wanted and f'{stem}{part}' not in tensors:
            raise UserError(
                f'adapter: {folder / ARRAYS} has no {PREFIX}{stem}{part}, which '
                f'target_modules of {CONFIG} names; give the model that it was trained '
                'on, or copy it again'
            )


def _stacked(arch, settings, module, layers):
    real = [x for x in layers if x is not None]
    rank = max(a.shape[0] for a, *_ in real)
    scales = tuple((layer or real[0])[3] for layer in layers)
    scale = scales[0] if len(set(scales)) == 1 else scales
    dtype = real[0][0].dtype
    a_all, b_all, m_all = [], [], []
    for layer in layers:
        a, b = np.zeros((rank, _inputs(module)), dtype), None
        b = np.zeros((_outputs(module), rank), dtype)
        if layer is not None:
            a[: layer[0].shape[0]] = layer[0]
            b[:, : layer[1].shape[1]] = layer[1]
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


def _inputs(module):
    leaf = module.leaves[0]
    return int(np.prod(leaf.shape[leaf.layered : leaf.layered + leaf.inputs]))


def _outputs(module):
    return sum(int(np.prod(x.shape[x.layered + x.inputs :])) for x in module.leaves)
