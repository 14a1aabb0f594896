"""Plots of reward models' evaluation; None where data are missing."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from perl.report import canvas
from perl.report.canvas import BLUE, COLOURS, GREY, ORANGE

GROUPS = 16  # of one grouping; the largest ones
FEW = 10  # a bin of fewer says little
_FLOOR = 0.16  # of the height, for the bars under a curve


def reliability(found: dict[str, dict[str, Any]]) -> Figure | None:
    """What each reward model says against what is found, before and after."""
    found = {k: x['calibration'] for k, x in found.items() if 'calibration' in x}
    if not found:
        return None
    columns = min(3, len(found))
    lines = -(-len(found) // columns)
    figure, panels = canvas.panels(len(found), columns, height=0.3 + 3.9 * lines)
    for axes, (stage, figures) in zip(panels, found.items(), strict=True):
        _reliability(axes, stage, figures)
    return figure


def _reliability(axes, stage, figures):
    low = 0.5 if figures['pairs'] else 0.0
    axes.plot([low, 1], [low, 1], color=GREY, lw=1, ls='--')
    fitted = f'with T = {figures["temperature"]:.2f}'
    for when, said, colour in (
        ('before', 'as trained', ORANGE),
        ('after', fitted, BLUE),
    ):
        error = f'{said}, ECE {figures[when]["ece"]:.3f}'
        _curve(axes, figures[when]['curve'], colour, error)
    _counts(axes, figures['after']['curve'], low)
    pairs = figures['pairs']
    canvas.label(
        axes,
        stage,
        'said: confidence in the order' if pairs else 'said: probability of good',
        'found: share in the right order' if pairs else 'found: share of good',
    )
    room = 1 - low
    axes.set(
        xlim=(low - 0.02 * room, 1.02), ylim=(low - _FLOOR * room, 1 + 0.26 * room)
    )
    axes.set_yticks(np.linspace(low, 1, 6))
    axes.legend(frameon=False, loc='upper left', fontsize=9)


def _curve(axes, rows, colour, said):
    """Bins with their intervals; those of a few are hollow and stand alone."""
    many = [row for row in rows if row['n'] >= FEW]
    for row in rows:
        axes.vlines(row['said'], *row['found_ci95'], color=colour, lw=1, alpha=0.4)
        if row['n'] < FEW:
            axes.plot(row['said'], row['found'], 'o', color=colour, ms=4, mfc='w')
    x, y = ([row[name] for row in many] for name in ('said', 'found'))
    axes.plot(x, y, color=colour, marker='o', ms=4, label=said)


def _counts(axes, rows, low):
    """How many fall into each bin, as pale bars under the curve."""
    most, room = max(row['n'] for row in rows), 1 - low
    for row in rows:
        height = 0.9 * _FLOOR * room * row['n'] / most
        width = 0.9 * (row['high'] - row['low'])
        middle = (row['low'] + row['high']) / 2
        axes.bar(middle, height, width, low - _FLOOR * room, color=BLUE, alpha=0.25)


def buckets(found: dict[str, dict[str, Any]]) -> Figure | None:
    """Accuracy by how far apart the scores are, and by group, side by side."""
    found = {k: x for k, x in found.items() if x.get('by_margin')}
    if not found:
        return None
    parts = [('by_margin', 'how sure the model is')]
    names = {name: None for x in found.values() for name in x['by_group']}
    parts += [(name, name) for name in names]
    sizes = [_rows(found, part) for part, _ in parts]
    lines = -(-len(parts) // 2)
    tallest = [max(map(len, sizes[2 * i : 2 * i + 2])) for i in range(lines)]
    spread = 0.19 * len(found) + 0.17
    height = sum(0.95 + spread * n for n in tallest) + 0.3
    figure, panels = canvas.panels(len(parts), min(2, len(parts)), height=height)
    for at, (axes, (part, title)) in enumerate(zip(panels, parts, strict=True)):
        _bucket(axes, found, part, sizes[at])
        canvas.label(axes, title, 'accuracy, with its 95 % interval', '')
        axes.xaxis.set_major_formatter(lambda x, _: f'{100 * x:.0f} %')
        axes.xaxis.set_major_locator(MaxNLocator(5))
    if len(found) > 1:
        panels[0].legend(frameon=False, loc='lower left', fontsize=9)
    return figure


def _rows(found, part):
    """The names of a panel's rows: the largest groups of any stage."""
    if part == 'by_margin':
        longest = max(len(x['by_margin']) for x in found.values())
        return list(range(longest))
    sizes = {}
    for x in found.values():
        for row in x['by_group'].get(part, []):
            sizes[row['group']] = row['n']
    kept = set(sorted(sizes, key=sizes.get)[-GROUPS:])
    return [name for name in sizes if name in kept]


def _bucket(axes, found, part, names):
    for turn, (stage, figures) in enumerate(found.items()):
        rows = figures['by_margin']
        if part != 'by_margin':
            by = {row['group']: row for row in figures['by_group'].get(part, [])}
            rows = [by.get(name) for name in names]
        shift = 0.26 * (turn - (len(found) - 1) / 2)
        colour = COLOURS[turn % len(COLOURS)]
        held = [(at + shift, row) for at, row in enumerate(rows) if row]
        y = [at for at, _ in held]
        low, high = np.array([row['ci95'] for _, row in held]).T
        axes.hlines(y, low, high, color=colour, lw=3, alpha=0.5)
        values = [row['accuracy'] for _, row in held]
        axes.plot(values, y, 'o', color=colour, ms=6, label=stage)
    axes.set_yticks(range(len(names)), _labels(found, part, names))
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis='y', visible=False)


def _labels(found, part, names):
    if part == 'by_margin':
        last = len(names) - 1
        ends = {0: 'least sure', last: 'surest'}
        return [ends.get(i, f'{i + 1} of {len(names)}') for i in names]
    counts = {}
    for x in found.values():
        for row in x['by_group'].get(part, []):
            counts[row['group']] = row['n']
    return [f'{name}, n={counts[name]:,}' for name in names]
