"""Factors of our kernels as those of the modules of transformers."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from perl.adapters.peft.modules import Module, turned
from perl.models.architecture import Architecture
from perl.system.errors import UserError
from perl.weights import Dora, Lora


def write_factors(
    arch: Architecture,
    module: Module,
    leaves: Sequence[Any],
    tensors: dict[str, np.ndarray],
    found: dict[str, tuple[int, float]],
) -> None:
    """Adds the tensors of a module, of any shape, and its rank and scale by layer."""
    _check_alike(module, leaves)
    first = next(x for x in leaves if x is not None)
    for i, name in enumerate(module.names):
        stem = name.removesuffix('weight')
        at = i if module.leaves[0].layered else None
        pairs = zip(module.name.paths, leaves, strict=True)
        parts = [_layer(arch, path, leaf, at) for path, leaf in pairs]
        a, b, scale = _joined(module, parts)
        rank = _rank(a, b) or (len(a) if isinstance(first, Dora) else 0)
        if not rank:
            continue
        found[stem.removesuffix('.')] = rank, scale
        ends = ('lora_embedding_A', 'lora_embedding_B')
        if not module.is_table:
            ends = ('lora_A.weight', 'lora_B.weight')
        tensors[f'{stem}{ends[0]}'] = np.ascontiguousarray(a[:rank])
        tensors[f'{stem}{ends[1]}'] = np.ascontiguousarray(b[:, :rank])
        if isinstance(first, Dora):
            magnitudes = [x.magnitude for x in parts]
            joined = module.join(magnitudes, module.outer())
            tensors[f'{stem}lora_magnitude_vector'] = joined


def _check_alike(module, leaves):
    kinds = {type(x) for x in leaves}
    doras = Dora in kinds
    if doras and len(kinds) > 1:
        raise UserError(
            f'export: {module.names[0]} joins kernels of which only some have DoRA; '
            'write --format=merged or --format=bundle'
        )
    if doras and module.is_table:
        raise UserError(
            f'export: {module.names[0]} is an embedding with DoRA, which is not '
            'written; write --format=merged or --format=bundle'
        )
    if any(not isinstance(x, Lora | Dora | None) for x in leaves):
        raise UserError(
            f'export: {module.names[0]} joins kernels of which some are adapted and '
            'some replaced; write --format=merged or --format=bundle'
        )


def _layer(arch, path, leaf, at):
    """An adapter of one layer on the host, in the order of transformers."""
    if leaf is None:
        return None
    leaf = jax.tree.map(lambda x: np.asarray(x if at is None else x[at]), leaf)
    changed = {'b': turned(arch, path, leaf.b, back=False)}
    if isinstance(leaf.scale, tuple):
        changed['scale'] = leaf.scale[at]
    if isinstance(leaf, Dora):
        changed['magnitude'] = turned(arch, path, leaf.magnitude, back=False)
    return type(leaf)(**{**vars(leaf), **changed})


def _same_first(parts):
    real = [x for x in parts if x is not None]
    return len({x.scale for x in real}) == 1 and all(
        np.array_equal(x.a, real[0].a) for x in real
    )


def _joined(module, parts):
    """`A [R, inputs]`, `B [outputs, R]` and the scale of the kernels of a module."""
    real = [x for x in parts if x is not None]
    scale, same = real[0].scale, _same_first(parts)
    flat = [x.a.reshape(-1, x.a.shape[-1]).T for x in real]
    if module.is_table:
        return flat[0], real[0].b.T, scale
    a = flat[0] if same else np.concatenate(flat)
    rank, at, wide = a.shape[0], 0, []
    thin = module.thin(rank)
    for part, leaf in zip(parts, thin, strict=True):
        b = np.zeros(leaf.shape, np.float32)
        if part is not None:
            own = part.b if part.scale == scale else part.b * (part.scale / scale)
            b[at : at + len(own)] = own
            at += 0 if same else len(own)
        wide.append(b)
    return a, module.join(wide, thin), scale


def _rank(a, b):
    """The rank without what was padded with zeros, as `read` does."""
    used = np.flatnonzero(np.any(a, axis=1) | np.any(b, axis=0))
    return int(used[-1]) + 1 if used.size else 0
