"""Learning curves of stages. Each function returns a figure, or None without data.

A step measures its batch before its update, so its figures belong to the model after
the previous step. They are drawn there: a curve begins at step 0, before any update.
Held-out figures are measured after the update of their step.
"""

from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from perl.report import reward_figures, style
from perl.report.run_folder import RunFolder
from perl.report.style import BLUE, GREEN, GREY, ORANGE, PURPLE
from perl.report.values import is_number, series


class Metric(NamedTuple):
    """How a metric is drawn: axis `amount` begins at 0, `share` is in percent, '' fits
    the values, whose changes are small beside their distance from 0."""

    title: str
    unit: str
    colour: str = BLUE
    axis: str = ''


SUPERVISED = {
    'loss': Metric('loss', 'nats'),
    'accuracy': Metric('accuracy', 'share right', axis='share'),
    'auc': Metric('AUC', 'area under the curve', axis='share'),
}
POLICY = {
    'reward': Metric('reward', 'reward'),
    'gold': Metric('gold reward', 'gold reward', GREEN),
    'kl': Metric('KL to the reference', 'nats a response', ORANGE, 'amount'),
    'entropy': Metric('entropy', 'nats a token', PURPLE),
    'response_length': Metric('response length', 'tokens', axis='amount'),
    'no_eos': Metric('responses without an end', 'share', GREY, 'share'),
}
# the held-out figures of a finished policy, before its first and after its last step
ENDS = {
    'reward': ('reward_before', 'reward_after'),
    'gold': ('gold_before', 'gold_after'),
    'kl': ('', 'kl'),
    'response_length': ('response_length_before', 'response_length'),
    'no_eos': ('', 'no_eos'),
}
ROOM = 1.05  # the upper end of an axis, as a multiple of the largest value
LEAST = 0.1  # the smallest upper end of an axis of shares


@style.styled
def supervised(run: RunFolder, stage: str) -> Figure | None:
    """Training and held-out figures by step, of any stage except a policy."""
    rows = run.metrics.get(stage, [])
    names = [x for x in SUPERVISED if _has(rows, x) or _has(rows, f'val_{x}')]
    if not names:
        return None
    figure, panels = style.panels(len(names), len(names))
    for axes, name in zip(panels, names, strict=True):
        metric = SUPERVISED[name]
        if _has(rows, name):
            style.line(axes, *_before_updates(rows, name), BLUE, 'training')
        if _has(rows, f'val_{name}'):
            axes.plot(
                *_held_out(rows, name), color=ORANGE, marker='o', ms=4, label='held out'
            )
        chance = _chance(run, stage, name)
        if chance is not None:
            axes.axhline(chance, label='chance', **style.REFERENCE)
        style.label(axes, f'{stage}: {metric.title}', 'steps done', metric.unit)
        if metric.axis == 'share':
            low, _ = axes.get_ylim()
            axes.set_ylim(min(low, 0.48), 1.02)
            style.as_percent(axes.yaxis)
    style.legend_below(figure)
    return figure


@style.styled
def policy(run: RunFolder, stage: str) -> Figure | None:
    """Reward, KL, entropy and length of a policy, by iteration."""
    rows = run.metrics.get(stage, [])
    names = [name for name in POLICY if _has(rows, name)]
    if not names:
        return None
    columns = 1 if len(names) == 1 else 2 if len(names) in (2, 4) else 3
    figure, panels = style.panels(len(names), columns)
    for axes, name in zip(panels, names, strict=True):
        metric = POLICY[name]
        style.line(axes, *_before_updates(rows, name), metric.colour, 'training')
        ends = _ends(run.results.get(stage, {}), name, rows[-1].get('step'))
        if ends:
            x, y = zip(*ends, strict=True)
            held_out = {'ms': 7, 'mec': 'black', 'mfc': metric.colour, 'clip_on': False}
            axes.plot(x, y, 'D', **held_out, label='held out')
            axes.legend()
        style.label(axes, metric.title, 'iterations done', metric.unit)
        _limit(axes, metric.axis)
    return figure


def _has(rows, name):
    return bool(series(rows, name)[0])


def _before_updates(rows, name):
    steps, values = series(rows, name)
    return [step - 1 for step in steps], values


def _held_out(rows, name):
    """Steps done and values, including the value before the first step if measured."""
    start = series(rows[:1], f'start_val_{name}')[1]
    steps, values = series(rows, f'val_{name}')
    return [0] * len(start) + steps, start + values


def _ends(figures: dict[str, Any], name: str, last: Any) -> list[tuple[float, float]]:
    """Steps done and held-out values of a policy, before and after."""
    before, after = (figures.get(key) for key in ENDS.get(name, ('', '')))
    if name == 'kl' and is_number(after):
        before = 0.0  # to itself
    points = [(0, before), (last, after)]
    return [point for point in points if all(map(is_number, point))]


def _chance(run: RunFolder, stage: str, name: str) -> float | None:
    """The value for random answers, or for always giving the more frequent label."""
    kind = run.kind(stage)
    if kind not in ('reward', 'dpo'):  # DPO ranks pairs by implicit rewards
        return None
    loss = run.origin(stage).get('loss')
    pairwise = loss != 'pointwise'
    if name == 'loss':  # of the others it depends on the policy, or on their settings
        return np.log(2) if loss in ('bradley_terry', 'dpo', 'robust') else None
    if pairwise or name == 'auc':
        return 0.5
    majority = reward_figures.chance(run.results.get(stage, {}))
    return majority and majority[0]


def _limit(axes: Axes, axis: str) -> None:
    """Starts axes of amounts and shares at 0, or below if estimates are negative, and
    ends them above the largest value, so that no point lies on the edge."""
    if not axis:
        return
    low, high = axes.get_ylim()
    values = np.concatenate([line.get_ydata() for line in axes.get_lines()])
    high = max(high, ROOM * values.max())
    axes.set_ylim(min(0, low) if values.min() < 0 else 0, high)
    if axis == 'share':
        axes.set_ylim(top=max(LEAST, high))
        style.as_percent(axes.yaxis)
