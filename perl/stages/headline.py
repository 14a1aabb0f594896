"""What a stage is about to do, in one line."""

from typing import Any

from ml_collections import ConfigDict

from perl import config as configs
from perl.config import kinds


def headline(section: ConfigDict, leaves: Any) -> str:
    """The steps of a stage, and what it trains.

    Args:
        section: the config of the stage.
        leaves: the declared parameters of the decoder.
    """
    plan = kinds.of(section).recipe(section)
    plan = plan or configs.coverage(section.tuning, leaves)
    if section.get('head_only'):
        plan = f'the head alone, beside {plan}'
    if not kinds.of(section).trains(section):
        return plan
    steps, size = section.steps, section.batch_size
    if 'algorithm' in section:
        return f'{steps} iterations of {size} episodes, {plan}'
    return f'{steps} steps of {size}, {plan}'
