"""Compares the names and types of a tree of settings with those of its defaults.

A setting must have the type of its default. But a whole number is accepted as a number,
a path as text, and a list as a tuple, since JSON has no tuples.
"""

import math
import os
from collections.abc import Mapping
from typing import Any

from perl.system.errors import UserError
from perl.system.suggest import meant_setting

LARGEST = 10**15  # of a whole number in a file that this package writes

_TYPES = {
    bool: 'True or False',
    int: 'a whole number',
    float: 'a number',
    str: 'text',
    tuple: 'a list',
}


def check_names(settings: Any, defaults: Any, where: str = '') -> None:
    """Raises a `UserError` for the first name that the defaults do not have.

    Args:
        settings: a mapping or a `ConfigDict`; it may contain sections.
        defaults: the same with all known names.
        where: the path of the settings, for the error.
    """
    for name, value in settings.items():
        if name not in defaults:
            raise UserError(
                f'{join(where, name)} is unknown{meant_setting(name, defaults, where)}'
            )
        if is_section(value) and is_section(defaults[name]):
            check_names(value, defaults[name], join(where, name))


def check_types(settings: Any, defaults: Any, where: str = '') -> None:
    """Raises a `UserError` for the first setting that is missing or does not have the
    type of its default; arguments as in `check_names`."""
    for name, default in defaults.items():
        path = join(where, name)
        if name not in settings:
            raise UserError(f'{path} is missing; start from a config of perl.config')
        value = settings[name]
        if not is_section(default):
            check_type(path, value, default)
        elif is_section(value):
            check_types(value, default, path)
        else:
            raise UserError(f'{path}: {value!r:.60} is one value, not a section')


def check_type(where: str, value: Any, default: Any) -> None:
    """Raises a `UserError` unless a value has the type of its default.

    The elements of a list must be text if those of the default are text, or if the
    default is empty.
    """
    kind = next((kind for kind in _TYPES if isinstance(default, kind)), None)
    if kind is None:  # the default does not fix the type
        return
    if kind is tuple and isinstance(value, tuple | list):
        if all(isinstance(element, str) for element in default):
            for place, element in enumerate(value):
                check_type(f'{where}[{place}]', element, '')
        return
    allowed = {float: (int, float), str: (str, os.PathLike)}.get(kind, kind)
    as_number = isinstance(value, bool) and kind is not bool
    if as_number or not isinstance(value, allowed):
        shown = f'{value!r:.60} ({type(value).__name__})'
        if is_section(value):
            shown = 'a section of settings'
        example = f', such as {default!r}' if default not in ('', ()) else ''
        raise UserError(f'{where}: {shown} is not {_TYPES[kind]}{example}')


def check_fields(values: Any, defaults: Mapping[str, Any], where: str = '') -> None:
    """Raises a `UserError` unless a JSON object from a file has just these fields, of
    these types, and no number in it is infinite or beyond all use.

    Args:
        values: of the file, whatever it is.
        defaults: every field with a value of its type.
        where: the file, for the error.
    """
    if not is_section(values):
        raise UserError(f'{where or "it"}: {values!r:.60} is not a section of fields')
    check_names(dict.fromkeys(values), defaults, where)  # not those of its sections
    check_types(values, defaults, where)
    check_numbers(values, where)


def check_numbers(value: Any, where: str = '') -> None:
    """Raises a `UserError` for the first number in a JSON value that is not finite, or
    larger than any that this package writes."""
    if is_section(value):
        for name, x in value.items():
            check_numbers(x, join(where, name))
    elif isinstance(value, list | tuple):
        for place, x in enumerate(value):
            check_numbers(x, f'{where}[{place}]')
    # an integer with many digits does not fit a float, so it is compared first
    elif isinstance(value, int) and abs(value) > LARGEST:
        raise UserError(f'{where}: the number is larger than {LARGEST:g}')
    elif isinstance(value, float) and not math.isfinite(value):
        raise UserError(f'{where}: {value} must be finite')


def is_section(value: Any) -> bool:
    """Whether a value is a mapping or a `ConfigDict`."""
    return isinstance(value, Mapping) or hasattr(value, 'keys')


def join(where: str, name: Any) -> str:
    """The path of a name in a section."""
    return f'{where}.{name}' if where else str(name)
