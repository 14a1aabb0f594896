"""A delta of an adapter that PEFT trained."""

import dataclasses
import pathlib
import re
from typing import Any

import jax.numpy as jnp
import numpy as np

from perl.adapters.peft.folder import (
    PREFIX,
    array_of,
    factor_names,
    in_memory,
    model_of,
    notes_of,
    tensors_of,
)
from perl.adapters.peft.modules import turned
from perl.adapters.peft.settings import ARRAYS, CONFIG, Settings, read_settings
from perl.adapters.peft.unjoining import read_factors
from perl.adapters.tunings import LoraTuning, kind_named
from perl.models.architecture import Architecture
from perl.models.families.tensors import KERNEL
from perl.models.heads import HEAD
from perl.system.errors import UserError
from perl.weights import Dora, Lora, unflatten


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
    tensors = tensors_of(folder, settings.bias != 'none')
    scores = settings.scores or 'score.weight' in tensors
    settings = dataclasses.replace(settings, scores=scores)
    _check_unembedding(folder, arch, tensors)
    family, own = model_of(folder, arch, scores, tensors)
    flat, tensors = {}, {in_memory(family, name): x for name, x in tensors.items()}
    for module in own:
        _check_tied(folder, arch, scores, module, tensors)
        flat |= read_factors(folder, arch, settings, module, tensors)
        flat |= _whole(folder, arch, module, tensors)
    if not flat:
        raise UserError(f'adapter: {folder / ARRAYS} has no factors; copy it again')
    head = notes_of(folder)
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


def _whole(folder, arch, module, tensors):
    """The whole parameters that a module holds, by path; empty where it has none."""
    held = [name for name in module.names if name in tensors]
    if not held:
        return {}
    if len(held) < len(module.names):
        raise UserError(
            f'adapter: {folder / ARRAYS} has {PREFIX}{held[0]}, but not the same of '
            'every layer, which is not read; train it in all layers, or copy it again'
        )
    shape, parts = module.name.shape(module.leaves), []
    for name in module.names:
        array = array_of(folder, tensors, name, shape)
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
    names = [*factor_names(module), *module.names]
    if not arch.tied or scores or module.name.paths != ('embed',):
        return
    if any(name in tensors for name in names):
        raise UserError(
            f'adapter: {folder}: {names[-1]} is trained, but the base shares it with '
            'the unembedding, which PEFT leaves as it was; untie the base, or leave it '
            'out'
        )


def _check_unembedding(folder, arch, tensors):
    """As `_check_tied`, of an unembedding that is the embedding here."""
    trained = [x for x in tensors if x.startswith(('lm_head.', 'embed_out.'))]
    trained = [x for x in trained if '.base_layer.' not in x]
    if arch.tied and trained:
        raise UserError(
            f'adapter: {folder}: {trained[0]} is trained, but the base shares it with '
            'the embedding, which PEFT leaves as it was; untie the base, or leave it '
            'out'
        )


def _tuning(settings, flat):
    """The tuning whose rules name every kernel and its rank, and what is held whole."""
    ranks = {p: x.a.shape[-1] for p, x in flat.items() if isinstance(x, Lora | Dora)}
    kind = kind_named('dora' if settings.dora else 'lora')
    targets = tuple(f'{re.escape(path)}:{rank}' for path, rank in ranks.items())
    whole = (x for x in flat if x not in ranks and not x.startswith(f'{HEAD}/'))
    return kind(
        rank=settings.rank,
        alpha=float(settings.alpha),
        rank_stabilised=settings.rank_stabilised,
        dropout=settings.dropout,
        modules_to_save=tuple(map(re.escape, whole)),
        **({'targets': targets} if targets else {}),
    )
