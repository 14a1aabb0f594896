"""The plot of the accuracies of reward models and their baselines."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from perl.report import reward_figures, style
from perl.report.formatting import count, number, percent
from perl.report.run_folder import RunFolder
from perl.report.style import BLUE, GREY
from perl.report.values import interval, is_number

# comparisons and ratings have separate axes, and so has each figure
PANELS = (
    ('pairwise', 'accuracy', 'accuracy'),
    ('pointwise', 'accuracy', 'accuracy'),
    ('pointwise', 'auc', 'AUC'),
    ('', 'accuracy', 'accuracy'),
)

RIGHT = 0.8  # of an axis that ends at 1: what is further right is labelled on its left


@style.styled
def accuracies(run: RunFolder) -> Figure | None:
    """Held-out figures of reward models with intervals, and their baselines below; None
    without data.

    Comparisons and ratings have separate axes, each with a line at chance, or at the
    accuracy of always giving the more frequent label.
    """
    models = {stage: run.results.get(stage, {}) for stage in run.stages('reward')}
    panels = [
        (kind, name, title, points)
        for kind, name, title in PANELS
        if (points := _points(reward_figures.by_kind(models).get(kind, {}), name))
    ]
    if not panels:
        return None
    heights = [1.0 + 0.42 * len(points) for *_, points in panels]
    figure, axes = style.panels(len(panels), 1, height=sum(heights) + 0.2)
    axes[0].get_gridspec().set_height_ratios(heights)
    for one, (kind, name, title, points) in zip(axes, panels, strict=True):
        _panel(one, name, points)
        counts = {count(x.get('n')) for _, x, is_model in points if is_model}
        n = f', n = {counts.pop()}' if len(counts) == 1 else ''
        about = f'reward models on {reward_figures.KINDS[kind]}{n}'
        style.label(one, about, f'held-out {title}, with its 95 % interval', '')
    return figure


def _points(models, name) -> list[tuple[str, dict[str, Any], bool]]:
    """Models, then baselines, that have the figure: (name, figures, is a model)."""
    several = len({x.get('n') for x in models.values()}) > 1
    rows = []
    for stage, figures in models.items():
        n = f', n={count(figures.get("n"))}' if several else ''
        rows.append((f'{stage} ({figures.get("tuning", "?")}{n})', figures, True))
    for key, figures in reward_figures.shared_baselines(models.values()).items():
        if key not in ('chance', 'majority'):  # these are drawn as a line
            rows.append((key.replace('_', ' '), figures, False))
    return [row for row in rows if is_number(row[1].get(name))]


def _panel(axes: Axes, name: str, points: list[tuple[str, dict, bool]]) -> None:
    write = percent if name == 'accuracy' else _plain
    ends = [0.5, 1.0]  # the axis shows at least this range
    for place, (_, figures, is_model) in enumerate(points):
        colour, value = BLUE if is_model else GREY, figures[name]
        around = interval(figures, name) or (value, value)
        ends += around
        axes.plot(around, [place, place], color=colour, lw=3, alpha=0.5)
        axes.plot([value], [place], 'o', color=colour, ms=8 if is_model else 6)
        shift = {'xytext': (0, 7), 'textcoords': 'offset points', 'ha': 'center'}
        text = write(figures, name).partition(' [')[0]
        axes.annotate(text, (value, place), color=colour, **shift)
    bottom = len(points) - 0.2
    lines = {reward_figures.chance(x, name) for _, x, is_model in points if is_model}
    for value, title in filter(None, lines):
        ends.append(value)
        axes.axvline(value, **style.REFERENCE)
        text = f'{100 * value:.0f} %' if name == 'accuracy' else f'{value:g}'
        side = 'right' if value > RIGHT else 'left'
        place = {'fontsize': 9, 'va': 'bottom', 'ha': side}
        axes.annotate(f' {title}, {text} ', (value, bottom), **place)
    names = [style.short(label) for label, *_ in points]
    axes.set_yticks(range(len(points)), names)
    axes.set_ylim(bottom, -0.75)
    axes.grid(axis='y', visible=False)
    room = 0.05 * np.ptp(ends)
    axes.set_xlim(max(0, min(ends) - room), 1 + room / 4)
    if name == 'accuracy':
        style.as_percent(axes.xaxis)


def _plain(figures, name):
    return number(figures[name], 2)
