"""Arrays: one element at a time, whatever the chunks that the file is read in."""

import io
import json
from json import JSONDecodeError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perl.data.files import json_array
from perl.data.files.text_file import BadByte

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


class Reads(io.StringIO):
    """A text that tells the most characters that were asked for at once."""

    most = 0

    def read(self, size=-1):
        self.most = max(self.most, size)
        return super().read(size)


@pytest.fixture(autouse=True, params=[1, 7, 2**20], scope='module')
def chunk(request):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_array, '_CHUNK', request.param)
        yield request.param


def elements(text):
    return list(json_array.elements(Reads(text)))


@given(st.lists(VALUES, max_size=4), st.sampled_from([None, 2]), st.booleans())
def test_elements_come_back_with_their_lines(values, indent, ascii):
    text = f'\n{json.dumps(values, indent=indent, ensure_ascii=ascii)} '
    sizes = [json.dumps(x, indent=indent).count('\n') + 1 for x in values]
    lines = [3 + sum(sizes[:i]) if indent else 2 for i in range(len(values))]
    assert elements(text) == list(zip(lines, values, strict=True))


def test_the_line_is_that_of_the_first_letter():
    text = '[\n{"a":\n1},\n\n {"a": 2}, 3\n]\n'
    assert elements(text) == [(2, {'a': 1}), (5, {'a': 2}), (5, 3)]


@pytest.mark.parametrize(
    ('text', 'says', 'before', 'place'),
    [
        ('[1, 2', "Expecting ',' delimiter", 2, (1, 6)),
        ('[1 2]', "Expecting ',' delimiter", 1, (1, 4)),
        ('[1,\n', 'Expecting value', 1, (2, 1)),
        ('[1,\n 2,]', 'Expecting value', 2, (2, 4)),
        ('[1]\n2', 'Extra data', 1, (2, 1)),
        ('[] 2', 'Extra data', 0, (1, 4)),
        ('{}', "Expecting '['", 0, (1, 1)),
        ('', "Expecting '['", 0, (1, 1)),
        ('[', 'Expecting value', 0, (1, 2)),
        ('[1,\n\n "é", {"b" 3}]', "Expecting ':' delimiter", 2, (3, 12)),
        ('[1, "abc', 'Unterminated string starting at', 1, (1, 5)),
        ('[1, [' + '[' * 200 + ']' * 200 + ']]', 'nested more than', 1, (1, 5)),
        ('[1,\n {"a": [{"b": 1,\n "b": 2}]}, 3]', "the key 'b' is there", 1, (3, 2)),
        ('[1,' + '[' * 10**5, 'nested more than 100 levels deep', 1, (1, 4)),
    ],
    ids=lambda x: str(x)[:20],
)
def test_elements_before_a_fault_are_read(text, says, before, place):
    found = []
    with pytest.raises(JSONDecodeError) as caught:
        for _, value in json_array.elements(Reads(text)):
            found.append(value)
    error = caught.value
    assert error.msg.startswith(says) and len(found) == before
    assert (error.lineno, error.colno) == place


def test_a_byte_that_is_not_utf8_has_its_line_and_place():
    with pytest.raises(BadByte) as caught:
        elements('[1,\n  "é", "x\udcff"]')
    assert (caught.value.line, caught.value.place) == (2, 11)


def test_few_elements_are_in_memory():
    text = Reads('[' + ',\n'.join(['{"a": "%s"}' % ('x' * 90)] * 500) + ']')
    count = sum(1 for _ in json_array.elements(text))
    assert count == 500
    assert text.most <= max(json_array._CHUNK, 2 * 102 + 2**4)
