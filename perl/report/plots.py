"""Plots of a report. Each function returns a figure, or None where data are missing."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from perl.report import canvas
from perl.report.canvas import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
)
from perl.report.recorded import (
    Recorded,
    interval,
    is_number,
    phases,
    series,
)
from perl.report.wording import duration

_SUPERVISED = {
    'loss': ('loss', 'nats'),
    'accuracy': ('accuracy', 'share in the right order'),
    'auc': ('AUC', 'area under the curve'),
}
_POLICY = {
    'reward': ('reward', 'model reward', BLUE),
    'gold': ('true reward', 'true reward', GREEN),
    'kl': ('KL to the reference', 'nats a response', ORANGE),
    'entropy': ('entropy', 'nats a token', PURPLE),
    'response_length': ('response length', 'tokens', BLUE),
    'no_eos': ('responses without an end', 'share', GREY),
}


def supervised(recorded: Recorded, stage: str) -> Figure | None:
    """Loss and held-out figures along the steps."""
    rows = recorded.metrics.get(stage, [])
    found = {
        name: (series(rows, name), series(rows, f'val_{name}')) for name in _SUPERVISED
    }
    found = {k: both for k, both in found.items() if both[0][0] or both[1][0]}
    if not found:
        return None
    figure, panels = canvas.panels(len(found), len(found))
    for axes, (name, (train, held)) in zip(panels, found.items(), strict=True):
        title, unit = _SUPERVISED[name]
        if train[0]:
            canvas.line(axes, *train, BLUE, 'training')
        if held[0]:
            axes.plot(*held, color=ORANGE, marker='o', ms=4, label='held out')
        canvas.label(axes, f'{stage}: {title}', 'step', unit)
        if held[0]:
            axes.legend(frameon=False)
    return figure


def policy(recorded: Recorded, stage: str) -> Figure | None:
    """Reward, KL, entropy and length along the iterations."""
    rows = recorded.metrics.get(stage, [])
    found = {name: series(rows, name) for name in _POLICY}
    found = {name: both for name, both in found.items() if both[0]}
    if not found:
        return None
    columns = 1 if len(found) == 1 else 2 if len(found) in (2, 4) else 3
    figure, panels = canvas.panels(len(found), columns)
    for axes, (name, both) in zip(panels, found.items(), strict=False):
        title, unit, colour = _POLICY[name]
        canvas.line(axes, *both, colour, title)
        canvas.label(axes, title, 'iteration', unit)
    return figure


def reward_kl(recorded: Recorded, stage: str) -> Figure | None:
    """The way of a policy in the plane of KL and reward, one point an iteration."""
    rows = recorded.metrics.get(stage, [])
    names = [name for name in ('reward', 'gold') if series(rows, name, 'kl')[0]]
    if not names:
        return None
    figure, panels = canvas.panels(len(names), len(names), height=3.8)
    for axes, name in zip(panels, names, strict=True):
        kept = [row for row in rows if is_number(row.get('kl'))]
        kept = [row for row in kept if is_number(row.get(name))]
        x, y, steps = ([row[k] for row in kept] for k in ('kl', name, 'step'))
        axes.plot(x, y, color='#D5D8DC', lw=1, zorder=1)
        dots = axes.scatter(x, y, c=steps, cmap='viridis', s=24, zorder=2)
        title = _POLICY[name][0]
        canvas.label(
            axes, f'{title} against KL', 'KL to the reference, nats a response', title
        )
        axes.xaxis.set_major_locator(MaxNLocator(6))
    figure.colorbar(dots, ax=panels, label='iteration', pad=0.01)
    return figure


def histograms(recorded: Recorded, stage: str) -> Figure | None:
    """Rewards of held-out responses, before and after."""
    rows = recorded.samples.get(stage, [])
    found = {}
    for name in ('reward', 'gold'):
        before, after = (
            [row[key] for row in rows if is_number(row.get(key))]
            for key in (f'{name}_reference', name)
        )
        if before or after:
            found[name] = before, after
    if not found:
        return None
    figure, panels = canvas.panels(len(found), len(found))
    for axes, (name, sides) in zip(panels, found.items(), strict=True):
        edges = np.histogram_bin_edges(np.concatenate(sides), 24)
        for values, colour, said in zip(
            sides, (GREY, BLUE), ('before', 'after'), strict=True
        ):
            if values:
                mean = f'{said}, mean {np.mean(values):.3g}'
                axes.hist(values, edges, color=colour, alpha=0.55, label=mean)
                axes.axvline(np.mean(values), 0, 0.83, color=colour, lw=2, ls='--')
        canvas.label(
            axes, f'{stage}: {_POLICY[name][0]}', _POLICY[name][1], 'responses'
        )
        axes.set_ylim(top=1.2 * axes.get_ylim()[1])  # room for the legend
        axes.legend(frameon=False, ncols=2, loc='upper right')
    return figure


def accuracies(recorded: Recorded) -> Figure | None:
    """Held-out accuracy of every reward model with its interval."""
    stages = [
        stage
        for stage in recorded.stages('reward')
        if is_number(recorded.results.get(stage, {}).get('accuracy'))
    ]
    if len(stages) < 2:
        return None
    figure, (axes,) = canvas.panels(1, 1, height=1.1 + 0.5 * len(stages))
    for at, stage in enumerate(stages):
        figures = recorded.results[stage]
        value, around = figures['accuracy'], interval(figures, 'accuracy')
        colour = ORANGE if str(figures.get('tuning', '')).startswith('full') else BLUE
        if around:
            axes.plot(around, [at, at], color=colour, lw=3, alpha=0.5)
        axes.plot([value], [at], 'o', color=colour, ms=8)
        shift = {'xytext': (0, 8), 'textcoords': 'offset points', 'ha': 'center'}
        axes.annotate(f'{100 * value:.1f} %', (value, at), color=colour, **shift)
    labels = [f'{s} ({recorded.results[s].get("tuning", "?")})' for s in stages]
    axes.set_yticks(range(len(stages)), labels)
    axes.set_ylim(len(stages) - 0.4, -0.7)
    axes.grid(axis='y', visible=False)
    canvas.label(axes, 'reward models', 'held-out accuracy, with its 95 % interval', '')
    axes.xaxis.set_major_formatter(lambda x, _: f'{100 * x:.0f} %')
    return figure


def time(recorded: Recorded) -> Figure | None:
    """Seconds of every stage, by phase."""
    spent = {stage: phases(recorded, stage) for stage in recorded.stages()}
    spent = {stage: parts for stage, parts in spent.items() if parts}
    if not spent:
        return None
    order = ['training', 'rollout', 'score', 'update', 'evaluation']
    names = sorted({name for parts in spent.values() for name in parts} - {*order})
    names = [n for n in order if any(n in parts for parts in spent.values())] + names
    colours = dict(zip(order, (BLUE, GREEN, PURPLE, ORANGE, '#E69F00'), strict=True))
    figure, (axes,) = canvas.panels(1, 1, height=1.4 + 0.42 * len(spent))
    left = np.zeros(len(spent))
    for name in names:
        width = np.array([parts.get(name, 0.0) for parts in spent.values()])
        colour = colours.get(name, GREY)
        axes.barh(list(spent), width, left=left, color=colour, label=name, height=0.62)
        left += width
    for at, total in enumerate(left):
        axes.annotate(f' {duration(total)}', (total, at), va='center')
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.grid(axis='y', visible=False)
    axes.legend(frameon=False, loc='center left', bbox_to_anchor=(1, 0.5))
    canvas.label(axes, 'time by phase', 'seconds', '')
    return figure
