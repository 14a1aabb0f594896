"""The range of every number of a config, checked before anything is read.

The table is by section and name. All stages share the section `stage`; `optimizer`,
`tuning` and the other sections below a stage have their own.
"""

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from ml_collections import ConfigDict

from perl import config as configs
from perl.system import schema
from perl.system.errors import UserError

# what a number must be, for a person, and whether a number is so
Range = tuple[str, Callable[[float], bool]]


def _short(number: float) -> str:
    return re.sub(r'e\+?(-?)0*', r'e\1', f'{number:g}')


def above_0(most: float) -> Range:
    """Greater than 0, up to a bound far above what anybody uses."""
    return f'must be greater than 0 and at most {_short(most)}', lambda x: 0 < x <= most


def from_0(most: float) -> Range:
    """0 or more, up to a bound far above what anybody uses."""
    return f'must be 0 or more and at most {_short(most)}', lambda x: 0 <= x <= most


def between(least: float, most: float) -> Range:
    """In an interval with both of its ends."""
    words = f'must be in [{_short(least)}, {_short(most)}]'
    return words, lambda x: least <= x <= most


# The bounds keep float32 finite, and a slip of the keyboard from asking for more memory
# or time than there is; each is at least ten times what published work has used.
STEPS = 1e9  # updates, rows or tokens that are counted, not held in memory
ROWS = 1e6  # of a batch
TOKENS = 1e7  # of a row, or pieces of a vocabulary
NUMBERS = 1e6  # of an axis of a kernel
PARTS = 1e4  # layers, heads, epochs
SHARE = between(0, 1)
BELOW_1: Range = ('must be in [0, 1)', lambda x: 0 <= x < 1)
SMOOTHING: Range = ('must be in [0, 0.5)', lambda x: 0 <= x < 0.5)
WEIGHT = between(0, 1e6)
SIGNED = between(-1e6, 1e6)
POSITIVE = above_0(1e6)
# what logits are divided by: below the least of these, log-probs lose their digits
DIVISOR = between(1e-3, 1e3)
DIVISOR_OR_0: Range = (
    'must be 0, or in [0.001, 1000]',
    lambda x: x == 0 or 1e-3 <= x <= 1e3,
)
FINITE: Range = ('must be finite', lambda x: True)
# a random key is made of 32 bits: larger seeds would repeat smaller ones
SEED: Range = ('must be 0 or more and less than 2^32', lambda x: 0 <= x < 2**32)
DEVICES: Range = ('must be 1 or more and at most 1e6', lambda x: 1 <= x <= 1e6)
DEVICES_OR_REST: Range = (
    'must be -1, or 1 or more and at most 1e6',
    lambda x: 1 <= x <= 1e6 or x == -1,
)

RANGES: dict[str, dict[str, Range]] = {
    '': {'seed': SEED},
    'model': {
        **dict.fromkeys(('width', 'hidden', 'head_width'), above_0(NUMBERS)),
        **dict.fromkeys(('layers', 'heads', 'kv_heads'), above_0(PARTS)),
        'max_length': above_0(TOKENS),
    },
    'tokenizer': {'size': above_0(TOKENS)},
    'lengths': dict.fromkeys(('prompt', 'response'), above_0(TOKENS)),
    'mesh': {'data': DEVICES_OR_REST, 'fsdp': DEVICES, 'tensor': DEVICES},
    'evaluation': {
        'prompts': above_0(STEPS),
        'batch_size': above_0(ROWS),
        'temperature': DIVISOR_OR_0,
    },
    'stage': {
        **dict.fromkeys(('steps', 'save_every'), above_0(STEPS)),
        **dict.fromkeys(('batch_size', 'micro_batches'), above_0(ROWS)),
        **dict.fromkeys(('minibatches', 'samples', 'ptx_batch_size'), above_0(ROWS)),
        'epochs': above_0(PARTS),
        'temperature': DIVISOR,
        'beta': POSITIVE,
        'target_margin': from_0(1e6),
        **dict.fromkeys(('clip', 'value_clip', 'value_learning_rate'), POSITIVE),
        'kl_target': POSITIVE,
        'correction_limit': (
            'must be 1 or more and at most 1e6',
            lambda x: 1 <= x <= 1e6,
        ),
        'kl_horizon': above_0(1e12),
        **dict.fromkeys(('eval_every', 'value_warmup', 'shuffle'), from_0(STEPS)),
        'rollout_slots': from_0(ROWS),
        'overlong_tokens': from_0(TOKENS),
        'rank': from_0(NUMBERS),
        **dict.fromkeys(('clip_high', 'clip_rewards'), from_0(1e6)),
        **dict.fromkeys(('deviations', 'balance'), from_0(1e6)),
        **dict.fromkeys(
            ('kl_coefficient', 'ptx_coefficient', 'nll_coefficient'), WEIGHT
        ),
        'value_coefficient': WEIGHT,
        **dict.fromkeys(('entropy_coefficient', 'missing_eos_penalty'), SIGNED),
        **dict.fromkeys(('gamma', 'lam', 'ema_rate', 'weight'), SHARE),
        'label_smoothing': SMOOTHING,
    },
    'optimizer': {
        'learning_rate': POSITIVE,
        'eps': POSITIVE,
        'warmup': from_0(STEPS),
        **dict.fromkeys(('weight_decay', 'clip'), from_0(1e6)),
        **dict.fromkeys(('b1', 'b2'), BELOW_1),
        'final': SHARE,
    },
    'tuning': {
        **dict.fromkeys(('rank', 'width', 'slots'), above_0(NUMBERS)),
        **dict.fromkeys(('alpha', 'b_rate'), POSITIVE),
        'layers': above_0(PARTS),
        'dropout': BELOW_1,
    },
}
LARGEST = 2**31 - 1  # of a whole number of a tuning from outside, which has no range


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
    # Python refuses to write a whole number of thousands of digits
    large = isinstance(value, int) and abs(value) >= 10**1000
    shown = 'a number of more than 1000 digits' if large else value
    if not holds(value):
        raise UserError(f'{where}: {shown} {words}')
    if isinstance(value, int) and value > LARGEST and range is FINITE:
        raise UserError(f'{where}: {shown} must be {LARGEST} or less')
