"""What somebody may have meant."""

import difflib
from collections.abc import Iterable


def near_miss(name: str, known: Iterable[str]) -> str:
    """The end of an error: `; did you mean 'x'?`, and what there is to choose from."""
    known = list(known)
    near = difflib.get_close_matches(name, known, 1)
    meant = f'; did you mean {near[0]!r}?' if near else ''
    return f'{meant} (there is {", ".join(known)})'
