"""The place of an error stands before it, once."""

import pytest

from perl.system.errors import UserError, within


@pytest.mark.parametrize(
    ('where', 'says'), [('reward/val', '^reward/val: row 3$'), ('', '^row 3$')]
)
def test_a_place_stands_before_what_is_wrong(where, says):
    with pytest.raises(UserError, match=says), within(where):
        raise UserError('row 3')


def test_other_errors_stay():
    with pytest.raises(KeyError), within('reward/val'):
        raise KeyError('x')
