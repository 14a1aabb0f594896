"""Reads figures that may be missing: numbers, intervals and series."""

import sys
from collections.abc import Iterable, Mapping
from typing import Any

Interval = tuple[float, float]


def is_number(value: Any) -> bool:
    """Whether a figure exists and is finite; in JSON, NaN is null."""
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and abs(value) <= sys.float_info.max


def interval(figures: Mapping[str, Any], name: str) -> Interval | None:
    """The 95 % interval of a figure, or None.

    Stages write it as `<name>_ci95`, or in a dict `ci95` by the name of the figure. If
    `ci95` is a list, it is the interval of the accuracy.
    """
    limits = figures.get(f'{name}_ci95')
    if limits is None:
        limits = figures.get('ci95')
        if isinstance(limits, dict):
            limits = limits.get(name)
        elif name != 'accuracy':
            limits = None
    is_pair = isinstance(limits, list | tuple) and len(limits) == 2
    return tuple(limits) if is_pair and all(map(is_number, limits)) else None


def series(
    rows: Iterable[Mapping[str, Any]], name: str, along: str = 'step'
) -> tuple[list[float], list[float]]:
    """Two metrics, `along` and `name`, of the rows that have both: n values each."""
    pairs = [(row.get(along), row.get(name)) for row in rows]
    pairs = [pair for pair in pairs if all(map(is_number, pair))]
    return [x for x, _ in pairs], [y for _, y in pairs]
