"""Figures and texts as people write them; '' for a figure that is missing."""

import html
from typing import Any

from perl.report.recorded import is_number


def number(value: Any) -> str:
    """Three digits, or more where it is an integer part."""
    if not is_number(value):
        return ''
    return f'{value:,.0f}' if abs(value) >= 100 else f'{value:.3g}'


def count(value: Any) -> str:
    """An integer with thousands set apart."""
    return f'{value:,.0f}' if is_number(value) else ''


def amount(value: Any) -> str:
    """Bytes as MiB or GiB."""
    if not is_number(value):
        return ''
    return f'{value / 2**30:.2f} GiB' if value >= 2**30 else f'{value / 2**20:.1f} MiB'


def duration(value: Any) -> str:
    """Seconds as people say them."""
    if not is_number(value):
        return ''
    if value < 60:
        return f'{value:.1f} s'
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours} h {minutes:02} min' if hours else f'{minutes} min {rest:02} s'


def text(value: Any, width: int) -> str:
    """Text in a Markdown cell, its end where it is too long."""
    value = str(value or '')
    value = value if len(value) <= width else '…' + value[-width:]
    value = html.escape(value, quote=False)
    for sign in '\\`*_|[]':
        value = value.replace(sign, f'\\{sign}')
    return '<br>'.join(value.split('\n'))
