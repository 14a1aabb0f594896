"""Rotary positions in foreign configs: `rope_parameters`, as transformers 5 writes
them, and `rope_theta` with `rope_scaling`, as everybody else does."""

import math
from typing import Any

from perl.models.architecture import Architecture
from perl.models.families.config import Config
from perl.models.scaling import Scaling

_FACTORS = {'llama3': {'low': 'low_freq_factor', 'high': 'high_freq_factor'}}
_FACTORS['yarn'] = {'slow': 'beta_slow', 'fast': 'beta_fast', 'truncate': 'truncate'}


def read_rope(
    config: Config,
    sizes: dict[str, Any],
    theta: float = 10000.0,
    keys: tuple[str, str] = ('rope_theta', ''),
    share: float = 1.0,
    original: int | None = None,
    renamed: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The fields of an architecture that are about rotary positions.

    Args:
        config: the foreign config.
        sizes: fields that are known, with `head_width` and `max_length`.
        theta: base of the frequencies where none is said.
        keys: which say the base and the share of a head that turns; an empty one says
            that a whole head turns.
        share: that turns, where none is said.
        original: the window before the scaling where only a key of the config says it.
        renamed: kinds of scaling that mean `longrope` in this family.

    Raises:
        UserError: a kind or a value is not supported, or a key not handled.
    """
    parameters = config.get('rope_parameters')
    values = dict(config.get('rope_scaling') or parameters or {})
    fields = read_scaling(config, values, sizes, original, renamed)
    said = config.get(keys[0], theta), config.get(keys[1] or _SHARE, share)
    share = values.pop(_SHARE, said[1])
    if not keys[1] and share not in (None, 1):
        raise config.error(_SHARE, share, 'a whole head turns in this family')
    width = int(sizes['head_width'] * (1 if share is None else share))
    if width < 1:
        raise config.error(keys[1] or _SHARE, share, 'no part of a head turns')
    for key in values:
        if key != 'rope_theta':
            raise config.error('rope_scaling', {key: values[key]}, 'it is not handled')
    return fields | {
        'rope_theta': values.get('rope_theta') or said[0] or theta,
        'rope_width': 0 if width == sizes['head_width'] else width,
    }


_SHARE = 'partial_rotary_factor'


def read_scaling(
    config: Config,
    values: dict[str, Any],
    sizes: dict[str, Any],
    original: int | None = None,
    renamed: tuple[str, ...] = (),
) -> dict[str, Any]:
    """`rope_scaling`, and `max_length` where it changes; takes its keys from `values`.

    Args:
        config, sizes, original, renamed: as in `read_rope`.
        values: of `rope_scaling`.

    Raises:
        UserError: a kind or a value is not supported.
    """
    old = values.pop('type', 'default')
    kind = values.pop('rope_type', old) or old
    kind = 'longrope' if kind in renamed else kind
    window = config.get('original_max_position_embeddings', original)
    length = values.pop('original_max_position_embeddings', sizes['max_length'])
    if kind == 'default':
        return {'rope_scaling': None}
    config.one_of('rope_scaling', kind, ('default', 'linear', *_FACTORS, 'longrope'))
    factor, fields = values.pop('factor', None), {}
    if kind != 'linear':
        length = fields['original_length'] = window or length
        factor = factor or sizes['max_length'] / length
    if not isinstance(factor, int | float):
        raise config.error('rope_scaling', kind, 'it has no factor')
    for ours, theirs in _FACTORS.get(kind, {}).items():
        value = values.pop(theirs, None)
        if kind == 'llama3' and value is None:
            raise config.error('rope_scaling', kind, f'it has no {theirs}')
        if value is not None:
            fields[ours] = value
    if kind == 'yarn':
        fields['magnitude'] = _yarn_magnitude(values, factor)
    changed = {}
    if kind == 'longrope':
        for name in ('short', 'long'):
            fields[name] = tuple(values.pop(f'{name}_factor', None) or ())
        root = math.sqrt(1 + math.log(max(factor, 1)) / math.log(length))
        fields['magnitude'] = values.pop('attention_factor', None) or root
        # longer rows have other factors, so that keys of a cache would change with it
        changed['max_length'] = min(length, sizes['max_length'])
    return changed | {'rope_scaling': Scaling(kind, factor, **fields)}


def _yarn_magnitude(values, factor):
    said = values.pop('attention_factor', None)
    scale, over = values.pop('mscale', None), values.pop('mscale_all_dim', None)
    if said is not None:
        return said

    def magnitude(scale):
        return 0.1 * scale * math.log(factor) + 1 if factor > 1 else 1.0

    if scale and over:
        return magnitude(scale) / magnitude(over)
    return magnitude(1)


def write_rope(
    arch: Architecture, keys: tuple[str, str] = ('rope_theta', '')
) -> dict[str, Any]:
    """The keys that `read_rope` reads, in the spelling that every version reads."""
    config = {keys[0]: arch.rope_theta, 'rope_scaling': write_scaling(arch)}
    if keys[1]:
        width = arch.rope_width or arch.head_width
        share = width / arch.head_width
        if int(arch.head_width * share) != width:  # rounded down
            share = (width + 0.5) / arch.head_width
        config[keys[1]] = share
    if arch.rope_scaling and arch.rope_scaling.kind == 'longrope':
        length = arch.rope_scaling.original_length
        config['original_max_position_embeddings'] = length
    return config


def write_scaling(arch: Architecture) -> dict[str, Any] | None:
    """The value of `rope_scaling`; None where frequencies are as they are."""
    scaling = arch.rope_scaling
    if scaling is None:
        return None
    config = {'rope_type': scaling.kind, 'factor': scaling.factor}
    if scaling.kind != 'linear':
        config['original_max_position_embeddings'] = scaling.original_length
    for ours, theirs in _FACTORS.get(scaling.kind, {}).items():
        config[theirs] = getattr(scaling, ours)
    if scaling.kind in ('yarn', 'longrope'):
        config['attention_factor'] = scaling.magnitude
    if scaling.kind == 'longrope':
        config['short_factor'] = list(scaling.short)
        config['long_factor'] = list(scaling.long)
    return config
