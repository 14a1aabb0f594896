"""Plots of the evaluation of reward models. Functions return None without data."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from perl.report import bucket_panels, style
from perl.report.bucket_panels import Panel
from perl.report.formatting import count, decimals, rounded
from perl.report.style import BLUE, COLOURS, GREY, ORANGE

FEW = 10  # a bin with fewer examples is not reliable
_FLOOR = 0.16  # share of the height for the bars under a curve
Models = Mapping[str, Mapping[str, Any]]


@style.styled
def reliability(models: Models) -> Figure | None:
    """Reliability diagrams of reward models, before and after temperature scaling.

    Args:
        models: figures of each reward model, see `examine.reward_model`.
    """
    models = {k: x['calibration'] for k, x in models.items() if 'calibration' in x}
    if not models:
        return None
    columns = min(3, len(models))
    lines = -(-len(models) // columns)
    figure, panels = style.panels(len(models), columns, height=0.3 + 3.9 * lines)
    for axes, (stage, figures) in zip(panels, models.items(), strict=True):
        _reliability(axes, stage, figures)
    return figure


def _reliability(axes, stage, figures):
    low = 0.5 if figures['pairs'] else 0.0
    axes.plot([low, 1], [low, 1], color=GREY, lw=1, ls='--')
    fitted = f'with T = {figures["temperature"]:.2f}'
    for when, name, colour in (
        ('before', 'as trained', ORANGE),
        ('after', fitted, BLUE),
    ):
        error = figures[when]['ece']
        places = decimals(figures[when].get('ece_ci95'))
        name = f'{name}, ECE {rounded(error, 3 if places is None else places)}'
        _curve(axes, figures[when]['curve'], colour, name)
    rows = [*figures['before']['curve'], *figures['after']['curve']]
    bottom = min([low, *(row['found'] for row in rows)])
    _counts(axes, figures['after']['curve'], bottom)
    pairs, n = figures['pairs'], figures.get('n')
    style.label(
        axes,
        f'{style.short(stage)}, n = {count(n)}' if n else style.short(stage),
        'said: confidence in the order' if pairs else 'said: probability of good',
        'found: share in the right order' if pairs else 'found: share of good',
    )
    room = 1 - bottom
    axes.set_xlim(low - 0.02, 1.02)
    axes.set_ylim(bottom - _FLOOR * room, 1 + 0.26 * room)
    axes.set_yticks([x for x in axes.get_yticks() if bottom <= x < 1.01])
    axes.legend(loc='upper left')


def _curve(axes, rows, colour, name):
    """Bins with their intervals; bins with few examples are hollow, without a line."""
    many = [row for row in rows if row['n'] >= FEW]
    for row in rows:
        axes.vlines(row['said'], *row['found_ci95'], color=colour, lw=1, alpha=0.4)
        if row['n'] < FEW:
            axes.plot(row['said'], row['found'], 'o', color=colour, ms=4, mfc='w')
    x, y = ([row[key] for row in many] for key in ('said', 'found'))
    axes.plot(x, y, color=colour, marker='o', ms=4, label=name)


def _counts(axes, rows, bottom):
    """The number of examples in each bin, as pale bars under the curve."""
    most, room = max(row['n'] for row in rows), 1 - bottom
    for row in rows:
        height = 0.9 * _FLOOR * room * row['n'] / most
        width = 0.9 * (row['high'] - row['low'])
        middle = (row['low'] + row['high']) / 2
        axes.bar(middle, height, width, bottom - _FLOOR * room, color=BLUE, alpha=0.25)


@style.styled
def buckets(models: Models) -> Figure | None:
    """Accuracy by the difference of the scores and by group, side by side.

    Reward models on comparisons and on ratings have separate panels.

    Args:
        models: figures of each reward model, see `examine.reward_model`.
    """
    lines = bucket_panels.lines(models)
    if not lines:
        return None
    columns = max(map(len, lines))
    heights = [max(panel.height for panel in line) for line in lines]
    room = 0.5  # for the legend
    figure, axes = style.panels(columns * len(lines), columns, sum(heights) + room)
    grid = axes[0].get_gridspec()
    grid.set_height_ratios(heights)
    colours = dict(zip(models, itertools.cycle(COLOURS)))
    for at, line in enumerate(lines):
        places = axes[columns * at : columns * (at + 1)]
        for place, panel in zip(places, line, strict=False):
            _bucket(place, panel, colours)
        for empty in places[len(line) :]:
            empty.set_visible(False)
            places[0].set_subplotspec(grid[at, :])
    style.legend_below(figure)
    return figure


def _bucket(axes: Axes, panel: Panel, colours: Mapping[str, str]) -> None:
    """One panel: in each group a point for each model that has the group."""
    for index, (stage, rows) in enumerate(panel.rows.items()):
        shift = 0.26 * (index - (len(panel.rows) - 1) / 2)
        places = [at + shift for at, x in enumerate(panel.groups) if x in rows]
        shown = [rows[group] for group in panel.groups if group in rows]
        if not shown:
            continue
        low, high = np.array([row['ci95'] for row in shown], float).T
        axes.hlines(places, low, high, color=colours[stage], lw=3, alpha=0.5)
        values = [row['accuracy'] for row in shown]
        axes.plot(values, places, 'o', color=colours[stage], ms=6, label=stage)
    for value, name in panel.chance:
        axes.axvline(value, label=name, **style.REFERENCE)
    axes.set_yticks(range(len(panel.groups)), panel.labels())
    axes.set_ylim(len(panel.groups) - 0.4, -0.6)
    axes.grid(axis='y', visible=False)
    style.label(axes, panel.title, 'accuracy, with its 95 % interval', '')
    axes.set_xlim(panel.least, 1.02)
    style.as_percent(axes.xaxis)
