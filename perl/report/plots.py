"""Plots of a whole run. Each function returns a figure, or None without data."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from perl.report import style
from perl.report.curves import POLICY
from perl.report.formatting import decimals, duration, rounded
from perl.report.run_folder import RunFolder, phases
from perl.report.style import BLUE, GREEN, GREY, ORANGE, PURPLE
from perl.report.values import is_number

PHASES = {
    'training': BLUE,
    'rollout': GREEN,
    'score': PURPLE,
    'update': ORANGE,
    'evaluation': '#E69F00',
}
BINS = 24


@style.styled
def reward_kl(run: RunFolder, stage: str) -> Figure | None:
    """A policy in the plane of KL and reward, one point per iteration."""
    rows = [row for row in run.metrics.get(stage, []) if is_number(row.get('kl'))]
    rows = [row for row in rows if is_number(row.get('step'))]
    points = {
        name: [row for row in rows if is_number(row.get(name))]
        for name in ('reward', 'gold')
    }
    points = {name: rows for name, rows in points.items() if rows}
    if not points:
        return None
    figures = run.results.get(stage, {})
    figure, panels = style.panels(len(points), len(points), height=4.0)
    for axes, (name, rows) in zip(panels, points.items(), strict=True):
        x, y = ([row[key] for row in rows] for key in ('kl', name))
        axes.plot(x, y, color='#D5D8DC', lw=1, zorder=1)
        done = [row['step'] - 1 for row in rows]
        dots = axes.scatter(x, y, c=done, cmap='viridis', s=24, zorder=2)
        _held_out(axes, figures, name)
        title = POLICY[name].title
        style.label(
            axes, f'{title} against KL', 'KL to the reference, nats a response', title
        )
        axes.xaxis.set_major_locator(MaxNLocator(6))
    whole = MaxNLocator(6, integer=True)
    figure.colorbar(dots, ax=panels, label='iterations done', pad=0.01, ticks=whole)
    style.legend_below(figure)
    return figure


def _held_out(axes, figures, name):
    """The finished policy and its start, on held-out prompts."""
    star = {'ms': 15, 'mec': 'black', 'zorder': 3, 'ls': ''}
    before, after = (figures.get(f'{name}_{when}') for when in ('before', 'after'))
    if is_number(before):
        axes.plot(0, before, marker='*', mfc='white', **star, label='held out, before')
    if is_number(after) and is_number(figures.get('kl')):
        place = figures['kl'], after
        axes.plot(*place, marker='*', mfc=ORANGE, **star, label='held out, after')


@style.styled
def histograms(run: RunFolder, stage: str) -> Figure | None:
    """Histograms of the rewards of held-out responses, before and after training."""
    rows = run.samples.get(stage, [])
    sides = {}
    for name in ('reward', 'gold'):
        before, after = (
            [row[key] for row in rows if is_number(row.get(key))]
            for key in (f'{name}_reference', name)
        )
        if before or after:
            sides[name] = {'before': before, 'after': after}
    if not sides:
        return None
    figure, panels = style.panels(len(sides), len(sides), height=3.4)
    for axes, (name, values) in zip(panels, sides.items(), strict=True):
        edges = np.histogram_bin_edges(np.concatenate(list(values.values())), BINS)
        _histogram(axes, values, edges)
        metric = POLICY[name]
        style.label(axes, f'{stage}: {metric.title}', metric.unit, 'responses')
    return figure


def _histogram(axes, sides, edges):
    for (when, values), colour in zip(sides.items(), (GREY, BLUE), strict=True):
        if not values:
            continue
        mean, error = np.mean(values), np.std(values) / len(values) ** 0.5
        places = decimals((mean - 1.96 * error, mean + 1.96 * error))
        name = f'{when}, mean {rounded(float(mean), places)}'
        axes.hist(values, edges, color=colour, alpha=0.55, label=name)
        axes.axvline(mean, 0, 0.78, color=colour, lw=2, ls='--')
    axes.set_ylim(top=axes.get_ylim()[1] / 0.78)  # room for the legend
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.legend(loc='upper left', borderaxespad=0.2)


@style.styled
def time(run: RunFolder) -> Figure | None:
    """The time of every stage in seconds, by phase."""
    spent = {stage: phases(run, stage) for stage in run.stages()}
    spent = {stage: parts for stage, parts in spent.items() if parts}
    if not spent:
        return None
    others = sorted({name for parts in spent.values() for name in parts} - {*PHASES})
    names = [name for name in PHASES if any(name in x for x in spent.values())]
    figure, (axes,) = style.panels(1, 1, height=1.6 + 0.42 * len(spent))
    left = np.zeros(len(spent))
    for name in [*names, *others]:
        width = np.array([parts.get(name, 0.0) for parts in spent.values()])
        colour = PHASES.get(name, GREY)
        axes.barh(list(spent), width, left=left, color=colour, label=name, height=0.62)
        left += width
    for place, total in enumerate(left):
        axes.annotate(f' {duration(total)}', (total, place), va='center')
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.grid(axis='y', visible=False)
    if len(names) + len(others) > 1:
        style.legend_below(figure, columns=6)
    style.label(axes, 'time by phase', 'seconds', '')
    return figure
