"""The arguments of a config file: what follows the colon of `--config=FILE:…`."""

from typing import Any

from ml_collections import ConfigDict

from perl.system.errors import UserError
from perl.system.suggest import meant

_FLAGS = {'': True, 'true': True, '1': True, 'false': False, '0': False}
_WORDS = {bool: 'true or false', int: 'a whole number', float: 'a number'}


def parse_arg(arg: str | None, **defaults: Any) -> ConfigDict:
    """`'tuning=lora,rank=4'` as values of the types of the defaults.

    Raises:
        UserError: an argument is unknown or given twice, or its value has another type.
    """
    values, given = dict(defaults), set()
    for part in (arg or '').split(','):
        if not part:
            continue
        name, _, text = part.partition('=')
        if name not in defaults:
            known = ', '.join(defaults)
            takes = f'arguments: {known}' if known else 'no arguments'
            raise UserError(
                f'config argument {name!r} is unknown{meant(name, defaults)}; the '
                f'config takes {takes}'
            )
        if name in given:
            raise UserError(f'config argument {name!r} is given twice; give it once')
        given.add(name)
        kind = type(defaults[name])
        try:
            values[name] = _FLAGS[text] if kind is bool else kind(text)
        except (ValueError, KeyError):
            raise UserError(
                f'config argument {name}={text!r} is not {_WORDS.get(kind, "text")}'
            ) from None
    return ConfigDict(values)
