"""Formats figures for reports; a missing figure becomes ''.

A figure with an interval is written with the digits that the interval justifies: one
unit of the last digit is at most half of the interval's half-width. So 80.1 % with the
interval [74.8, 84.5] becomes 80 % [75, 84].
"""

import math
from collections.abc import Mapping
from typing import Any

from perl.report.values import Interval, interval, is_number
from perl.system import sizes


def number(value: Any, digits: int = 3) -> str:
    """A number with `digits` significant digits; the integer part is never rounded."""
    if not is_number(value):
        return ''
    if abs(value) >= 10 ** (digits - 1):
        return f'{value:,.0f}'
    return f'{value:.{digits}g}'


def count(value: Any) -> str:
    """An integer with thousands separators."""
    return f'{value:,.0f}' if is_number(value) else ''


def amount(value: Any) -> str:
    """Bytes in the unit that fits, such as MiB."""
    return sizes.readable(value) if is_number(value) else ''


def duration(value: Any) -> str:
    """Seconds as seconds, minutes or hours."""
    if not is_number(value):
        return ''
    if value < 60:
        return f'{value:.1f} s'
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours} h {minutes:02} min' if hours else f'{minutes} min {rest:02} s'


def with_interval(figures: Mapping[str, Any], name: str) -> str:
    """A figure and its 95 % interval, if it has one."""
    limits = interval(figures, name)
    return _with_limits(figures.get(name), limits, decimals(limits))


def percent(figures: Mapping[str, Any], name: str) -> str:
    """A share in percent and its 95 % interval.

    Without an interval it has the digits that the interval of a share of `n` justifies.
    """
    value, limits = figures.get(name), interval(figures, name)
    if not is_number(value):
        return ''
    limits = limits and (100 * limits[0], 100 * limits[1])
    places = decimals(limits)
    if places is None:
        places = decimals(_of_a_share(figures.get('n')))
    return _with_limits(100 * value, limits, places, ' %')


def change(before: Any, after: Any, limits: Interval | None = None) -> str:
    """A figure before and after, and the 95 % interval of the one after."""
    if not (is_number(before) or is_number(after)):
        return ''
    places = decimals(limits)
    start = rounded(before, places) or '?'
    return f'{start} → {_with_limits(after, limits, places) or "?"}'


def rounded(value: Any, places: int | None) -> str:
    """A number with `places` decimals; with three significant digits for None."""
    if places is None or not is_number(value):
        return number(value)
    nearest = round(value, places) + 0.0  # no -0
    return f'{nearest:,.{max(0, places)}f}'


def decimals(limits: Interval | None) -> int | None:
    """The number of decimals that an interval justifies; negative for tens, hundreds.

    At most four significant digits. None without an interval, or if its width is 0.
    """
    if limits is None or not limits[0] < limits[1]:
        return None
    half_width = (limits[1] - limits[0]) / 2
    largest = max(map(abs, limits))
    justified = -math.floor(math.log10(half_width / 2))
    return min(justified, 3 - math.floor(math.log10(largest)))


def _with_limits(value, limits, places, unit=''):
    if not is_number(value):
        return ''
    ends = ''
    if limits:
        ends = f' [{", ".join(rounded(x, places) for x in limits)}]'
    return f'{rounded(value, places)}{unit}{ends}'


def _of_a_share(n):
    """The widest interval of a share of n in percent, which is at 50 %."""
    half_width = 100 * n**-0.5 if is_number(n) and n > 0 else 0
    return 50 - half_width, 50 + half_width
