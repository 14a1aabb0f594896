"""The style of a report's plots: colours, panels, lines, labels."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from perl.report.markdown import printable

# Okabe and Ito's colours, which colour-blind people can distinguish
BLUE, ORANGE, GREEN, PURPLE, GREY = (
    '#0072B2',
    '#D55E00',
    '#009E73',
    '#CC79A7',
    '#8A8F98',
)
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, '#E69F00', '#56B4E9', '#5F6570')
STYLE = {
    'axes.axisbelow': True,
    'axes.edgecolor': '#5F6570',
    'axes.grid': True,
    'axes.labelcolor': '#33373D',
    'axes.spines.right': False,
    'axes.spines.top': False,
    'figure.constrained_layout.use': True,
    'figure.dpi': 100,
    'font.size': 10,
    'grid.color': '#E6E8EB',
    'legend.frameon': False,
    'legend.fontsize': 9,
    'lines.linewidth': 1.8,
    'text.parse_math': False,  # the name of a group may have dollar signs
    'xtick.color': '#5F6570',
    'ytick.color': '#5F6570',
}
WIDTH = 9.0  # inches; 900 pixels
NAME = 28  # most characters of a name from the data

Plot = Callable[..., Figure | None]


def styled(plot: Plot) -> Plot:
    """Wraps a plot function to draw in the style of the report."""

    @functools.wraps(plot)
    def within(*args: Any, **options: Any) -> Figure | None:
        with matplotlib.rc_context(STYLE):
            return plot(*args, **options)

    return within


def panels(count: int, columns: int, height: float = 0) -> tuple[Figure, list[Axes]]:
    """A figure of the report's width with `count` panels; height in inches."""
    lines = -(-count // columns)
    figure = Figure(figsize=(WIDTH, height or 0.4 + 2.7 * lines))
    axes = figure.subplots(lines, columns, squeeze=False).ravel().tolist()
    for empty in axes[count:]:
        empty.set_visible(False)
    return figure, axes[:count]


def line(
    axes: Axes, x: Sequence[float], y: Sequence[float], colour: str, label: str
) -> None:
    """Draws a metric; a long one in pale colour, with its running mean above."""
    if len(y) < 20:
        axes.plot(x, y, color=colour, label=label, marker='o', ms=3)
        return
    axes.plot(x, y, color=colour, alpha=0.25, lw=1)
    axes.plot(x, smooth(y), color=colour, label=label)


def smooth(values: Sequence[float]) -> np.ndarray:
    """The running mean over neighbours within 1/40 of the length: `[n]` -> `[n]`."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    at, reach = np.arange(len(values)), max(1, len(values) // 40)
    low, high = np.maximum(at - reach, 0), np.minimum(at + reach + 1, len(values))
    return (total[high] - total[low]) / (high - low)


REFERENCE = {
    'color': GREY,
    'lw': 1.2,
    'ls': '--',
    'zorder': 1,
}  # a line to compare with


def label(axes: Axes, title: str, x: str, y: str) -> None:
    """Sets the title and the axis labels; steps are whole numbers."""
    axes.set_title(title, loc='left', fontsize=11, fontweight='bold')
    axes.set(xlabel=x, ylabel=y)
    if x.startswith(('step', 'iteration')):
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlim(left=0)


def legend_below(figure: Figure, columns: int = 4) -> None:
    """One legend for all panels, below them."""
    entries = {}
    for axes in figure.axes:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(name, handle)
    if entries:
        handles, names = entries.values(), entries.keys()
        figure.legend(handles, names, loc='outside lower center', ncols=columns)


def as_percent(axis: Any) -> None:
    """Shows the shares on an axis as percentages."""
    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(lambda x, _: f'{100 * x:.0f} %')


def short(name: Any) -> str:
    """A name from the data, in one line of at most `NAME` characters."""
    text = printable(str(name))
    return text if len(text) <= NAME else text[: NAME - 1] + '…'
