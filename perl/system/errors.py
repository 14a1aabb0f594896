"""The error class for mistakes of the user."""

import contextlib
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
