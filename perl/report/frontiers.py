"""Plots of reward against KL; None where data are missing."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from perl.evaluation.figures.over_optimisation import NEAREST, Fit
from perl.report import canvas
from perl.report.canvas import (
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    ORANGE,
)
from perl.report.recorded import is_number
from perl.report.trajectories import REWARDS


def frontier(found: dict[str, Any]) -> Figure | None:
    """Every policy's way in the plane of KL and reward, and the frontier of all."""
    names = [name for name in REWARDS if found.get(name)]
    if not names:
        return None
    figure, panels = canvas.panels(len(names), len(names), height=4.4)
    for axes, name in zip(panels, names, strict=True):
        for turn, way in enumerate(found['ways']):
            colour = COLOURS[turn % len(COLOURS)]
            points = [row for row in way['points'] if is_number(row.get(name))]
            x, y = ([row[key] for row in points] for key in ('kl', name))
            axes.plot(x, y, color=colour, lw=1, alpha=0.35)
            axes.plot(x, y, 'o', color=colour, ms=4, label=way['label'])
            held = way['held_out']
            if is_number(held.get(name)) and is_number(held.get('kl')):
                axes.plot(held['kl'], held[name], '*', color=colour, ms=14, mec='white')
        best = found[name]
        axes.step(
            [row['kl'] for row in best],
            [row[name] for row in best],
            where='post',
            color='#33373D',
            lw=1.2,
            ls=':',
            label='frontier',
        )
        title = f'{REWARDS[name]} against KL'
        canvas.label(axes, title, 'KL to the reference, nats a response', REWARDS[name])
        _root_scale(axes)
    panels[0].plot([], [], '*', color=GREY, ms=12, mec='white', label='held out, after')
    entries = panels[0].get_legend_handles_labels()
    figure.legend(*entries, loc='outside lower center', ncols=4, frameon=False)
    return figure


def _root_scale(axes):
    """KL by its root, in which policies move about evenly."""
    end = axes.get_xlim()[1]
    axes.set_xscale(
        'function', functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square)
    )
    ticks = {float(f'{x:.1g}') for x in np.linspace(0, np.sqrt(end), 7) ** 2}
    axes.set_xticks(sorted(ticks), [f'{x:g}' for x in sorted(ticks)])
    axes.set_xlim(0, end)


def optimisation(curves: dict[str, dict[str, Any]], title: str) -> Figure | None:
    """Gains over the start against the square root of KL, with the fitted curves.

    Args:
        curves: kl, gain and fit (`fit_metrics`) by the name of the reward.
        title: of the plot.
    """
    curves = {name: curves[name] for name in REWARDS if name in curves}
    if not curves:
        return None
    figure, panels = canvas.panels(len(curves), len(curves), height=3.8)
    for axes, (name, curve) in zip(panels, curves.items(), strict=True):
        kl, gain = np.maximum(curve['kl'], 0), np.array(curve['gain'])
        colour = GREEN if name == 'gold' else BLUE
        near = (kl < NEAREST) & (curve['fit']['form'] == 'rl')
        d = np.sqrt(kl)
        axes.plot(d[~near], gain[~near], 'o', color=colour, ms=5, label='measured')
        if near.any():
            left = f'left out, KL below {NEAREST:g}'
            axes.plot(d[near], gain[near], 'o', color=colour, ms=5, mfc='w', label=left)
        if is_number(curve['fit']['alpha']):
            _fit(axes, curve['fit'], d.max())
        said = f'{REWARDS[name]}, gain over the start'
        canvas.label(axes, f'{title}: {REWARDS[name]}', 'd = √KL', said)
        axes.legend(frameon=False, loc='best', fontsize=9)
    return figure


def _fit(axes, fitted, farthest):
    bon = fitted['form'] == 'best_of_n'
    form = 'd (α − β d)' if bon else 'd (α − β log d)'
    said = f'{form}\nα = {fitted["alpha"]:.3g}, β = {fitted["beta"]:.3g}'
    curve = Fit(fitted['form'], fitted['alpha'], fitted['beta'])
    d = np.linspace(0, 1.05 * farthest, 200)
    axes.plot(d, curve(d), color=ORANGE, lw=1.5, label=said)
    if is_number(fitted['peak']) and fitted['peak'] <= farthest:
        peak = f'peak at d = {fitted["peak"]:.2f}'
        axes.axvline(fitted['peak'], color=GREY, lw=1, ls='--', label=peak)
