"""The error class for mistakes of the user."""


class UserError(ValueError):
    """A mistake in the user's input; one line says what, where and how to fix it.

    Commands print the message without a traceback and exit with status 1.
    """
