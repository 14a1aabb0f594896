"""Errors of the operating system on reads and writes, and advice to the user."""

import errno
import os
import re

from perl.system.errors import UserError

_MENDS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), 'free some space'),
    **dict.fromkeys((errno.EACCES, errno.EPERM), 'let this user read and write there'),
    errno.EISDIR: 'give a file, not a folder',
    errno.EROFS: 'choose a place that can be written',
    errno.EIO: 'the disk failed, so make a copy of its files and check its health',
    errno.ESTALE: 'the network disk was lost, so mount it again',
    **dict.fromkeys(
        (errno.ENOENT, errno.ENOTDIR),
        'the folder was removed or moved, so put it back',
    ),
}


def mend(error: OSError) -> str:
    """Advice on an error, as the first part of a sentence."""
    return _MENDS.get(error.errno, 'fix the cause')


def user_error(what: str, error: OSError, intact: str = '') -> UserError:
    """The error that ends a command.

    Args:
        what: the failed action, such as 'could not save step 3'.
        error: its cause.
        intact: what is still intact, for the end of the sentence.
    """
    rest = f': {intact}' if intact else ''
    return UserError(
        f'{what}: {error.strerror}; {mend(error)}, and run the same command again{rest}'
    )


def as_os_error(error: BaseException | None) -> OSError | None:
    """The first error of the operating system in a chain of errors, or None.

    Libraries in C++ and Rust report it in a message, not as an OSError.
    """
    text = ''
    while error is not None:
        if isinstance(error, OSError) and error.errno:
            return error
        text += f' {error}'
        error = error.__cause__ or error.__context__
    number = re.search(r"os[_ ]error(?:_code=')? ?(\d+)", text)
    if number:
        return OSError(int(number[1]), os.strerror(int(number[1])))
    for known in _MENDS:
        if os.strerror(known) in text:
            return OSError(known, os.strerror(known))
    return None
