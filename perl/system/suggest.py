"""Suggests the closest known name for a misspelled one."""

import difflib
from collections.abc import Iterable

from perl.system.errors import UserError


def meant(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` if a known name is similar, else ''."""
    near = difflib.get_close_matches(str(name), list(known), 1)
    return f'; did you mean {near[0]!r}?' if near else ''


def near_miss(name: str, known: Iterable[str]) -> str:
    """The end of an error: `; did you mean 'x'?` and the list of known names."""
    known = list(known)
    return f'{meant(name, known)} (there is {", ".join(known)})'


def one_of(where: str, value: str, *known: str) -> None:
    """Raises a `UserError` unless the value is one of the known values.

    Args:
        where: the setting, such as `sft.start`.
        value: its value.
        *known: the allowed values.
    """
    if value not in known:
        raise UserError(
            f'{where}: {value!r} is not one of {", ".join(known)}{meant(value, known)}'
        )
