"""Flags in the words of this package, and not in those of its libraries."""

import re

from absl import flags

from perl.system.suggest import meant

# settings that are lists of stages, given as names with commas between them
_STAGES = re.compile(r'(--?config\.(?:stages|\w+\.of)=)(\w+(?:,\w+)+)')

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
    """`--config.stages=sft,reward` as the tuple that ml_collections parses."""
    found = _STAGES.fullmatch(argument)
    return found[1] + repr(tuple(found[2].split(','))) if found else argument
