"""What somebody may have meant."""

import difflib
from collections.abc import Iterable


def meant(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` where something known is near, else nothing."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f'; did you mean {near[0]!r}?' if near else ''


def near_miss(name: str, known: Iterable[str]) -> str:
    """The end of an error: `; did you mean 'x'?`, and what there is to choose from."""
    known = list(known)
    return f'{meant(name, known)} (there is {", ".join(known)})'
