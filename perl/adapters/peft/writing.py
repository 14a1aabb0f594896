"""A delta as an adapter that PEFT loads."""

import pathlib
from typing import Any

import jax
import numpy as np

from perl.adapters.peft.folder import PREFIX
from perl.adapters.peft.joining import write_factors
from perl.adapters.peft.making import make_config
from perl.adapters.peft.modules import families_of, modules, tails, turned
from perl.adapters.peft.saving import name_whole
from perl.adapters.peft.settings import ARRAYS, CONFIG, REWARD, Settings
from perl.adapters.tree import is_adapter
from perl.adapters.tunings import LoraTuning, Tuning
from perl.models.architecture import Architecture
from perl.models.families import Family
from perl.models.families.tensors import KERNEL
from perl.models.heads import HEAD
from perl.system import arrays as files
from perl.system import jsonl
from perl.system.errors import UserError
from perl.weights import Dora, Lora, flatten


def write(
    folder: pathlib.Path,
    arch: Architecture,
    delta: Any,
    tuning: Tuning | None,
    *,
    family: Family | None = None,
    base: str = '',
    shift: float = 0.0,
    scale: float = 1.0,
    chat: bool = False,
) -> None:
    """Writes `adapter_model.safetensors`, and `adapter_config.json` last; with a scalar
    head, of a classifier with one label.

    Kernels that a model of transformers joins have one pair of factors there: their own
    where their first factors are equal, else all of them side by side (the ranks add
    up, and the product is the same). A classifier has no bias, shift or scale of its
    score: where ours has, `reward.json` beside it says so.

    Args:
        folder: made where it is not there.
        arch: the decoder.
        delta: of LoRA or DoRA, and weights in full, which `name_whole` names.
        tuning: how it was trained.
        family: whose names its modules have; None takes the first that describes the
            decoder.
        base: its name or path, for the config.
        shift, scale: of reported rewards, `(raw - shift) / scale`.
        chat: whether it was trained on messages.

    Raises:
        UserError: PEFT has no name for the tuning, or for a part of the delta.
    """
    flat = _checked(arch, delta, tuning)
    scores = KERNEL in flat
    bias = float(flat.pop(f'{HEAD}/bias')) if scores else 0.0
    if scores:
        flat[KERNEL] = flat[KERNEL][None]
    family = family or families_of(arch)[0]
    own = modules(family, arch, scores)
    tensors, found, saved, biases = _tensors(arch, own, flat)
    if flat:
        raise UserError(
            f'export: {next(iter(flat))} has no name in a {family.name} of '
            'transformers; write --format=bundle'
        )
    settings = Settings(
        8, 8, tuning.rank_stabilised, tuning.adapter is Dora, tuning.dropout,
        saved=saved, bias=biases, scores=scores,
    )  # fmt: skip
    transposed = any(x.name.layout == 'in_out' for x in own if x.is_kernel)
    config = make_config(found, tails(own), settings, base, transposed)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG, REWARD):
        (folder / name).unlink(missing_ok=True)
    files.save(folder / ARRAYS, {f'{PREFIX}{k}': x for k, x in tensors.items()})
    if scores:
        write_reward(folder, bias, shift, scale, chat)
    jsonl.save(folder / CONFIG, config)


def _checked(arch, delta, tuning):
    """The leaves of a delta on the host by path, if PEFT has names for all of them."""
    if not isinstance(tuning, LoraTuning):
        raise UserError(
            f'export: PEFT has no name for the tuning {_label(tuning)}; write '
            '--format=merged or --format=bundle'
        )
    flat = dict(flatten(jax.device_get(delta)))
    for path, leaf in flat.items():
        # by type: factors on sums of inputs (QA-LoRA) are a kind of Lora too
        if is_adapter(leaf) and type(leaf) not in (Lora, Dora):
            raise UserError(
                f'export: {path} has an adapter of kind {type(leaf).__name__}, which '
                'PEFT has no name for; write --format=merged or --format=bundle'
            )
    if arch.tied and KERNEL not in flat and 'embed' in flat:
        raise UserError(
            'export: the adapter changes the embedding and the unembedding together, '
            'and PEFT would change the embedding alone; write --format=merged'
        )
    return flat


def _tensors(arch, own, flat):
    """The tensors of the modules, the rank and the scale of each that has factors, the
    modules that are held whole, and which biases are trained; takes what it writes out
    of `flat`."""
    tensors, found, whole = {}, {}, []
    for module in own:
        leaves = [flat.pop(path, None) for path in module.name.paths]
        if any(isinstance(x, Lora | Dora) for x in leaves):
            write_factors(arch, module, leaves, tensors, found)
        elif any(x is not None for x in leaves):
            _write_whole(arch, module, leaves, tensors)
            whole += module.names
    names = {name: module.name.paths for module in own for name in module.names}
    saved, biases, renamed = name_whole(names, found, whole)
    return {renamed.get(x, x): y for x, y in tensors.items()}, found, saved, biases


def write_reward(
    folder: pathlib.Path, bias: float, shift: float, scale: float, chat: bool
) -> None:
    """Writes `reward.json` where a score is not the reported reward, or the model was
    trained on messages (`chat`): how the reward follows, and that it was."""
    values: dict[str, Any] = {}
    if (bias, shift, scale) != (0.0, 0.0, 1.0):
        note = f'reward = (score + {bias:.6g} - {shift:.6g}) / {scale:.6g}'
        values = {'bias': bias, 'shift': float(shift), 'scale': float(scale)}
        values['note'] = note
    if chat:
        values['chat'] = True
    if values:
        jsonl.save(folder / REWARD, values)


def _write_whole(arch, module, leaves, tensors):
    """Adds what is held whole."""
    if any(x is None for x in leaves):
        raise UserError(
            f'export: {module.names[0]} joins parameters of which some are trained; '
            'write --format=merged or --format=bundle'
        )
    for i, name in enumerate(module.names):
        parts = [
            turned(arch, path, np.asarray(x[i] if leaf.layered else x), back=False)
            for path, x, leaf in zip(
                module.name.paths, leaves, module.leaves, strict=True
            )
        ]
        tensors[name] = module.name.theirs(parts, module.leaves)


def _label(tuning):
    return 'none' if tuning is None else tuning.name
