"""The figures of a finished stage as one line, for the terminal and for logs."""

from collections.abc import Mapping
from typing import Any

from perl.evaluation.figures.against_baselines import verdict
from perl.report.formatting import (
    amount,
    change,
    count,
    duration,
    number,
    percent,
    with_interval,
)
from perl.report.judge import judged_by
from perl.report.markdown import printable
from perl.report.values import interval, is_number

_RATES = {
    'accuracy': 'accuracy',
    'balanced_accuracy': 'balanced accuracy',
    'auc': 'AUC',
}
_NAMES = {'reward': 'reward', 'gold': 'gold reward'}


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
    parts += [
        f'{title} {_rate(figures, name)}{_against_baseline(figures, name)}'
        for name, title in _RATES.items()
        if is_number(figures.get(name))
    ]
    if not is_number(figures.get('accuracy')) and figures.get('labelled_ties'):
        parts.append(f'no accuracy: all {figures["labelled_ties"]} held out are ties')
    for name, title in _NAMES.items():
        ends = (figures.get(f'{name}_{when}') for when in ('before', 'after'))
        text = change(*ends, interval(figures, name))
        parts += [f'{title} {text}'] if text else []
    if is_number(figures.get('kl')):
        parts.append(f'KL {number(figures["kl"], 2)} nats')
    if is_number(figures.get('win_rate')):
        words, _ = judged_by(figures)
        parts.append(f'win rate {percent(figures, "win_rate")} ({printable(words)})')
    cost = [duration(_seconds(figures)), amount(figures.get('step_bytes'))]
    return ', '.join([*parts, *filter(None, cost)])


def _seconds(figures):
    """The time of a stage, with that of the evaluation at its end, as the report has
    it."""
    times = [figures.get(name) for name in ('seconds', 'evaluation_seconds')]
    return sum(filter(is_number, times)) if is_number(times[0]) else times[0]


def _rate(figures, name):
    """A rate in the digits that its interval or the number of records justifies."""
    return (with_interval if name == 'auc' else percent)(figures, name)


def _against_baseline(figures, name):
    """How many records were held out and how the best baseline does on them."""
    best = figures.get('best_baseline') or {}
    if best.get('figure') != name:
        return ''
    baseline = _rate({name: best['baseline'], 'n': figures['n']}, name)
    rule = best['name'].replace('_', ' ')
    return (
        f' of {count(figures["n"])} held out ({verdict(best)} the best baseline, '
        f'{rule}: {baseline})'
    )
