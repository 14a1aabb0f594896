"""The figures of a finished stage as one line, for the terminal and for logs."""

from collections.abc import Mapping
from typing import Any

from perl.report.formatting import (
    amount,
    change,
    duration,
    number,
    percent,
    with_interval,
)
from perl.report.judge import judged_by
from perl.report.markdown import printable
from perl.report.values import interval, is_number

_NAMES = {'reward': 'reward', 'gold': 'true reward'}


def one_line(figures: Mapping[str, Any]) -> str:
    """The results and costs of a stage.

    Args:
        figures: figures of the stage, as in `results.json`.
    """
    parts = [
        f'{name.replace("_", " ")} {number(figures[name])}'
        for name in ('loss', 'val_loss')
        if is_number(figures.get(name))
    ]
    for name in ('accuracy', 'balanced_accuracy'):
        if is_number(figures.get(name)):
            parts.append(f'{name.replace("_", " ")} {percent(figures, name)}')
    if is_number(figures.get('auc')):
        parts.append(f'AUC {with_interval(figures, "auc")}')
    for name, title in _NAMES.items():
        ends = (figures.get(f'{name}_{when}') for when in ('before', 'after'))
        text = change(*ends, interval(figures, name))
        parts += [f'{title} {text}'] if text else []
    if is_number(figures.get('kl')):
        parts.append(f'KL {number(figures["kl"], 2)} nats')
    if is_number(figures.get('win_rate')):
        words, _ = judged_by(figures)
        parts.append(f'win rate {percent(figures, "win_rate")} ({printable(words)})')
    cost = [duration(figures.get('seconds')), amount(figures.get('step_bytes'))]
    return ', '.join([*parts, *filter(None, cost)])
