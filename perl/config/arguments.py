"""The arguments of a config file: what follows the colon of `--config=FILE:…`."""

from typing import Any

from ml_collections import ConfigDict

from perl.system.errors import UserError
from perl.system.suggest import meant

_FLAGS = {'': True, 'true': True, '1': True, 'false': False, '0': False}


def parse_arg(arg: str | None, **defaults: Any) -> ConfigDict:
    """`'tuning=lora,rank=4'` as values of the types of the defaults.

    Raises:
        UserError: an unknown argument or a value of another type.
    """
    values = dict(defaults)
    for part in (arg or '').split(','):
        if not part:
            continue
        name, _, text = part.partition('=')
        if name not in defaults:
            known = f'there are {", ".join(defaults)}' if defaults else 'it takes none'
            raise UserError(
                f'config argument {name!r} is unknown{meant(name, defaults)}; {known}'
            )
        kind = type(defaults[name])
        try:
            values[name] = _FLAGS[text] if kind is bool else kind(text)
        except (ValueError, KeyError):
            raise UserError(
                f'config argument {name}={text!r} should be a {kind.__name__}'
            ) from None
    return ConfigDict(values)
