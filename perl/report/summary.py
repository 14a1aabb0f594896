"""The figures of a finished stage in one line, for the terminal and for logs."""

from typing import Any

from perl.report import tables
from perl.report.recorded import is_number
from perl.report.wording import amount, duration, number


def one_line(figures: dict[str, Any]) -> str:
    """What a stage reached and what it took.

    Args:
        figures: of the stage, as in `results.json`.
    """
    parts = [f'{name} {number(figures[name])}' for name in _plain(figures)]
    for name in ('accuracy', 'balanced_accuracy', 'win_rate'):
        if is_number(figures.get(name)):
            parts.append(f'{name.replace("_", " ")} {tables.percent(figures, name)}')
    if is_number(figures.get('auc')):
        parts.append(f'AUC {tables.with_interval(figures, "auc")}')
    for name in ('reward', 'gold'):
        before, after = (figures.get(f'{name}_{when}') for when in ('before', 'after'))
        if is_number(before) and is_number(after):
            parts.append(f'{name} {number(before)} → {number(after)}')
    if is_number(figures.get('kl')):
        parts.append(f'KL {number(figures["kl"])} nats')
    cost = [duration(figures.get('seconds')), amount(figures.get('step_bytes'))]
    return ', '.join([*parts, *filter(None, cost)])


def _plain(figures):
    return [name for name in ('loss', 'val_loss') if is_number(figures.get(name))]
