"""JSON text: values one at a time, and errors with a place and no text."""

import json
from json import JSONDecodeError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perl.data.files import json_text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(VALUES, st.sampled_from([None, 2]))
def test_values_come_back(value, indent):
    assert json_text.parse(f' {json.dumps(value, indent=indent)}\n') == value


@pytest.mark.parametrize(
    ('text', 'says', 'place'),
    [
        ('', 'Expecting value', 0),
        ('{} {}', 'Extra data', 3),
        ('{"a": nothing}', 'Expecting value', 6),
        ('[' * 101 + ']' * 101, 'nested more than 100 levels deep', 0),
        ('[' * 10**6, 'nested more than 100 levels deep', 0),
        ('{"a":' * 5000 + '1' + '}' * 5000, 'nested more than 100 levels deep', 0),
        ('1' * 5000, 'a number has too many digits', 0),
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' is there twice in one object", 17),
    ],
    ids=lambda x: str(x)[:20],
)
def test_bad_text(text, says, place):
    with pytest.raises(JSONDecodeError) as caught:
        json_text.parse(text)
    assert (caught.value.msg, caught.value.pos) == (says, place)


def test_a_hundred_levels_are_read():
    assert json_text.parse('[' * 100 + ']' * 100) is not None
    assert len(json_text.parse('[' + ','.join(['[]'] * 500) + ']')) == 500


def test_text_that_a_model_wrote_may_repeat_a_key():
    assert json_text.parse('{"a": 1, "a": 2}', unique=False) == {'a': 2}
