"""What the operating system says of a failed read or write, and what mends it."""

import errno
import os
import re

from perl.system.errors import UserError

_MENDS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), 'free some space'),
    **dict.fromkeys((errno.EACCES, errno.EPERM), 'let this user read and write there'),
    errno.EROFS: 'choose a place that can be written',
    errno.EIO: 'the disk itself failed, so save what is on it and look at its health',
    errno.ESTALE: 'the network disk was lost, so mount it again',
    **dict.fromkeys(
        (errno.ENOENT, errno.ENOTDIR),
        'the folder was removed or moved, so put it back',
    ),
}


def mend(error: OSError) -> str:
    """What a person can do about an error, as the beginning of a sentence."""
    return _MENDS.get(error.errno, 'mend it')


def user_error(what: str, error: OSError, intact: str = '') -> UserError:
    """The error that a command ends with.

    Args:
        what: could not be done, such as 'could not save step 3'.
        error: why.
        intact: what is left, to end the sentence with.
    """
    rest = f': {intact}' if intact else ''
    return UserError(
        f'{what}: {error.strerror}; {mend(error)}, and run the same command again{rest}'
    )


def as_os_error(error: BaseException | None) -> OSError | None:
    """The error of the operating system that stands in a chain of errors, if any.

    Libraries in C++ and Rust keep it in a message, not in an OSError.
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
