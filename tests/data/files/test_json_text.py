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


@given(st.lists(VALUES, max_size=4), st.sampled_from([None, 2]))
def test_elements_come_back_with_their_places(values, indent):
    text = f'\n{json.dumps(values, indent=indent)} '
    found = list(json_text.elements(text))
    assert [value for _, _, value in found] == values
    assert [json.loads(text[start:end]) for start, end, _ in found] == values


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


@pytest.mark.parametrize(
    ('text', 'says', 'before'),
    [
        ('[1, 2', "Expecting ',' delimiter", 2),
        ('[1 2]', "Expecting ',' delimiter", 1),
        ('[1,', 'Expecting value', 1),
        ('[1] 2', 'Extra data', 1),
        ('{}', "Expecting '['", 0),
        ('[1, [' + '[' * 200 + ']' * 200 + ']]', 'nested more than 100 levels deep', 1),
    ],
    ids=lambda x: str(x)[:20],
)
def test_elements_before_a_fault_are_read(text, says, before):
    found = []
    with pytest.raises(JSONDecodeError) as caught:
        for _, _, value in json_text.elements(text):
            found.append(value)
    assert caught.value.msg == says and len(found) == before
