"""Describes the judge of a win rate."""

from collections.abc import Mapping
from typing import Any

from perl.judges.names import KNOWN
from perl.report.formatting import percent
from perl.report.markdown import inert


def judged_by(figures: Mapping[str, Any], trained_by: str = '') -> tuple[str, bool]:
    """A description of a comparison's judge, and whether it is a warning.

    A policy trained on a reward model may exploit its errors, so a win rate by that
    model is not reliable.

    Args:
        figures: figures of the comparison, see `compare.compare`.
        trained_by: the name of the reward that trained the policy; only needed for
            figures of an older version, which do not have `judge_trained_the_policy`.
    """
    judge = figures.get('judge')
    if not judge:
        return 'judge not recorded', False
    trained = figures.get('judge_trained_the_policy')
    if 'judge_trained_the_policy' not in figures and judge == 'reward' and trained_by:
        judge, trained = trained_by, True  # older versions wrote this for any model
    model = figures.get('judge_model')
    if trained and judge == 'gold':
        return f'judged by {KNOWN[judge]}, which also trained it', False
    if trained:
        return f'judged by the reward that trained it ({model or judge})', True
    if judge in KNOWN:
        return f'judged by {KNOWN[judge]}' + (f' ({model})' if model else ''), False
    kind = 'function' if ':' in str(judge) else 'reward model'
    return f'judged by the {kind} {judge}', False


def win_rate(figures: Mapping[str, Any], trained_by: str = '') -> str:
    """A win rate and its judge, in one line of Markdown; '' without a win rate."""
    rate = percent(figures, 'win_rate')
    words, is_warning = judged_by(figures, trained_by)
    words = f'**{inert(words)}**' if is_warning else inert(words)
    return f'{rate}, {words}' if rate else ''
