"""The range of every number of a config, checked before anything is read.

The table is by section and name. All stages share the section `stage`; `optimizer`,
`tuning` and the other sections below a stage have their own.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

from ml_collections import ConfigDict

from perl import config as configs
from perl.system import schema
from perl.system.errors import UserError

# what a number must be, for a person, and whether a number is so
Range = tuple[str, Callable[[float], bool]]

ABOVE_0: Range = ('must be greater than 0', lambda x: x > 0)
FROM_0: Range = ('must be 0 or more', lambda x: x >= 0)
SHARE: Range = ('must be in [0, 1]', lambda x: 0 <= x <= 1)
BELOW_1: Range = ('must be in [0, 1)', lambda x: 0 <= x < 1)
SMOOTHING: Range = ('must be in [0, 0.5)', lambda x: 0 <= x < 0.5)
WEIGHT: Range = ('must be in [0, 1e6]', lambda x: 0 <= x <= 1e6)
FINITE: Range = ('must be finite', lambda x: True)
SIGNED: Range = ('must be in [-1e6, 1e6]', lambda x: abs(x) <= 1e6)
# a random key is made of 32 bits: larger seeds would repeat smaller ones
SEED: Range = ('must be 0 or more and less than 2^32', lambda x: 0 <= x < 2**32)
DEVICES: Range = ('must be 1 or more', lambda x: x >= 1)
DEVICES_OR_REST: Range = ('must be 1 or more, or -1', lambda x: x >= 1 or x == -1)
LARGEST = 2**31 - 1  # of a whole number: steps and sizes are counted in 32 bits

RANGES: dict[str, dict[str, Range]] = {
    '': {'seed': SEED},
    'model': dict.fromkeys(
        (
            *('width', 'layers', 'heads', 'kv_heads', 'head_width', 'hidden'),
            'max_length',
        ),
        ABOVE_0,
    ),
    'tokenizer': {'size': ABOVE_0},
    'lengths': dict.fromkeys(('prompt', 'response'), ABOVE_0),
    'mesh': {'data': DEVICES_OR_REST, 'fsdp': DEVICES, 'tensor': DEVICES},
    'evaluation': {
        **dict.fromkeys(('prompts', 'batch_size'), ABOVE_0),
        'temperature': FROM_0,
    },
    'stage': {
        **dict.fromkeys(('steps', 'batch_size', 'micro_batches'), ABOVE_0),
        **dict.fromkeys(('save_every', 'epochs', 'minibatches', 'samples'), ABOVE_0),
        **dict.fromkeys(('ptx_batch_size', 'temperature', 'beta'), ABOVE_0),
        **dict.fromkeys(('clip', 'value_clip', 'value_learning_rate'), ABOVE_0),
        **dict.fromkeys(('kl_target', 'kl_horizon'), ABOVE_0),
        **dict.fromkeys(('eval_every', 'shuffle', 'value_warmup', 'rank'), FROM_0),
        **dict.fromkeys(('clip_rewards', 'deviations', 'balance'), FROM_0),
        **dict.fromkeys(('kl_coefficient', 'ptx_coefficient'), WEIGHT),
        'value_coefficient': WEIGHT,
        **dict.fromkeys(('entropy_coefficient', 'missing_eos_penalty'), SIGNED),
        **dict.fromkeys(('gamma', 'lam', 'ema_rate', 'weight'), SHARE),
        'label_smoothing': SMOOTHING,
    },
    'optimizer': {
        **dict.fromkeys(('learning_rate', 'eps'), ABOVE_0),
        **dict.fromkeys(('warmup', 'weight_decay', 'clip'), FROM_0),
        **dict.fromkeys(('b1', 'b2'), BELOW_1),
        'final': SHARE,
    },
    'tuning': {
        **dict.fromkeys(('rank', 'alpha', 'b_rate', 'width', 'slots'), ABOVE_0),
        'layers': ABOVE_0,
        'dropout': BELOW_1,
    },
}


def check(config: ConfigDict) -> None:
    """Raises a `UserError` for the first number that is out of its range, in the stages
    that run and in what all stages share."""
    apart = {'data', *configs.known_stages(config)}
    shared = {name: x for name, x in config.items() if name not in apart}
    rows = [*numbers(shared)]
    for name in config.stages:
        rows += numbers(config[name], 'stage', name)
    for path, value, range in rows:
        within(path, value, range or FINITE)


def numbers(
    section: Any, table: str = '', where: str = ''
) -> Iterator[tuple[str, float, Range | None]]:
    """(path, value, range) of every number of a section and of the sections in it; the
    range is None where `RANGES` has none.

    Args:
        section: of a config.
        table: its name in `RANGES`; a section in it has its own name.
        where: its path.
    """
    for name, value in section.items():
        path = schema.join(where, name)
        if schema.is_section(value):
            yield from numbers(value, name, path)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield path, value, RANGES.get(table, {}).get(name)


def within(where: str, value: Any, range: Range) -> None:
    """Raises a `UserError` unless the number is finite and in the range."""
    words, holds = range
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f'{where}: {value} must be finite')
    if not holds(value):
        raise UserError(f'{where}: {value} {words}')
    if isinstance(value, int) and value > LARGEST and range is not SEED:
        raise UserError(f'{where}: {value} must be {LARGEST} or less')
