"""The error class for mistakes of the user."""

import contextlib
import re
from collections.abc import Iterator


class UserError(ValueError):
    """A mistake in the user's input; one line says what, where and how to fix it.

    Commands print the message without a traceback and exit with status 1.
    """


@contextlib.contextmanager
def within(where: str) -> Iterator[None]:
    """Puts before a `UserError` of the block where it was found, if that has a name."""
    try:
        yield
    except UserError as error:
        raise UserError(f'{where}: {error}' if where else str(error)) from None


@contextlib.contextmanager
def renamed(setting: str, name: str) -> Iterator[None]:
    """Lets a `UserError` of the block say `name` where it says `setting`, which is not
    what a person has given."""
    try:
        yield
    except UserError as error:
        pattern = rf'\b{re.escape(setting)}\b'
        raise UserError(re.sub(pattern, lambda _: name, str(error))) from None
