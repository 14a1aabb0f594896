"""The main figures of an evaluation as text, for the terminal."""

from typing import Any

from perl.evaluation.figures.against_baselines import sentence
from perl.report.judge import judged_by
from perl.report.markdown import printable
from perl.report.values import is_number


def table(evaluation: dict[str, Any]) -> str:
    """The main figures as text."""
    lines = []
    for name, figures in evaluation.items():
        interval = figures.get('ci95', {})
        shown = []
        for key in ('accuracy', 'balanced_accuracy', 'auc', 'win_rate'):
            if key in figures and is_number(figures[key]):
                low, high = interval.get(key) or figures[f'{key}_ci95']
                shown.append(f'{key} {figures[key]:.3f} [{low:.3f}, {high:.3f}]')
        if not is_number(figures.get('accuracy', 0)):
            ties = figures.get('labelled_ties', 0)
            shown.append(f'no accuracy: {ties} labelled ties, no label that decides')
        if 'win_rate' in figures:
            shown[-1] += f' ({printable(judged_by(figures)[0])})'
        for key in ('reward_before', 'reward_after', 'gold_before', 'gold_after', 'kl'):
            if key in figures:
                shown.append(f'{key} {figures[key]:.3f}')
        if 'calibration' in figures:
            fit = figures['calibration']
            errors = [f'{fit[when]["ece"]:.3f}' for when in ('before', 'after')]
            shown.append(f'ece {" → ".join(errors)} at {fit["temperature"]:.3g}')
        if figures.get('unanswered'):
            shown.append(f'{figures["unanswered"]} questions without a verdict')
        n = figures['n'] if 'n' in figures else figures['prompts']
        lines.append(f'{name}: n={n}, ' + ', '.join(shown))
        if comparison := sentence(figures):
            lines.append(f'{name}: {comparison}')
    return '\n'.join(lines)
