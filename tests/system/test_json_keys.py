import json

import pytest

from perl.system.json_keys import RepeatedKey, repeated, unique


@pytest.mark.parametrize(
    ('text', 'key', 'at'),
    [
        ('{"a": 1, "a": 1}', 'a', 9),
        ('[{"a": 1}, {"b": {"a": 1}, "a": 2,\n "b" : 3}]', 'b', 36),
        ('{"a": 1, "a": {"b": 1, "b": 2}}', 'b', 23),
        ('{"a": "\\"a\\": {", "c": "a", "\\u0061": 2}', 'a', 28),
        ('{"a": [{"x": 1}, "a", {"x": 1}], "b": {}, "b": {"a": 1}}', 'b', 42),
    ],
)
def test_the_key_and_its_second_place(text, key, at):
    with pytest.raises(RepeatedKey, match=f'^the key {key!r} is there twice'):
        json.loads(text, object_pairs_hook=unique)
    assert repeated(text) == at
    assert repeated(f'}}{text}', 1) == at + 1


def test_other_objects():
    text = '{"a": {"a": 1}, "b": [{"a": 2}, {"a": 3}], "A": "a"}'
    assert json.loads(text, object_pairs_hook=unique) == json.loads(text)
    assert repeated(text) == -1
