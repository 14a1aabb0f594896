"""Rows of JSON files with a key twice: file, line and key are named."""

import pytest

from perl.data.files import json_rows
from perl.system.errors import UserError


@pytest.mark.parametrize(
    ('text', 'place'),
    [
        ('{"a": 1}\n{"prompt": "x", "prompt": "y"}\n', 'line 2, column 17'),
        ('[{"a": 1},\n{"prompt": "x",\n"prompt": "y"}]', 'row 2, line 3, column 1'),
    ],
)
def test_a_key_that_is_there_twice(tmp_path, text, place):
    file = tmp_path / 'rows.json'
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        list(json_rows.read(file))
    assert str(caught.value) == (
        f"{file}, {place}: the key 'prompt' is there twice in one object; keep one of "
        'the two'
    )
