"""The file of the numbers that a classifier has no place for."""

import pytest

from perl.adapters.peft.folder import notes_of
from perl.system.errors import UserError


@pytest.mark.parametrize(
    'text', ['{"scale": Infinity}', '{"scale": NaN}', '{"bias": true}', '{"scale": 0}']
)
def test_numbers_that_are_none(text, tmp_path):
    (tmp_path / 'reward.json').write_text(text)
    with pytest.raises(UserError, match=r'reward.json is damaged; copy it again'):
        notes_of(tmp_path)
