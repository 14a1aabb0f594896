"""Plots of reward against KL. Functions return None without data."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from perl.evaluation.figures.over_optimisation import NEAREST, Fit
from perl.report import style
from perl.report.style import BLUE, COLOURS, GREEN, GREY, ORANGE
from perl.report.trajectories import REWARDS
from perl.report.values import is_number


@style.styled
def frontier(found: dict[str, Any]) -> Figure | None:
    """Every policy in the plane of KL and reward, and the frontier of all policies.

    Args:
        found: the result of `trajectories.trajectories`.
    """
    names = [name for name in REWARDS if found.get(name)]
    if not names:
        return None
    figure, panels = style.panels(len(names), len(names), height=4.4)
    for axes, name in zip(panels, names, strict=True):
        for index, policy in enumerate(found['policies']):
            _trajectory(axes, policy, name, COLOURS[index % len(COLOURS)])
        axes.step(
            [row['kl'] for row in found[name]],
            [row[name] for row in found[name]],
            where='post',
            color='#33373D',
            lw=1.2,
            ls=':',
            label='frontier',
        )
        title = f'{REWARDS[name]} against KL'
        style.label(axes, title, 'KL to the reference, nats a response', REWARDS[name])
        _root_scale(axes)
    if any(policy['held_out'] for policy in found['policies']):
        star = {'color': GREY, 'ms': 12, 'mec': 'white'}
        panels[0].plot([], [], '*', **star, label='held out, after')
    style.legend_below(figure)
    return figure


def _trajectory(axes: Axes, policy: dict[str, Any], name: str, colour: str) -> None:
    """One policy: points for groups of iterations, a star for the finished policy."""
    points = [row for row in policy['points'] if is_number(row.get(name))]
    x, y = ([row[key] for row in points] for key in ('kl', name))
    axes.plot(x, y, color=colour, lw=1, alpha=0.35)
    label = style.short(policy['label'])
    axes.plot(x, y, 'o', color=colour, ms=4, label=label)
    final = policy['held_out']
    if is_number(final.get(name)) and is_number(final.get('kl')):
        axes.plot(final['kl'], final[name], '*', color=colour, ms=14, mec='white')


def _root_scale(axes):
    """Scales the KL axis by the square root, in which policies move about evenly.

    A KL is estimated from samples, so one near 0 may be negative: it is drawn to the
    left of 0, on the same scale.
    """
    end = axes.get_xlim()[1]
    begin = min([0.0, *(x for line in axes.get_lines() for x in line.get_xdata())])
    axes.set_xscale(
        'function',
        functions=(
            lambda x: np.sign(x) * np.sqrt(np.abs(x)),
            lambda x: np.sign(x) * np.square(x),
        ),
    )
    ticks = {float(f'{x:.1g}') for x in np.linspace(0, np.sqrt(end), 7) ** 2}
    axes.set_xticks(sorted(ticks), [f'{x:g}' for x in sorted(ticks)])
    axes.set_xlim(1.2 * begin, end)


@style.styled
def optimisation(curves: dict[str, dict[str, Any]], title: str) -> Figure | None:
    """Gains over the start against the square root of KL, with the fitted curves.

    Args:
        curves: kl, gain and fit (`fit_metrics`) by the name of the reward.
        title: title of the plot.
    """
    curves = {name: curves[name] for name in REWARDS if name in curves}
    if not curves:
        return None
    figure, panels = style.panels(len(curves), len(curves), height=4.8)
    for axes, (name, curve) in zip(panels, curves.items(), strict=True):
        _measured(axes, curve, GREEN if name == 'gold' else BLUE)
        if is_number(curve['fit']['alpha']):
            _fit(axes, curve['fit'])
        axes.axhline(0, color=GREY, lw=1)
        about = f'{style.short(title)}: {REWARDS[name]}'
        style.label(axes, about, 'd = √KL', 'gain over the start')
        axes.set_xlim(left=0)
        axes.legend(loc='upper center', bbox_to_anchor=(0.5, -0.16), ncols=2)
    return figure


def _measured(axes, curve, colour):
    """The measured points, with a ring around the highest."""
    kl, gain = np.maximum(curve['kl'], 0), np.array(curve['gain'])
    near = (kl < NEAREST) & (curve['fit']['form'] == 'rl')
    d = np.sqrt(kl)
    axes.plot(d[~near], gain[~near], 'o', color=colour, ms=5, label='measured')
    if near.any():
        left = f'left out, KL < {NEAREST:g}'
        axes.plot(d[near], gain[near], 'o', color=colour, ms=5, mfc='w', label=left)
    top = int(np.argmax(gain))
    ring = {'ms': 12, 'mfc': 'none', 'mec': '#33373D', 'ls': ''}
    label = f'highest, d = {d[top]:.2f}'
    axes.plot(d[top], gain[top], 'o', **ring, label=label)


def _fit(axes, fit):
    """The fitted curve, and its peak if it is within the measured range."""
    form = 'd (α − β d)' if fit['form'] == 'best_of_n' else 'd (α − β log d)'
    label = f'{form}\nα = {fit["alpha"]:.2g}, β = {fit["beta"]:.2g}'
    curve = Fit(fit['form'], fit['alpha'], fit['beta'])
    d = np.linspace(0, 1.05 * fit['farthest'], 200)
    axes.plot(d, curve(d), color=ORANGE, lw=1.5, label=label)
    if is_number(fit['peak']) and fit['peak'] <= fit['farthest']:
        peak = f'peak of the curve, d = {fit["peak"]:.2f}'
        axes.axvline(fit['peak'], color=GREY, lw=1, ls='--', label=peak)
