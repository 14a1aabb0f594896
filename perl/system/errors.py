"""The one error that is meant for a person to read."""


class UserError(ValueError):
    """A mistake in what the user gave: says what, where and how to mend it in one line.

    Entry points print the message without a traceback and exit with status 1.
    """
