"""The `adapter_config.json` of PEFT, made."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from perl.adapters.peft.settings import TASKS, Settings


def make_config(
    found: Mapping[str, tuple[int, float]],
    tails: Mapping[str, str],
    settings: Settings,
    base: str,
    transposed: bool,
) -> dict[str, Any]:
    """The content of an `adapter_config.json`.

    Args:
        found: the rank and scale of each module that has factors.
        tails: of all kernels that could have them, the shortest name by which a module
            and its like in the other layers are told from the rest.
        settings: kinds of the numbers; ranks and alphas are those of `found`.
        base: the name or path of the base.
        transposed: whether kernels have their inputs first, as in GPT-2.
    """
    alphas = {name: _alpha(settings, *x) for name, x in found.items()}
    ranks = {name: rank for name, (rank, _) in found.items()}
    rank, alpha = _commonest(ranks, 8), _commonest(alphas, 8)
    return {
        'peft_type': 'LORA',
        'task_type': TASKS[settings.scores],
        'base_model_name_or_path': base,
        'inference_mode': True,
        'bias': settings.bias,
        'r': rank,
        'lora_alpha': alpha,
        'lora_dropout': settings.dropout,
        'use_rslora': settings.rank_stabilised,
        'use_dora': settings.dora,
        'fan_in_fan_out': transposed,
        'rank_pattern': _pattern(ranks, rank, tails),
        'alpha_pattern': _pattern(alphas, alpha, tails),
        'target_modules': _targets(ranks, tails),
        'modules_to_save': sorted(settings.saved) or None,
    }


def _pattern(values, default, tails):
    """The values other than the default, by the shortest names that are right."""
    pattern = {}
    for name, value in values.items():
        alike = all(values.get(other) == value for other in _kin(name, tails))
        if value != default:
            pattern[tails[name] if alike else name] = value
    return pattern


def _targets(names, tails):
    """The modules by short names where all layers have them, else by whole names."""
    whole = {x: all(other in names for other in _kin(x, tails)) for x in names}
    return sorted({tails[x] if whole[x] else x for x in names})


def _kin(name, tails):
    """The same module in all layers."""
    return [other for other, tail in tails.items() if tail == tails[name]]


def _alpha(settings, rank, scale):
    alpha = scale * (math.sqrt(rank) if settings.rank_stabilised else rank)
    for digits in (0, 3, 6, 9):  # the shortest number that gives the very same scale
        short = round(alpha, digits)
        if settings.scale(rank, short) == scale:
            return int(short) if short == int(short) else short
    return alpha


def _commonest(values, default):
    return Counter(values.values()).most_common(1)[0][0] if values else default
