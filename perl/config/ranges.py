"""What numbers of a config may be: a table by name, checked before anything is read."""

import math
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from perl.system.errors import UserError

# name: what it must be, for a person, and whether a number is so
Range = tuple[str, Callable[[float], bool]]

ABOVE_0: Range = ('must be greater than 0', lambda x: x > 0)
FROM_0: Range = ('must be 0 or more', lambda x: x >= 0)
SHARE: Range = ('must be in [0, 1]', lambda x: 0 <= x <= 1)
BELOW_1: Range = ('must be in [0, 1)', lambda x: 0 <= x < 1)
SMOOTHING: Range = ('must be in [0, 0.5)', lambda x: 0 <= x < 0.5)
FINITE: Range = ('must be a number', lambda x: True)
# JAX makes a key of 32 bits of a seed: two seeds 2^32 apart would be one
SEED: Range = ('must be in [0, 4294967295]', lambda x: 0 <= x < 2**32)

STAGE: dict[str, Range] = {
    **dict.fromkeys(('steps', 'batch_size', 'micro_batches', 'save_every'), ABOVE_0),
    **dict.fromkeys(('epochs', 'minibatches', 'samples', 'ptx_batch_size'), ABOVE_0),
    **dict.fromkeys(('temperature', 'clip', 'value_clip', 'beta'), ABOVE_0),
    **dict.fromkeys(('value_learning_rate', 'kl_target', 'kl_horizon'), ABOVE_0),
    **dict.fromkeys(('eval_every', 'shuffle', 'value_warmup', 'rank'), FROM_0),
    **dict.fromkeys(('kl_coefficient', 'ptx_coefficient', 'clip_rewards'), FROM_0),
    **dict.fromkeys(('value_coefficient', 'deviations', 'balance'), FROM_0),
    **dict.fromkeys(('gamma', 'lam', 'ema_rate', 'weight'), SHARE),
    **dict.fromkeys(('entropy_coefficient', 'missing_eos_penalty'), FINITE),
    'label_smoothing': SMOOTHING,
}
OPTIMIZER: dict[str, Range] = {
    **dict.fromkeys(('learning_rate', 'eps'), ABOVE_0),
    **dict.fromkeys(('warmup', 'weight_decay', 'clip'), FROM_0),
    **dict.fromkeys(('b1', 'b2'), BELOW_1),
    'final': SHARE,
}
LORA: dict[str, Range] = {'rank': ABOVE_0, 'alpha': ABOVE_0, 'dropout': BELOW_1}
LENGTHS: dict[str, Range] = dict.fromkeys(('prompt', 'response'), ABOVE_0)
EVALUATION: dict[str, Range] = {
    **dict.fromkeys(('prompts', 'batch_size'), ABOVE_0),
    'temperature': FROM_0,
}


def check(config: ConfigDict) -> None:
    """Raises a `UserError` for the first number of the config that is out of range."""
    within('seed', config.seed, SEED)
    _all('lengths', config.lengths, LENGTHS)
    _all('evaluation', config.evaluation, EVALUATION)
    for name in config.stages:
        stage = config[name]
        _all(name, stage, STAGE)
        if 'optimizer' in stage:
            _all(f'{name}.optimizer', stage.optimizer, OPTIMIZER)
        if 'tuning' in stage and 'rank' in stage.tuning:
            _all(f'{name}.tuning', stage.tuning, LORA)


def within(where: str, value: Any, range: Range) -> None:
    """Raises a `UserError` unless the number is finite and in the range."""
    says, holds = range
    if not math.isfinite(value):
        raise UserError(f'{where}: {value} {says} and finite')
    if not holds(value):
        raise UserError(f'{where}: {value} {says}')


def _all(where, section, ranges):
    for name, range in ranges.items():
        if name in section:
            within(f'{where}.{name}', section[name], range)
