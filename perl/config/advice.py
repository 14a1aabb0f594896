"""Warns where a config contradicts what is known about LoRA: a line each, no error.

The rules are those of *LoRA Without Regret* (Schulman et al., Thinking Machines Lab,
2025) and of the primer that the same group wrote: adapters on every kernel; about ten
times the learning rate of full tuning; as many trained numbers as there are tokens to
imitate, where a stage is supervised. Reinforcement learning needs few: rank 1 is enough
there.
"""

from typing import Any

from ml_collections import ConfigDict

from perl.adapters.tunings import LoraTuning
from perl.adapters.tunings.base import parameter_count
from perl.config.sections.tuning import tuning

USUAL, LEAST, MOST = 10, 3, 30  # times the learning rate of full tuning


def lora(
    config: ConfigDict, name: str, leaves: Any, trainable: int, tokens: int
) -> list[str]:
    """One line for each rule that a stage contradicts.

    Args:
        config: of the experiment.
        name: of a stage with a tuning.
        leaves: the model's tree of `Leaf`.
        trainable: numbers that the stage trains.
        tokens: to imitate, in its training split; 0 where nothing is imitated.
    """
    how = tuning(config[name].tuning)
    if not isinstance(how, LoraTuning):
        return []
    found = [_rate(config, name)]
    only = all('/attention/' in path for path in how.chosen(leaves))
    if only and config.model.path:
        found.append(
            'LoRA on attention alone learns less than on every kernel, at the same '
            f'size too; --config.{name}.tuning.targets="(\'all-linear\',)" has them all'
        )
    # what is trained in full beside them does not adapt the kernels
    factors = trainable - parameter_count(how.whole(leaves))
    if tokens > factors:
        found.append(
            f'{factors:,} trained numbers for about {tokens:,} tokens to imitate: '
            'LoRA falls behind full tuning where it has fewer; raise tuning.rank'
        )
    return [line for line in found if line]


def _rate(config, name):
    """Set against a stage of the same kind that is tuned in full."""
    own = config[name]
    for other in config.stages:
        section = config[other]
        if section.kind != own.kind or 'tuning' not in section:
            continue
        if not tuning(section.tuning).replaces_base:
            continue
        ratio = own.optimizer.learning_rate / section.optimizer.learning_rate
        if not LEAST <= ratio <= MOST:
            return (
                f'its learning rate is {ratio:.3g} times that of {other}, which is '
                f'tuned in full; LoRA is best at about {USUAL} times'
            )
    return ''
