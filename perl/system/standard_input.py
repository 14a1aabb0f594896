"""Reads standard input as text."""

import sys

from perl.system.errors import UserError


def lines() -> list[str]:
    """The lines of standard input, without line endings.

    Raises:
        UserError: a line is not UTF-8.
    """
    data = sys.stdin.buffer.read() if sys.stdin else b''  # a service may have none
    decoded = []
    for number, line in enumerate(data.splitlines(), 1):
        try:
            decoded.append(line.decode('utf-8'))
        except UnicodeDecodeError as error:
            raise UserError(
                f'standard input, line {number}: byte {error.start + 1} is not UTF-8; '
                'convert the text to UTF-8'
            ) from None
    return decoded
