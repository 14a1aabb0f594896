"""The words of the operating system, wherever a library has put them."""

import errno

import pytest

from perl.system import disk


def chained(cause, error):
    try:
        try:
            raise cause
        except Exception as inner:
            raise error from inner
    except Exception as outer:
        return outer


@pytest.mark.parametrize(
    ('error', 'number'),
    [
        (OSError(errno.EIO, 'x'), errno.EIO),
        (chained(OSError(errno.ENOSPC, 'x'), ValueError('y')), errno.ENOSPC),
        (RuntimeError('I/O error: No such file (os error 2) at "/x"'), errno.ENOENT),
        (ValueError("to file 6: whatever [os_error_code='28']"), errno.ENOSPC),
        (chained(ValueError('Permission denied'), KeyError('x')), errno.EACCES),
    ],
)
def test_the_error_of_the_system_is_found(error, number):
    assert disk.as_os_error(error).errno == number


def test_other_errors_are_not_of_the_system():
    assert disk.as_os_error(ValueError('rank 28 (os of errors)')) is None


def test_what_mends_it_depends_on_the_cause():
    numbers = (errno.ENOSPC, errno.EACCES, errno.EIO, errno.EROFS, errno.ENOENT)
    mends = [disk.mend(OSError(number, 'x')) for number in numbers]
    assert len({*mends}) == 5
    assert mends[0] == 'free some space' and 'the disk failed' in mends[2]
    error = disk.user_error('could not save', OSError(errno.ENOSPC, 'Full'), 'safe')
    assert str(error) == (
        'could not save: Full; free some space, and run the same command again: safe'
    )
