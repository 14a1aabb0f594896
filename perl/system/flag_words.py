"""Flags in the words of this package, and not in those of its libraries."""

import re

from absl import flags

from perl.system.errors import UserError
from perl.system.suggest import meant

# settings that are lists of stages, given as names with commas between them
_STAGES = re.compile(r'(--?config\.(?:stages|\w+\.of))=([\w-]*(?:,[\w-]*)+)')

_NUMBERS = {
    'invalid literal for int': 'a whole number',
    'could not convert string to float': 'a number',
}
_NOT_A_NUMBER = re.compile(rf'flag (--\S+?)=(.*?): ({"|".join(_NUMBERS)}).*', re.DOTALL)


def plain(error: Exception) -> Exception | str:
    """What absl says of a flag, in the words of this package."""
    if isinstance(error, flags.UnrecognizedFlagError):
        near = meant(f'--{error.flagname}', [f'--{name}' for name in flags.FLAGS])
        return f'--{error.flagname} is not a flag{near or "; --help lists all flags"}'
    if found := _NOT_A_NUMBER.fullmatch(str(error)):
        name, value, kind = found.groups()
        return f'{name}: {value!r} is not {_NUMBERS[kind]}'
    return error


def as_tuple(argument: str) -> str:
    """`--config.stages=sft,reward` as the tuple that ml_collections parses.

    Raises:
        UserError: one of the names is empty.
    """
    found = _STAGES.fullmatch(argument)
    if not found:
        return argument
    flag, names = found[1], tuple(found[2].split(','))
    if '' in names:
        raise UserError(
            f'{flag}: {found[2]!r} has an empty name; write names with one comma '
            'between two of them, such as sft,reward'
        )
    return f'{flag}={names!r}'
